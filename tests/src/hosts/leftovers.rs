//! What test processes that were killed have left behind.
//!
//! A namespace's name holds the identity of the process that made it, pid and start, so that whoever comes later can
//! tell what nobody will remove any more.

use std::fs;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::procfs;

/// What the names of this process's namespaces begin with.
pub(super) fn prefix() -> String {
    let pid = std::process::id();
    let started = i32::try_from(pid).ok().and_then(procfs::started).unwrap_or(0);
    format!("omtest-{pid}-{started}-")
}

/// Removes the namespaces of processes that live no more, and what still runs in them.
pub(super) fn sweep() {
    let Ok(names) = fs::read_dir("/run/netns") else { return };
    for name in names.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        if owner(&name).is_some_and(|(pid, started)| procfs::started(pid) != Some(started)) {
            let running = Command::new("ip").args(["netns", "pids", &name]).output();
            let running = running.map(|output| output.stdout).unwrap_or_default();
            for pid in String::from_utf8_lossy(&running).split_whitespace() {
                // Only what a bed started, whoever else has wandered in there.
                if let Some(pid) =
                    pid.parse().ok().filter(|pid| procfs::is_marked(*pid)).and_then(Pid::from_raw)
                {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
            let _ = Command::new("ip").args(["netns", "delete", &name]).output();
        }
    }
}

// Pid and start of the process that made a namespace of this name.
fn owner(name: &str) -> Option<(i32, u64)> {
    let mut parts = name.strip_prefix("omtest-")?.split('-');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_ours_have_an_owner() {
        let own = owner(&format!("{}3-switch", prefix())).unwrap();
        assert_eq!(own.0, i32::try_from(std::process::id()).unwrap());
        assert_eq!(Some(own.1), procfs::started(own.0));
        for foreign in ["blue", "omtest-", "omtest-x-1-0", "cni-12-13-14"] {
            assert_eq!(owner(foreign), None, "{foreign}");
        }
    }
}

//! The processes that descend from this one. As their *subreaper* it inherits those whose parents die, so that nothing
//! which was started here can hide.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, set_child_subreaper, waitpid};

/// From now on orphans come to this process.
pub(super) fn inherit_orphans() -> Result<()> {
    set_child_subreaper(Some(rustix::process::getpid())).context("cannot become the parent of orphans")
}

/// One process.
pub(super) struct Process {
    pub(super) pid: i32,
    /// Dead, and nobody has asked for its exit status yet.
    zombie: bool,
    parent: i32,
    pub(super) command: String,
}

/// Every living descendant. Dead ones that came to us are laid to rest on the way, but for those in `mine`.
pub(super) fn descendants(mine: &[i32]) -> Vec<Process> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let all: BTreeMap<i32, Process> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, look(pid)?)))
        .collect();
    let descends = |process: &Process| {
        let mut parent = process.parent;
        while parent > 1 && parent != own {
            parent = all.get(&parent).map_or(0, |process| process.parent);
        }
        parent == own
    };
    let ours: Vec<i32> =
        all.values().filter(|process| descends(process)).map(|process| process.pid).collect();
    let mut found = Vec::new();
    for (pid, process) in all {
        if !ours.contains(&pid) {
            continue;
        }
        if !process.zombie {
            found.push(process);
        } else if process.parent == own && !mine.contains(&pid) {
            let _ = waitpid(Pid::from_raw(pid), WaitOptions::NOHANG);
        }
    }
    found
}

fn look(pid: i32) -> Option<Process> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut words = stat.rsplit_once(')')?.1.split_whitespace();
    let zombie = matches!(words.next()?, "Z" | "X");
    let parent = words.next()?.parse().ok()?;
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let command = String::from_utf8_lossy(&words).replace('\0', " ").trim().to_owned();
    Some(Process { pid, zombie, parent, command })
}

/// Sends a signal. That the process is gone already is fine.
pub(super) fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

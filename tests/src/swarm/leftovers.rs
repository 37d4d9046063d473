//! What engines leave behind when they, or the test that made them, are killed: shims, containers, cgroups, files.
//!
//! A node's mounts and its `/run` are in a mount namespace of its own, and containers' are copies of that: so whoever
//! lives in another mount namespace than the test and sees the node's directory mounted there belongs to the node, and
//! when the last of them is gone no mount is left.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use om_api::clock::since_boot;
use rustix::process::{Pid, Signal, kill_process};

use crate::{SOON, procfs};

/// What the names of this process's directories, and of its cgroups, begin with: whoever finds one can tell whether
/// anybody will still remove it.
pub(super) fn prefix() -> String {
    let pid = std::process::id();
    let started = i32::try_from(pid).ok().and_then(procfs::started).unwrap_or(0);
    format!("omd-{pid}-{started}-")
}

/// Removes what belongs to test processes that live no more.
pub(super) fn sweep() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if owner(&name).is_some_and(|(pid, started)| procfs::started(pid) != Some(started)) {
            remove(&entry.path());
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Ends everything that belongs to the node whose directory this is; the directory itself stays.
pub(super) fn remove(dir: &Path) {
    let end = since_boot() + SOON;
    loop {
        // A shim that was just killed may have been about to start one more: until nothing is found.
        let left = processes(dir);
        if left.is_empty() || since_boot() > end {
            break;
        }
        for pid in left.into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let Some(name) = dir.file_name() else { return };
    for cgroup in cgroups(Path::new(name)) {
        remove_cgroup(&cgroup);
    }
}

/// Living processes of the node.
pub(super) fn processes(dir: &Path) -> Vec<i32> {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let own = namespace("self");
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| namespace(&pid.to_string()).is_some_and(|namespace| Some(namespace) != own))
        .filter(|pid| procfs::is_alive(*pid))
        .filter(|pid| {
            let mounts = fs::read(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
            let wanted = dir.as_os_str().as_bytes();
            mounts.windows(wanted.len()).any(|window| window == wanted)
        })
        .collect()
}

/// Where containers of the node have their cgroups: in each hierarchy, or in the one that there is.
pub(super) fn cgroups(name: &Path) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    [root.to_owned()]
        .into_iter()
        .chain(hierarchies)
        .map(|at| at.join(name))
        .filter(|at| at.is_dir())
        .collect()
}

fn remove_cgroup(at: &Path) {
    for entry in fs::read_dir(at).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        remove_cgroup(&entry.path());
    }
    // One whose last process was just killed is busy for a moment.
    let end = since_boot() + Duration::from_secs(1);
    while fs::remove_dir(at).is_err() && at.exists() && since_boot() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
}

// Pid and start of the process that made a directory of this name.
fn owner(name: &str) -> Option<(i32, u64)> {
    let mut parts = name.strip_prefix("omd-")?.split('-');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::{Net, part, wait_until};

    #[test]
    fn what_a_killed_test_left_running_is_swept_by_the_next() {
        if !part("mount namespaces (root)", Net::possible()) {
            return;
        }
        // The name of a process that lives no more: pid 1 started at another time.
        let dir = tempfile::Builder::new().prefix("omd-1-1-").tempdir().unwrap().keep();
        let hold = r#"mount --bind "$1" "$1"; touch "$1/ready"; exec sleep 1000"#;
        let mut command = Command::new("unshare");
        let mut left = command.args(["--mount", "sh", "-ec", hold, "sh"]).arg(&dir).spawn().unwrap();
        wait_until("something to be left", SOON, || dir.join("ready").exists());
        sweep();
        assert!(!left.wait().unwrap().success(), "killed");
        assert!(!dir.exists());
    }

    #[test]
    fn only_directories_of_ours_have_an_owner() {
        let own = owner(&format!("{}Ab3", prefix())).unwrap();
        assert_eq!(own.0, i32::try_from(std::process::id()).unwrap());
        assert_eq!(Some(own.1), procfs::started(own.0));
        for foreign in ["docker", "omd-", "omd-x-1-0", "omtest-12-13-14"] {
            assert_eq!(owner(foreign), None, "{foreign}");
        }
    }
}

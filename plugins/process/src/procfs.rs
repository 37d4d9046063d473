//! What the kernel says about processes.
//!
//! A pid alone names nobody: it is used again. A process is known by its pid *and* its start time, within one boot of
//! one host and one pid namespace. Facts from proc(5).

use std::fs;
use std::io;

use crate::gate;

/// Clock ticks a second in `/proc/PID/stat` (`USER_HZ`): 100 on every architecture that Linux still supports for servers.
const TICKS: u64 = 100;

/// One line of `/proc/PID/stat`, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Its pid.
    pub(crate) pid: i32,
    /// `R`, `S`, `Z`, …
    pub(crate) state: char,
    /// Its parent.
    pub(crate) parent: i32,
    /// Its session.
    pub(crate) session: i32,
    /// Start time in clock ticks since boot (field 22).
    pub(crate) start: u64,
}

impl Stat {
    /// Whether it is dead, though somebody has yet to take note (a zombie).
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// A process, with the mark that members and what they start carry in their environment.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// What the kernel says.
    pub(crate) stat: Stat,
    /// Value of the environment mark; `None` if it has none or may not be read.
    pub(crate) mark: Option<String>,
}

/// The process of this pid; `None` if there is none.
///
/// # Errors
/// `/proc` cannot be read for another reason.
pub(crate) fn stat(pid: i32) -> io::Result<Option<Stat>> {
    match fs::read(format!("/proc/{pid}/stat")) {
        Ok(line) => parse(&line)
            .map(Some)
            .ok_or_else(|| io::Error::other(format!("cannot understand /proc/{pid}/stat"))),
        // ESRCH: it ended between open and read.
        Err(gone) if gone.kind() == io::ErrorKind::NotFound || gone.raw_os_error() == Some(3) => Ok(None),
        Err(other) => Err(other),
    }
}

/// The living process of this pid and start time, or `None`. A zombie does not live.
///
/// # Errors
/// As [`stat`].
pub(crate) fn alive(pid: i32, start: u64) -> io::Result<Option<Stat>> {
    Ok(stat(pid)?.filter(|stat| stat.start == start && !stat.is_dead()))
}

/// The command's name stands in parentheses and may itself hold parentheses and blanks: fields count from the last one.
fn parse(line: &[u8]) -> Option<Stat> {
    let line = String::from_utf8_lossy(line);
    let (head, tail) = line.rsplit_once(')')?;
    let pid = head.split_once(' ')?.0.parse().ok()?;
    let mut fields = tail.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    // Field 22; the session was field 6.
    let start = fields.nth(15)?.parse().ok()?;
    Some(Stat { pid, state, parent, session, start })
}

/// The value of one variable in a process's environment, as it was when it was executed.
pub(crate) fn variable(pid: i32, name: &str) -> Option<String> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    environ.split(|byte| *byte == 0).find_map(|entry| {
        let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(String::from_utf8_lossy(value).into_owned())
    })
}

/// Every process that can be seen, each with its mark.
///
/// # Errors
/// `/proc` cannot be listed.
pub(crate) fn snapshot() -> io::Result<Vec<Seen>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        // Whoever ends meanwhile, or cannot be understood, is not one to be stopped.
        let Ok(Some(stat)) = stat(pid) else { continue };
        // Kernel threads (children of kthreadd, 2) have no environment.
        let mark = if stat.parent == 2 || stat.is_dead() { None } else { variable(pid, gate::MARK) };
        all.push(Seen { stat, mark });
    }
    Ok(all)
}

/// Identity of what pids mean something in: this boot of this host, and this pid namespace.
///
/// # Errors
/// `/proc` is not mounted.
pub(crate) fn boot() -> io::Result<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let space = fs::read_link("/proc/self/ns/pid")?;
    Ok(format!("{}/{}", boot.trim(), space.display()))
}

/// How long a process that started at these ticks has been running, by a clock that counts from boot.
pub(crate) fn age(start: u64, since_boot: std::time::Duration) -> std::time::Duration {
    since_boot.saturating_sub(std::time::Duration::from_millis(start.saturating_mul(1000 / TICKS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_named_like_fields_does_not_shift_them() {
        let line = b"42 (a) R 1 (b) S 7 42 41 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 9 9 9";
        let expected = Stat { pid: 42, state: 'S', parent: 7, session: 41, start: 987_654 };
        assert_eq!(parse(line), Some(expected));
    }

    #[test]
    fn this_process_is_alive_only_with_its_own_start_time() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let me = stat(pid).unwrap().unwrap();
        assert!(alive(pid, me.start).unwrap().is_some());
        assert!(alive(pid, me.start + 1).unwrap().is_none());
        assert!(stat(i32::MAX).unwrap().is_none());
    }

    #[test]
    fn a_zombie_is_not_alive() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let start = stat(pid).unwrap().unwrap().start;
        let deadline = om_api::clock::since_boot() + std::time::Duration::from_secs(10);
        while alive(pid, start).unwrap().is_some() {
            assert!(om_api::clock::since_boot() < deadline, "true never ended");
            std::thread::yield_now();
        }
        assert!(stat(pid).unwrap().unwrap().is_dead());
        child.wait().unwrap();
    }
}

//! Processes as the kernel shows them.

use std::fs;
use std::path::Path;

/// The variable that marks every process of a bed, and what it starts.
pub(crate) const MARK: &str = "OPENMANAGE_TEST_BED";

/// Living processes (no zombies) that carry the mark in their environment, or the bed's directory on their command
/// line: a program that starts its children with an empty environment is found all the same.
pub(crate) fn of_bed(mark: &str, dir: &Path) -> Vec<(i32, String)> {
    let wanted = format!("{MARK}={mark}");
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != own && is_alive(*pid))
        .filter_map(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let marked = environment.split(|b| *b == 0).any(|var| var == wanted.as_bytes());
            (marked || line.contains(&*dir.to_string_lossy())).then_some((pid, line))
        })
        .collect()
}

/// Whether the process belongs to a bed, whosever.
pub(crate) fn is_marked(pid: i32) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|b| *b == 0).any(|var| var.starts_with(MARK.as_bytes()))
}

/// Whether there is such a process, and it is no zombie.
pub(crate) fn is_alive(pid: i32) -> bool {
    state(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Whether the process is stopped.
pub(crate) fn is_stopped(pid: i32) -> bool {
    state(pid) == Some('T')
}

/// Start of the process in clock ticks since boot: with the pid, its identity.
pub(crate) fn started(pid: i32) -> Option<u64> {
    fields(pid)?.split_whitespace().nth(19)?.parse().ok()
}

fn state(pid: i32) -> Option<char> {
    fields(pid)?.chars().next()
}

// What follows the program's name, which may itself hold spaces and parentheses: the state comes first.
fn fields(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.get(stat.rfind(')')? + 2..)?.to_owned())
}

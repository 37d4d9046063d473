//! The gate: a member's process before it is let through.
//!
//! A member must never run that the manager does not remember. So its process is made first, as this very program with
//! the argument `__member`; it waits at standard input. The plugin reads the process's pid and start time, has them
//! stored, asks once more whether it may act, and only then writes the byte that lets it through. The gate executes the command, and
//! pid and start time stay. If the plugin dies or loses its authority before that, the pipe ends and so does the gate:
//! nothing ran.
//!
//! While it waits it carries `OM_GATE` in its environment, which ends with the execution of the command; so somebody
//! who finds the remembered pid can tell a gate from a member.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

/// The argument that makes a program the gate.
pub(crate) const ARGUMENT: &str = "__member";
/// Environment variable of a member and of all that it starts: identity of this one start of it.
pub(crate) const MARK: &str = "OM_INSTANCE";
/// Environment variable of a gate; a member never has it.
pub(crate) const WAITING: &str = "OM_GATE";
/// Environment variable of a member: its service.
pub(crate) const SERVICE: &str = "OM_SERVICE";
/// Environment variable of a member: its name.
pub(crate) const MEMBER: &str = "OM_MEMBER";
/// The byte that lets a member through.
pub(crate) const GO: u8 = b'!';

/// Exit codes, as shells have them.
const CANNOT_RUN: i32 = 126;
const NOT_FOUND: i32 = 127;
/// An order is a line; a spec is at most 1 MiB, so no honest one is longer.
const LONGEST_ORDER: u64 = 8 * 1024 * 1024;

/// What a supervisor told this program about itself, which is none of a member's business.
const PRIVATE: [&str; 7] = [
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "INVOCATION_ID",
];

/// What the gate executes: one line of JSON on its standard input, before [`GO`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Program and arguments.
    pub(crate) command: Vec<String>,
    /// What is added to the environment that the plugin itself has.
    pub(crate) env: BTreeMap<String, String>,
    /// Working directory.
    pub(crate) dir: PathBuf,
}

/// Acts as the gate if that is what this process was started for; must be the first thing in `main` of a program that
/// is named as [`crate::ProcessOptions::gate`]. Returns if it was not.
pub fn main_if_asked() {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == ARGUMENT) {
        std::process::exit(wait_and_execute());
    }
}

/// Returns only if nothing was executed: with an exit code.
fn wait_and_execute() -> i32 {
    // What tells the plugin how this went. The copy is close-on-exec: its end without a word is success.
    let Ok(back) = io::stdout().as_fd().try_clone_to_owned().map(File::from) else { return CANNOT_RUN };
    // A session of its own, so that a terminal's signals do not reach it and its group can be found again.
    if let Err(cause) = rustix::process::setsid() {
        return refuse(&back, CANNOT_RUN, &format!("cannot begin a session: {cause}"));
    }
    match read_order(io::stdin().lock()) {
        Ok(Some(order)) => {
            let (code, reason) = execute(&order);
            refuse(&back, code, &reason)
        }
        // Whoever made this gate is gone: then nothing is to run.
        Ok(None) => 0,
        Err(cause) => refuse(&back, CANNOT_RUN, &format!("cannot read what to run: {cause}")),
    }
}

/// The order, once it is complete and let through; `None` if the other side went away before.
fn read_order(input: impl Read) -> io::Result<Option<Order>> {
    let mut input = BufReader::new(input.take(LONGEST_ORDER));
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line)?;
    let mut go = [0];
    if line.pop() != Some(b'\n') || input.read(&mut go)? == 0 {
        return Ok(None);
    }
    if go != [GO] {
        return Err(io::Error::other("an unknown byte instead of the permission"));
    }
    serde_json::from_slice(&line).map(Some).map_err(io::Error::other)
}

/// Executes; returns only if that failed.
fn execute(order: &Order) -> (i32, String) {
    let Some((program, arguments)) = order.command.split_first() else {
        return (CANNOT_RUN, "the command is empty".to_owned());
    };
    if let Err(cause) = std::env::set_current_dir(&order.dir) {
        return (CANNOT_RUN, format!("cannot enter the directory {}: {cause}", order.dir.display()));
    }
    let log = match io::stderr().as_fd().try_clone_to_owned() {
        Ok(log) => log,
        Err(cause) => return (CANNOT_RUN, format!("cannot hand on the log: {cause}")),
    };
    let mut command = Command::new(program);
    for name in private_variables() {
        command.env_remove(name);
    }
    command.args(arguments).envs(&order.env).stdin(Stdio::null()).stdout(Stdio::from(log));
    let cause = command.exec();
    let found = program_exists(program, order);
    let code = if cause.kind() == io::ErrorKind::NotFound && !found { NOT_FOUND } else { CANNOT_RUN };
    let reason = match (code, found) {
        (NOT_FOUND, _) => format!("cannot run {program:?}: no such program"),
        // It is there, but what its first line or header names is not.
        (_, true) if cause.kind() == io::ErrorKind::NotFound => {
            format!("cannot run {program:?}: the interpreter that it names does not exist")
        }
        _ => format!("cannot run {program:?}: {cause}"),
    };
    (code, reason)
}

/// Variables of this process's environment that are meant for the plugin alone.
pub(crate) fn private_variables() -> impl Iterator<Item = OsString> {
    std::env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("OM_") || PRIVATE.contains(&&*name)
    })
}

fn program_exists(program: &str, order: &Order) -> bool {
    program.contains('/') && order.dir.join(Path::new(program)).exists()
}

/// Says why nothing was executed: to the log and, if it still listens, to the plugin.
fn refuse(mut back: &File, code: i32, reason: &str) -> i32 {
    let _ = writeln!(io::stderr(), "om: {reason}");
    let _ = back.write_all(reason.as_bytes());
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Order {
        Order { command: vec!["true".to_owned()], env: BTreeMap::new(), dir: PathBuf::from("/") }
    }

    #[test]
    fn an_order_counts_only_when_it_was_let_through() {
        let mut bytes = serde_json::to_vec(&order()).unwrap();
        for cut in 0..bytes.len() {
            assert_eq!(read_order(&bytes[..cut]).unwrap(), None, "cut at {cut}");
        }
        bytes.push(b'\n');
        assert_eq!(read_order(&bytes[..]).unwrap(), None);
        bytes.push(GO);
        assert_eq!(read_order(&bytes[..]).unwrap(), Some(order()));
    }
}

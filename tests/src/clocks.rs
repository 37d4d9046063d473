//! Programs whose clocks are not those of the others.
//!
//! CLOCK_BOOTTIME and CLOCK_MONOTONIC can differ between processes, by time namespaces, from their start on; they cannot
//! be moved under a running one. CLOCK_REALTIME is the machine's, and nobody's alone.

use std::process::Command;

/// Whether this process may make time namespaces: it is root, and the kernel has them.
#[must_use]
pub fn clocks_possible() -> bool {
    let possible = Command::new("unshare").args(["--time", "--boottime", "1", "true"]).output();
    possible.is_ok_and(|output| output.status.success())
}

/// The same program, by whose clocks the machine has been up for so many seconds more.
///
/// # Panics
/// If the command has no directory to run in.
#[must_use]
pub fn shifted(command: &Command, seconds: u64) -> Command {
    let mut shifted = Command::new("unshare");
    let seconds = seconds.to_string();
    shifted.args(["--time", "--boottime", &seconds, "--monotonic", &seconds, "--"]);
    shifted.arg(command.get_program()).args(command.get_args());
    shifted.env_clear().envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    shifted.current_dir(command.get_current_dir().expect("a bed's command has one"));
    shifted
}

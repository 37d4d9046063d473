//! One running program, with its log.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use om_api::clock::since_boot;
use rustix::process::{Pid, Signal, kill_process};

use crate::{procfs, wait_for, wait_until};

/// A process that a bed started. Everything that it writes goes to its log.
pub struct Program {
    name: String,
    pid: i32,
    log: PathBuf,
    child: Mutex<Child>,
}

impl Program {
    pub(crate) fn start(name: &str, mut command: Command, log: PathBuf) -> Self {
        let file = File::options().create(true).append(true).open(&log).expect("a log file in the bed");
        let errors = file.try_clone().expect("the log file twice");
        let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn();
        let child = child.unwrap_or_else(|cause| panic!("cannot start {name}: {cause}"));
        let pid = i32::try_from(child.id()).expect("a pid");
        Self { name: name.to_owned(), pid, log, child: Mutex::new(child) }
    }

    /// As its bed knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Where its log is.
    #[must_use]
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// Everything that it, and programs of the same name before it, have written.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// What is in the log after byte `from`, and only that is read: an engine's grows by megabytes.
    fn log_after(&self, from: usize) -> String {
        let mut written = Vec::new();
        let read = File::open(&self.log).and_then(|mut log| {
            log.seek(SeekFrom::Start(u64::try_from(from).unwrap_or(u64::MAX)))?;
            log.read_to_end(&mut written)
        });
        read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&written).into_owned())
    }

    /// The end of the log, without what is only noise.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains("TRACE")).collect();
        lines[lines.len().saturating_sub(80)..].join("\n")
    }

    /// The first line of the log, from byte `from` on, that holds all `parts` (in any case of letters): the line and
    /// the byte after it.
    #[must_use]
    pub fn find(&self, from: usize, parts: &[&str]) -> Option<(String, usize)> {
        let mut at = from;
        for line in self.log_after(from).split_inclusive('\n') {
            at += line.len();
            let plain = without_colours(line).to_lowercase();
            if parts.iter().all(|part| plain.contains(&part.to_lowercase())) {
                return Some((line.trim_end().to_owned(), at));
            }
        }
        None
    }

    /// Waits until the log says so; gives the line and the byte after it.
    ///
    /// # Panics
    /// If it does not within `deadline`.
    #[track_caller]
    pub fn wait_log(&self, from: usize, parts: &[&str], deadline: Duration) -> (String, usize) {
        let what = format!("{}'s log to say {parts:?} after byte {from}", self.name);
        wait_for(&what, deadline, || self.find(from, parts))
    }

    /// Whether it runs (or is stopped).
    #[must_use]
    pub fn is_alive(&self) -> bool {
        procfs::is_alive(self.pid)
    }

    /// Kills it so that it cannot do anything more, and reaps it. Gives the moment before the signal was sent, in the
    /// clock of records.
    pub fn kill(&self) -> Duration {
        let before = since_boot();
        let _ = self.child().kill();
        let _ = self.child().wait();
        before
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Tells it to read its files again (SIGHUP).
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Stops it (SIGSTOP) and waits until it stands still. Gives the moment after.
    pub fn freeze(&self) -> Duration {
        self.signal(Signal::STOP);
        wait_until(&format!("{} to stand still", self.name), crate::SOON, || procfs::is_stopped(self.pid));
        since_boot()
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not end within `deadline`.
    #[track_caller]
    pub fn wait_exit(&self, deadline: Duration) -> ExitStatus {
        wait_for(&format!("{} to end", self.name), deadline, || self.child().try_wait().expect("a child"))
    }

    fn signal(&self, signal: Signal) {
        // A child that was reaped is not signalled: its pid may be somebody else's by now.
        let mut child = self.child();
        if let (Ok(None), Some(pid)) = (child.try_wait(), Pid::from_raw(self.pid)) {
            let _ = kill_process(pid, signal);
        }
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            let _ = rest.find(char::is_ascii_alphabetic);
        } else {
            plain.push(c);
        }
    }
    plain
}

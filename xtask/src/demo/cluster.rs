//! Three managers and a plugin in a directory of their own, and the certainty that they go with it.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use super::processes::{self, Process, descendants, signal};
use crate::run::shown;
use crate::{clock, env, say};

/// How often states are looked at.
const TICK: Duration = Duration::from_millis(5);

/// The longest directory under which the path of every socket still fits into the 107 bytes that the system allows.
const LONGEST_DIR: usize = 60;

/// What runs, and where.
pub(super) struct Cluster {
    dir: Option<TempDir>,
    place: PathBuf,
    programs: PathBuf,
    running: Vec<(String, Child)>,
    interrupted: Arc<AtomicBool>,
}

impl Cluster {
    /// A fresh directory, nothing running yet.
    pub(super) fn new(programs: &Path, interrupted: Arc<AtomicBool>) -> Result<Self> {
        processes::inherit_orphans()?;
        let usual = std::env::temp_dir();
        let parent = if usual.as_os_str().len() > LONGEST_DIR { Path::new("/tmp") } else { &usual };
        let dir =
            tempfile::Builder::new().prefix("om-").tempdir_in(parent).context("no temporary directory")?;
        let place = dir.path().to_owned();
        std::fs::create_dir(place.join("logs"))?;
        Ok(Self { dir: Some(dir), place, programs: programs.to_owned(), running: Vec::new(), interrupted })
    }

    /// The directory.
    pub(super) fn dir(&self) -> &Path {
        &self.place
    }

    /// The variables that spare the commands their flags.
    pub(super) fn variables(&self) -> [(&'static str, PathBuf); 2] {
        [("OM_PLUGINS_DIR", "plugins"), ("OM_STATE_DIR", "state")]
            .map(|(name, dir)| (name, self.place.join(dir)))
    }

    /// One of our programs, called in the directory.
    pub(super) fn program(&self, name: &str, args: &[&str]) -> Command {
        let path =
            std::env::join_paths([self.programs.clone()].into_iter().chain(env::path())).unwrap_or_default();
        let mut command = Command::new(self.programs.join(name));
        command.args(args).current_dir(&self.place).stdin(Stdio::null()).env("PATH", path);
        command.envs(self.variables());
        command
    }

    /// Starts a program in the background. It gets a process group of its own: Ctrl-C is for us to handle.
    pub(super) fn start(&mut self, name: &str, program: &str, args: &[&str]) -> Result<()> {
        let log = File::create(self.log(name))?;
        let mut command = self.program(program, args);
        command.process_group(0).stdout(log.try_clone()?).stderr(log);
        show_command(&format!("{} &", shown(&command)));
        let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        self.running.push((name.to_owned(), child));
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.place.join("logs").join(name)
    }

    /// The process of a program that was started here.
    pub(super) fn pid(&self, name: &str) -> Result<i32> {
        let found = self.running.iter().find(|(running, _)| running == name);
        found
            .and_then(|(_, child)| child.id().try_into().ok())
            .with_context(|| format!("{name} does not run"))
    }

    /// Ends one program with a signal and waits for it.
    pub(super) fn stop(&mut self, name: &str, with: Signal) -> Result<ExitStatus> {
        signal(self.pid(name)?, with);
        let ended = |cluster: &mut Self| {
            let (_, child) = cluster.running.iter_mut().find(|(running, _)| running == name)?;
            child.try_wait().ok().flatten()
        };
        let (status, _) = self.until(&format!("{name} to end"), Duration::from_secs(15), ended)?;
        self.running.retain(|(running, _)| running != name);
        Ok(status)
    }

    /// Waits for a state; says how long that took. Fails when it does not come, when the user interrupts, and when
    /// a program that should run has ended.
    pub(super) fn until<T>(
        &mut self,
        what: &str,
        within: Duration,
        mut state: impl FnMut(&mut Self) -> Option<T>,
    ) -> Result<(T, Duration)> {
        let begun = clock::now();
        loop {
            if self.interrupted.load(Ordering::SeqCst) {
                bail!("interrupted");
            }
            if let Some(reached) = state(self) {
                return Ok((reached, clock::now().saturating_sub(begun)));
            }
            for (name, child) in &mut self.running {
                if let Some(status) = child.try_wait()? {
                    bail!("{name} ended ({status}) while we waited for {what}");
                }
            }
            if clock::now().saturating_sub(begun) > within {
                bail!("waited {} for {what}, in vain", clock::show(within));
            }
            std::thread::sleep(TICK);
        }
    }

    /// Everything alive that was started here, directly or not.
    pub(super) fn alive(&self) -> Vec<Process> {
        let mine: Vec<i32> =
            self.running.iter().filter_map(|(_, child)| child.id().try_into().ok()).collect();
        descendants(&mine)
    }

    /// Removes the directory; nothing may run any more.
    pub(super) fn remove(&mut self) -> Result<()> {
        self.dir.take().map_or(Ok(()), TempDir::close).context("cannot remove the directory")
    }

    /// Leaves everything as it is, and says how to go on.
    pub(super) fn keep(&mut self) {
        let pids: Vec<String> = self.alive().iter().map(|process| process.pid.to_string()).collect();
        self.running.clear();
        let Some(dir) = self.dir.take().map(TempDir::keep) else { return };
        let variables = self.variables().map(|(name, value)| format!("{name}={}", value.display()));
        println!("\n{}", say::bold("It is still running"));
        println!("   cd {}", dir.display());
        println!("   export {} PATH={}:$PATH", variables.join(" "), self.programs.display());
        println!("{}", say::dim("   and when you have seen enough:"));
        println!("   kill -9 {}; rm -r {}", pids.join(" "), dir.display());
    }

    /// The ends of the logs, for when something went wrong.
    pub(super) fn show_logs(&self) {
        if self.interrupted.load(Ordering::SeqCst) {
            return;
        }
        let mut logs: Vec<PathBuf> = std::fs::read_dir(self.place.join("logs"))
            .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
            .unwrap_or_default();
        logs.sort();
        for log in logs {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let name = log.file_name().unwrap_or_default().to_string_lossy();
            if !lines.is_empty() {
                println!("\n{}", say::dim(&format!("{name} said at last:")));
            }
            for line in &lines[lines.len().saturating_sub(15)..] {
                println!("{line}");
            }
        }
    }

    /// Ends whatever is left, hard, and removes the directory.
    pub(super) fn sweep(&mut self) {
        let begun = clock::now();
        loop {
            for (_, child) in &mut self.running {
                let _ = child.kill();
                let _ = child.wait();
            }
            self.running.clear();
            let left = self.alive();
            if left.is_empty() || clock::now().saturating_sub(begun) > Duration::from_secs(5) {
                break;
            }
            left.iter().for_each(|process| signal(process.pid, Signal::KILL));
            std::thread::sleep(TICK);
        }
        drop(self.dir.take());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.dir.is_some() {
            self.sweep();
        }
    }
}

/// Shows a command as the user would type it.
pub(super) fn show_command(command: &str) {
    println!("   {} {}", say::dim("$"), say::bold(command));
}

//! One machine's worth of OpenManage, in a temporary directory.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use om_api::clock::since_boot;
use rustix::process::{Pid, Signal, kill_process};

use crate::{Host, Net, Program, SOON, free_ports, procfs};

/// A directory of its own, with a plugins directory, a state directory and a leader file, and the programs that were
/// started in it. When it is dropped, also by a panic, nothing of it is left: no process, no mount, no file.
pub struct Bed {
    // Short: the path of a socket has at most 107 bytes.
    dir: tempfile::TempDir,
    // What replicas share: the state, the leader file, the records.
    shared: PathBuf,
    // The host's identity, where it is not the machine's own.
    host: Option<String>,
    // Where its programs run, where that is not the machine itself.
    place: Option<Host>,
    ports: Mutex<BTreeMap<String, u16>>,
    mark: String,
    programs: Mutex<Vec<Arc<Program>>>,
    mounts: Mutex<Vec<PathBuf>>,
}

impl Bed {
    /// An empty bed, in which nobody is named as the leader.
    ///
    /// # Panics
    /// If the workspace's programs were not built.
    #[must_use]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("om").rand_bytes(6).tempdir().expect("a directory");
        let mark = uuid::Uuid::new_v4().simple().to_string();
        let shared = dir.path().to_owned();
        let (ports, programs, mounts) = (Mutex::default(), Mutex::default(), Mutex::default());
        let bed = Self { dir, shared, host: None, place: None, ports, mark, programs, mounts };
        for program in
            ["om", "om-manager", "om-plugin-process", "om-plugin-docker", "om-test-member", "om-test-plugin"]
        {
            let binary = bed.binary(program);
            assert!(
                binary.is_file(),
                "{} is missing: run `cargo build --workspace --bins`",
                binary.display()
            );
        }
        bed
    }

    /// Another host: plugins and sockets of its own; state, leader file and records shared with this one.
    #[must_use]
    pub fn another_host(&self) -> Self {
        let mut bed = Self::new();
        bed.shared.clone_from(&self.shared);
        bed.host = Some(format!("host-{}", bed.mark));
        bed
    }

    /// [Another host](Bed::another_host), whose programs run in this host of a net.
    #[must_use]
    pub fn in_host(&self, net: &Net, number: usize) -> Self {
        let mut bed = self.another_host();
        bed.place = Some(net.host(number));
        bed
    }

    /// A path in the bed.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where sockets are.
    #[must_use]
    pub fn plugins(&self) -> PathBuf {
        self.path("p")
    }

    /// The socket of a program.
    #[must_use]
    pub fn socket(&self, name: &str) -> PathBuf {
        self.plugins().join(name)
    }

    /// Where managers keep the state.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.shared.join("state")
    }

    /// The file that names the leader.
    #[must_use]
    pub fn leader_file(&self) -> PathBuf {
        self.shared.join("leader")
    }

    /// The record of all members.
    #[must_use]
    pub fn member_record(&self) -> PathBuf {
        self.shared.join("members.record")
    }

    /// The record of the recording plugins.
    #[must_use]
    pub fn steering_record(&self) -> PathBuf {
        self.shared.join("steering.record")
    }

    /// The environment by which the bed knows its processes.
    #[must_use]
    pub fn marking(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(procfs::MARK.to_owned(), self.mark.clone())])
    }

    /// A program of the workspace.
    ///
    /// # Panics
    /// If the test does not know where it lies itself.
    #[must_use]
    pub fn binary(&self, name: &str) -> PathBuf {
        let own = std::env::current_exe().expect("the test's own path");
        // The programs lie in target/<profile>; tests, not benchmarks, one deeper: target/<profile>/deps/<test>.
        let dir = own.parent().expect("target/<profile>");
        let dir = if dir.ends_with("deps") { dir.parent().expect("target/<profile>") } else { dir };
        dir.join(name)
    }

    /// The host's identity, where it is not the machine's own.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The address and port at which a replica of this name serves other hosts: the same after each of its starts.
    ///
    /// # Panics
    /// If there is no free port.
    #[must_use]
    pub fn tcp(&self, name: &str) -> SocketAddr {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        let port = *ports.entry(name.to_owned()).or_insert_with(|| free_ports(1));
        let address = self.place.as_ref().map_or(Ipv4Addr::LOCALHOST, Host::address);
        SocketAddr::from((address, port))
    }

    /// Writes a file in the bed.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()));
        path
    }

    /// Names the leader as `echo NAME > leader` does. Gives the moment before.
    pub fn name_leader(&self, name: &str) -> Duration {
        let before = since_boot();
        fs::write(self.leader_file(), format!("{name}\n")).expect("the leader file");
        before
    }

    /// A program of the workspace with these arguments, in the bed's environment and nobody else's.
    #[must_use]
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = self.placed(self.place.as_ref(), &self.binary(program));
        command.args(args).env("OM_PLUGINS_DIR", self.plugins()).env("OM_PROCESS_DIR", self.path("process"));
        command
    }

    /// Any program in a host of a net, or on the machine itself, in the bed's environment and nobody else's.
    #[must_use]
    pub fn placed(&self, place: Option<&Host>, program: &Path) -> Command {
        let mut command = place.map_or_else(|| Command::new(program), |host| host.command(program));
        command
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.dir.path())
            .env(procfs::MARK, &self.mark);
        command
    }

    /// Starts a program; it ends with the bed at the latest. Its log is named after `name`.
    pub fn start(&self, name: &str, command: Command) -> Arc<Program> {
        let program = Arc::new(Program::start(name, command, self.path(&format!("{name}.log"))));
        self.programs.lock().unwrap_or_else(PoisonError::into_inner).push(program.clone());
        program
    }

    /// The program that was started under this name last.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn program(&self, name: &str) -> Arc<Program> {
        let programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        programs.iter().rev().find(|program| program.name() == name).expect("a program of this name").clone()
    }

    /// Kills every program that the bed has started.
    pub fn kill_all(&self) {
        let programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        for program in programs.iter() {
            program.kill();
        }
    }

    /// Mounts a small file system of memory at a path of the bed; needs root.
    ///
    /// # Panics
    /// If that fails.
    pub fn mount_small(&self, name: &str, size: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("a directory");
        mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "openmanage-test"], &path);
        self.mounts.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
        path
    }

    /// Makes a mount of the bed readable only, or writable again.
    ///
    /// # Panics
    /// If that fails.
    pub fn remount(&self, path: &Path, how: &str) {
        mount(&["-o", &format!("remount,{how}")], path);
    }

    /// Living processes of the bed that are none of the programs it started itself: members, and strays.
    #[must_use]
    pub fn others(&self) -> Vec<(i32, String)> {
        let own: Vec<i32> = self
            .programs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .filter(|program| program.is_alive())
            .map(|program| program.pid())
            .collect();
        procfs::of_bed(&self.mark, self.dir.path())
            .into_iter()
            .filter(|(pid, _)| !own.contains(pid))
            .collect()
    }

    /// Waits until nothing of the bed lives but the programs it started itself.
    ///
    /// # Panics
    /// If something else lives on.
    #[track_caller]
    pub fn wait_no_stray(&self) {
        let mut left = Vec::new();
        let end = since_boot() + SOON;
        while since_boot() < end {
            left = self.others();
            if left.is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("stray processes: {left:#?}");
    }
}

impl Default for Bed {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let programs = std::mem::take(self.programs.get_mut().unwrap_or_else(PoisonError::into_inner));
        if std::thread::panicking() {
            // Programs of one name share a log.
            let logs: BTreeMap<&Path, &Program> = programs.iter().map(|p| (p.log_file(), &**p)).collect();
            for program in logs.values() {
                eprintln!("---- log of {} (end)\n{}", program.name(), program.log_tail());
            }
        }
        for program in &programs {
            program.kill();
        }
        // A plugin that was just killed may have been about to start one more: sweep until nothing is found.
        let end = since_boot() + SOON;
        while since_boot() < end {
            let left = procfs::of_bed(&self.mark, self.dir.path());
            if left.is_empty() {
                break;
            }
            for (pid, _) in left {
                if let Some(pid) = Pid::from_raw(pid) {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        for path in self.mounts.get_mut().unwrap_or_else(PoisonError::into_inner) {
            let _ = Command::new("umount").arg("-l").arg(path).status();
        }
    }
}

fn mount(args: &[&str], at: &Path) {
    let status = Command::new("mount").args(args).arg(at).status().expect("mount");
    assert!(status.success(), "mount {args:?} {}: {status}", at.display());
}

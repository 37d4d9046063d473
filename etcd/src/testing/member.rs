//! One etcd process, which never outlives its owner.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

pub(super) struct Member {
    pub(super) name: String,
    pub(super) address: Ipv4Addr,
    /// `http`, or `https` for clients.
    scheme: &'static str,
    pub(super) dir: PathBuf,
    /// As at its first start: who is in the cluster, how fast it elects, what else was wanted.
    arguments: Vec<String>,
    child: Option<Child>,
    frozen: bool,
}

impl Member {
    pub(super) fn new(number: usize, address: Ipv4Addr, scheme: &'static str, root: &Path) -> Self {
        let name = format!("m{number}");
        let dir = root.join(&name);
        Self { name, address, scheme, dir, arguments: Vec::new(), child: None, frozen: false }
    }

    pub(super) fn client(&self) -> String {
        format!("{}://{}:2379", self.scheme, self.address)
    }

    pub(super) fn peer(&self) -> String {
        format!("http://{}:2380", self.address)
    }

    pub(super) fn prepare(&mut self, arguments: Vec<String>) {
        self.arguments = arguments;
    }

    pub(super) fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = File::options().create(true).append(true).open(self.dir.with_extension("log")).unwrap();
        let mut command = Command::new("etcd");
        command.arg("--name").arg(&self.name).arg("--data-dir").arg(&self.dir);
        for (option, url) in [
            ("--listen-client-urls", self.client()),
            ("--advertise-client-urls", self.client()),
            ("--listen-peer-urls", self.peer()),
            ("--initial-advertise-peer-urls", self.peer()),
        ] {
            command.arg(option).arg(url);
        }
        command.args(&self.arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().expect("etcd starts"));
        self.frozen = false;
    }

    pub(super) fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        let pid = Pid::from_child(child);
        kill_process(pid, signal).unwrap();
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself, or be frozen: SIGKILL ends it all the same.
            drop(child.kill());
            drop(child.wait());
        }
        self.frozen = false;
    }

    pub(super) fn freeze(&mut self) {
        self.signal(Signal::STOP);
        self.frozen = true;
    }

    pub(super) fn thaw(&mut self) {
        self.signal(Signal::CONT);
        self.frozen = false;
    }

    pub(super) fn frozen(&self) -> bool {
        self.frozen
    }

    /// The end of its log, for a failure's message.
    pub(super) fn log(&self) -> String {
        let log = std::fs::read_to_string(self.dir.with_extension("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

//! A cluster of etcd processes.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;

use super::certificates::Certificates;
use super::member::Member;
use super::until;
use crate::{Etcd, EtcdOptions};

/// How a cluster is made.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many members.
    pub members: usize,
    /// etcd's heartbeat interval and election timeout, in milliseconds.
    pub timing: (u32, u32),
    /// Whether clients have to come by TLS, with a certificate of their own.
    pub tls: bool,
    /// More arguments for every member.
    pub arguments: Vec<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { members: 1, timing: (20, 200), tls: false, arguments: Vec::new() }
    }
}

/// A cluster of etcd processes on loopback addresses of its own. All end when it is dropped, also by a panic.
pub struct Cluster {
    members: Vec<Member>,
    dir: tempfile::TempDir,
    setup: Setup,
    certificates: Option<Certificates>,
    user: Option<(String, String)>,
}

impl Cluster {
    /// Whether etcd is there, see [`etcd_is_here`](super::etcd_is_here).
    #[must_use]
    pub fn available() -> bool {
        super::etcd_is_here()
    }

    /// Starts a cluster of so many members and waits until it has a leader.
    #[must_use]
    pub fn start(members: usize, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self::set_up(Setup { members, arguments, ..Setup::default() })
    }

    /// The same, with all that can be chosen.
    #[must_use]
    pub fn set_up(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let scheme = if setup.tls { "https" } else { "http" };
        let member = |number| Member::new(number, free_address(), scheme, dir.path());
        let members: Vec<_> = (0..setup.members).map(member).collect();
        let addresses: Vec<_> = members.iter().map(|member| member.address).collect();
        let certificates = setup.tls.then(|| Certificates::new(dir.path(), &addresses));
        let mut cluster = Self { members, dir, setup, certificates, user: None };
        let arguments = cluster.arguments(true);
        for member in &mut cluster.members {
            member.prepare(arguments.clone());
            member.start();
        }
        cluster.ready();
        cluster
    }

    fn initial(&self) -> String {
        let each = self.members.iter().map(|member| format!("{}={}", member.name, member.peer()));
        each.collect::<Vec<_>>().join(",")
    }

    fn arguments(&self, new: bool) -> Vec<String> {
        let (heartbeat, election) = self.setup.timing;
        let own = [
            format!("--initial-cluster={}", self.initial()),
            format!("--initial-cluster-state={}", if new { "new" } else { "existing" }),
            format!("--heartbeat-interval={heartbeat}"),
            format!("--election-timeout={election}"),
            "--log-level=warn".to_owned(),
            "--logger=zap".to_owned(),
        ];
        let file = |option: &str, name| format!("--{option}={}", self.dir.path().join(name).display());
        let tls = [
            file("cert-file", "member.pem"),
            file("key-file", "member-key.pem"),
            file("trusted-ca-file", "ca.pem"),
            "--client-cert-auth".to_owned(),
        ];
        let tls = tls.into_iter().filter(|_| self.setup.tls);
        own.into_iter().chain(tls).chain(self.setup.arguments.iter().cloned()).collect()
    }

    /// The members' client URLs.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(Member::client).collect()
    }

    /// Options for all its endpoints, with certificates and the user where it wants them.
    #[must_use]
    pub fn options(&self) -> EtcdOptions {
        let tls = self.certificates.as_ref().map(Certificates::tls);
        EtcdOptions { user: self.user.clone(), tls, ..EtcdOptions::new(self.endpoints()) }
    }

    /// A handle on it.
    #[must_use]
    pub fn etcd(&self) -> Etcd {
        Etcd::new(&self.options()).unwrap()
    }

    /// Waits until the cluster does a write.
    pub fn ready(&mut self) {
        // Not through `etcdctl`, for authentication may be on: any answer to a read tells of a leader.
        for _ in 0..3000 {
            if self.leader().is_some() && self.try_etcdctl(&["get", "ready"]).is_ok() {
                return;
            }
            let ended = self.members.iter_mut().find_map(|member| (!member.runs()).then(|| member.log()));
            assert!(ended.is_none(), "a member ended:\n{}", ended.unwrap_or_default());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let logs: Vec<_> = self.members.iter().map(Member::log).collect();
        panic!("the cluster has no leader:\n{}", logs.join("\n"));
    }

    /// The number of the member that leads, as the members that run say; none if they do not agree on one.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        for (number, member) in self.members.iter().enumerate() {
            if member.frozen() {
                continue;
            }
            let endpoint = member.client();
            let Ok(status) = self.ctl(&endpoint, &["endpoint", "status", "-w", "json"]) else { continue };
            let Ok(status) = serde_json::from_str::<serde_json::Value>(&status) else { continue };
            let status = &status[0]["Status"];
            let id = &status["header"]["member_id"];
            if id.is_u64() && status["leader"] == *id {
                return Some(number);
            }
        }
        None
    }

    /// Ends a member at once (SIGKILL).
    pub fn kill(&mut self, member: usize) {
        self.members[member].kill();
    }

    /// Starts a member that was killed, with the data it had.
    pub fn restart(&mut self, member: usize) {
        self.members[member].kill();
        self.members[member].start();
    }

    /// Stops a member where it stands (SIGSTOP): its connections stay open, nothing is answered.
    pub fn freeze(&mut self, member: usize) {
        self.members[member].freeze();
    }

    /// Lets a frozen member go on (SIGCONT).
    pub fn thaw(&mut self, member: usize) {
        self.members[member].thaw();
    }

    /// Runs `etcdctl` with all endpoints of members that are not frozen, as root where authentication is on.
    #[must_use]
    pub fn etcdctl(&self, arguments: &[&str]) -> String {
        self.try_etcdctl(arguments).unwrap_or_else(|error| panic!("etcdctl {arguments:?}: {error}"))
    }

    /// The same, which may fail.
    ///
    /// # Errors
    /// What etcdctl said.
    pub fn try_etcdctl(&self, arguments: &[&str]) -> Result<String, String> {
        let awake = self.members.iter().filter(|member| !member.frozen());
        self.ctl(&awake.map(Member::client).collect::<Vec<_>>().join(","), arguments)
    }

    fn ctl(&self, endpoints: &str, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", endpoints]);
        if self.setup.tls {
            for (option, name) in
                [("--cacert", "ca.pem"), ("--cert", "client.pem"), ("--key", "client-key.pem")]
            {
                command.arg(option).arg(self.dir.path().join(name));
            }
        }
        if let Some((user, password)) = &self.user {
            command.arg(format!("--user={user}:{password}"));
        }
        let output = command.args(arguments).output().unwrap();
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout).unwrap());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Switches authentication on: `root` with password `root`, who may do all.
    pub fn auth_on(&mut self) {
        drop(self.etcdctl(&["user", "add", "root:root"]));
        drop(self.etcdctl(&["user", "grant-role", "root", "root"]));
        drop(self.etcdctl(&["auth", "enable"]));
        self.user = Some(("root".to_owned(), "root".to_owned()));
    }

    /// Switches authentication off.
    pub fn auth_off(&mut self) {
        drop(self.etcdctl(&["auth", "disable"]));
        self.user = None;
    }

    /// Saves a backup to a file that lives as long as the cluster.
    #[must_use]
    pub fn save(&self, name: &str) -> std::path::PathBuf {
        let file = self.dir.path().join(name);
        let from = self.members.iter().find(|member| !member.frozen()).unwrap().client();
        self.ctl(&from, &["snapshot", "save", file.to_str().unwrap()]).unwrap();
        file
    }

    /// Makes the cluster anew from a backup, at the same addresses.
    pub fn restore(&mut self, backup: &Path) {
        let initial = self.initial();
        for member in &mut self.members {
            member.kill();
            std::fs::remove_dir_all(&member.dir).unwrap();
            let restored = Command::new("etcdctl")
                .env("ETCDCTL_API", "3")
                .args(["snapshot", "restore", backup.to_str().unwrap(), "--name", &member.name])
                .args(["--initial-cluster", &initial, "--initial-advertise-peer-urls", &member.peer()])
                .args(["--data-dir", member.dir.to_str().unwrap()])
                .output()
                .unwrap();
            assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
        }
        self.members.iter_mut().for_each(Member::start);
        self.ready();
    }

    /// Makes the cluster anew, empty, at the same addresses.
    pub fn wipe(&mut self) {
        for member in &mut self.members {
            member.kill();
            std::fs::remove_dir_all(&member.dir).unwrap();
        }
        self.members.iter_mut().for_each(Member::start);
        self.user = None;
        self.ready();
    }

    /// Fills a cluster that has a small quota (`--quota-backend-bytes`), until etcd raises its alarm NOSPACE.
    pub fn fill(&self) {
        let filling = "x".repeat(100_000);
        let mut number = 0;
        until("etcd is full", || {
            number += 1;
            self.try_etcdctl(&["put", &format!("filling/{number}"), &filling]).err()
        });
        until("the alarm is raised", || self.etcdctl(&["alarm", "list"]).contains("NOSPACE").then_some(()));
    }
}

/// A loopback address that nobody uses: all of 127.0.0.0/8 is this machine, and outgoing connections come from
/// 127.0.0.1.
fn free_address() -> Ipv4Addr {
    until("an address is free", || {
        let [a, b, c, ..] = *uuid::Uuid::new_v4().as_bytes();
        let address = Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254));
        let free = |port| TcpListener::bind((address, port)).is_ok();
        (free(2379) && free(2380)).then_some(address)
    })
}

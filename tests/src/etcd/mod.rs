//! Real etcd clusters, on the loopback or each member in a host of its own.
//!
//! The members are programs of a [`Bed`]: they end with it, and their data lies in it. They never listen on etcd's own
//! ports, where a machine's own etcd may be.

mod ctl;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::{Bed, Host, Net, Program, SOON, free_ports, wait_until};

// In a namespace, where nobody else listens.
const CLIENTS: u16 = 23_790;
const PEERS: u16 = 23_800;

/// How fast a cluster notices that its leader is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// Without one, members elect.
    pub election: Duration,
}

impl Pace {
    /// As etcd comes.
    pub const DEFAULT: Self =
        Self { heartbeat: Duration::from_millis(100), election: Duration::from_millis(1000) };
    /// As fast as it is sensible in one place.
    pub const FAST: Self =
        Self { heartbeat: Duration::from_millis(20), election: Duration::from_millis(200) };
}

/// A cluster of etcd members, numbered from 0.
pub struct EtcdCluster<'a> {
    bed: &'a Bed,
    pace: Pace,
    more: Vec<String>,
    members: Vec<Member>,
    login: Mutex<Option<String>>,
}

struct Member {
    place: Option<Host>,
    clients: SocketAddr,
    peers: SocketAddr,
    program: Mutex<Option<Arc<Program>>>,
}

impl<'a> EtcdCluster<'a> {
    /// Whether etcd and etcdctl are there.
    #[must_use]
    pub fn possible() -> bool {
        let runs = |program: &str, arg: &str| {
            Command::new(program).arg(arg).output().is_ok_and(|output| output.status.success())
        };
        runs("etcd", "--version") && runs("etcdctl", "version")
    }

    /// So many members on the loopback, running.
    #[must_use]
    pub fn local(bed: &'a Bed, members: u16, pace: Pace) -> Self {
        Self::planned(bed, members, pace, &[]).up()
    }

    /// One member in each of these hosts of a net, with more arguments, running.
    #[must_use]
    pub fn on(bed: &'a Bed, net: &Net, hosts: std::ops::Range<usize>, pace: Pace, more: &[&str]) -> Self {
        let members = hosts.map(|number| {
            let host = net.host(number);
            let at = |port| SocketAddr::from((host.address(), port));
            Member::new(Some(host.clone()), at(CLIENTS), at(PEERS))
        });
        let more = more.iter().map(|&arg| arg.to_owned()).collect();
        Self { bed, pace, more, members: members.collect(), login: Mutex::default() }.up()
    }

    /// So many members on the loopback, with more arguments; addresses only, until [`start`](Self::start_all).
    #[must_use]
    pub fn planned(bed: &'a Bed, members: u16, pace: Pace, more: &[&str]) -> Self {
        let first = free_ports(2 * members);
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let members = (0..members).map(|number| {
            let port = first + 2 * number;
            Member::new(None, at(port), at(port + 1))
        });
        let more = more.iter().map(|&arg| arg.to_owned()).collect();
        Self { bed, pace, more, members: members.collect(), login: Mutex::default() }
    }

    fn up(self) -> Self {
        self.start_all();
        self
    }

    /// Starts every member that does not run, and waits until the cluster has a leader.
    pub fn start_all(&self) {
        for number in 0..self.members.len() {
            self.launch(number);
        }
        self.wait_leader();
    }

    /// How many members there are, dead or alive.
    #[must_use]
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// The clients' URLs of all members, as `--endpoints` has them.
    #[must_use]
    pub fn endpoints(&self) -> String {
        let urls: Vec<String> = (0..self.members.len()).map(|number| self.endpoint(number)).collect();
        urls.join(",")
    }

    /// The clients' URL of one member.
    #[must_use]
    pub fn endpoint(&self, number: usize) -> String {
        format!("http://{}", self.members[number].clients)
    }

    /// The program of a member.
    ///
    /// # Panics
    /// If it was never started.
    #[must_use]
    pub fn member(&self, number: usize) -> Arc<Program> {
        self.members[number].program().clone().expect("a member that was started")
    }

    /// Kills a member so that it cannot do anything more. Gives the moment before.
    pub fn kill(&self, number: usize) -> Duration {
        self.member(number).kill()
    }

    /// Starts a member again, with the data that it has, and waits until it answers.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn restart(&self, number: usize) {
        self.launch(number);
        wait_until(&format!("member {number} of etcd to answer"), SOON, || self.is_well(number));
    }

    /// Kills all members; the data stays.
    pub fn stop_all(&self) {
        for number in 0..self.members.len() {
            self.kill(number);
        }
    }

    /// Throws away the data of all members, which must have been stopped.
    ///
    /// # Panics
    /// If it cannot be removed.
    pub fn wipe(&self) {
        for number in 0..self.members.len() {
            assert!(!self.member(number).is_alive(), "member {number} still runs");
            fs::remove_dir_all(self.data(number)).expect("the data of a member");
        }
    }

    fn launch(&self, number: usize) {
        let member = &self.members[number];
        let mut program = member.program();
        if program.as_ref().is_some_and(|program| program.is_alive()) {
            return;
        }
        let mut command = self.bed.placed(member.place.as_ref(), Path::new("etcd"));
        let (clients, peers) = (self.endpoint(number), format!("http://{}", member.peers));
        command.args(["--name", &name(number), "--data-dir"]).arg(self.data(number));
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &self.initial(), "--logger", "zap"]);
        command.args(["--heartbeat-interval", &self.pace.heartbeat.as_millis().to_string()]);
        command.args(["--election-timeout", &self.pace.election.as_millis().to_string()]).args(&self.more);
        *program = Some(self.bed.start(&name(number), command));
    }

    fn initial(&self) -> String {
        let each = self.members.iter().enumerate();
        let each = each.map(|(number, member)| format!("{}=http://{}", name(number), member.peers));
        each.collect::<Vec<_>>().join(",")
    }

    fn data(&self, number: usize) -> PathBuf {
        self.bed.path(&format!("{}.data", name(number)))
    }
}

impl Drop for EtcdCluster<'_> {
    fn drop(&mut self) {
        for number in 0..self.members.len() {
            if let Some(program) = &*self.members[number].program() {
                program.kill();
            }
            let _ = fs::remove_dir_all(self.data(number));
        }
    }
}

impl Member {
    fn new(place: Option<Host>, clients: SocketAddr, peers: SocketAddr) -> Self {
        Self { place, clients, peers, program: Mutex::default() }
    }

    fn program(&self) -> std::sync::MutexGuard<'_, Option<Arc<Program>>> {
        self.program.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(number: usize) -> String {
    format!("etcd-{number}")
}

//! Docker engines of the tests' own, alone or as a Swarm whose nodes are hosts of a net.
//!
//! The machine's own engine, if it has one, is never asked. No image is pulled: [`IMAGE`] is made from the machine's
//! busybox.

mod engine;
mod keys;
mod leftovers;
mod others;

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::process::Stdio;
use std::time::Duration;

pub use engine::{Engine, IMAGE, IMAGE_2, left_of};

use om_api::clock::since_boot;

use crate::{Net, wait_for, wait_until};

/// `dockerd` and what it calls are the system's; `docker` may be anybody's.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long an engine may take for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The Swarm's own election takes up to 20 s: ten to nineteen ticks of a second, and again if it fails.
pub const ELECTION: Duration = Duration::from_secs(90);

/// A Swarm of managers, numbered from 0 as the hosts that they run in. Gone when dropped.
pub struct Swarm {
    net: Net,
    engines: BTreeMap<usize, Engine>,
    token: String,
}

impl Swarm {
    /// Whether Swarms can be made here.
    #[must_use]
    pub fn possible() -> bool {
        Engine::possible()
    }

    /// So many managers, in a net of their own; all reachable.
    #[must_use]
    pub fn new(managers: usize) -> Self {
        Self::on(&Net::new(managers), 0..managers)
    }

    /// A manager in each of these hosts of a net; all reachable.
    ///
    /// # Panics
    /// If a Swarm does not come about.
    #[must_use]
    pub fn on(net: &Net, hosts: Range<usize>) -> Self {
        let first = hosts.start;
        let engines: BTreeMap<usize, Engine> =
            hosts.map(|number| (number, Engine::plan(&net.host(number), &["--bridge=none"]))).collect();
        std::thread::scope(|scope| {
            for engine in engines.values() {
                engine.start();
                scope.spawn(|| {
                    engine.wait_answering();
                    engine.load();
                });
            }
        });
        let at = engines[&first].host().address().to_string();
        let init = ["swarm", "init", "--advertise-addr", &at, "--listen-addr", &at];
        engines[&first].docker(&init);
        let token = engines[&first].docker(&["swarm", "join-token", "--quiet", "manager"]);
        let swarm = Self { net: net.clone(), engines, token };
        let others: Vec<usize> = swarm.engines.keys().copied().filter(|number| *number != first).collect();
        for number in others {
            swarm.join(number, first);
        }
        swarm.wait_whole();
        swarm
    }

    /// The net that its nodes are hosts of.
    #[must_use]
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// The engine of a node.
    ///
    /// # Panics
    /// If there is none of this number.
    #[must_use]
    pub fn engine(&self, number: usize) -> &Engine {
        &self.engines[&number]
    }

    /// All engines.
    pub fn engines(&self) -> impl Iterator<Item = &Engine> {
        self.engines.values()
    }

    /// Joins a node that belongs to no Swarm, as a manager, by way of another one. It may take a while until it is
    /// reachable: see [`wait_whole`](Self::wait_whole).
    pub fn join(&self, number: usize, by: usize) {
        let at = self.engine(number).host().address().to_string();
        let to = format!("{}:2377", self.engine(by).host().address());
        let args =
            ["swarm", "join", "--token", &self.token, "--advertise-addr", &at, "--listen-addr", &at, &to];
        self.engine(number).docker(&args);
    }

    /// Which node leads, as far as any of the engines knows that answer within 2 s.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        let status = self.statuses()?;
        status.iter().find(|(_, status)| status.as_str() == "Leader").map(|(number, _)| *number)
    }

    /// Waits until a node leads; which.
    #[track_caller]
    pub fn wait_leader(&self) -> usize {
        wait_for("the Swarm to have a leader", ELECTION, || self.leader())
    }

    /// Waits until another node than this one leads; which.
    #[track_caller]
    pub fn wait_leader_but(&self, old: usize) -> usize {
        wait_for(&format!("another than {old} to lead the Swarm"), ELECTION, || {
            self.leader().filter(|number| *number != old)
        })
    }

    /// How long the log of each daemon is, to look only at what comes after.
    #[must_use]
    pub fn logs(&self) -> Vec<usize> {
        self.engines.values().map(|engine| engine.daemon().log().len()).collect()
    }

    /// Waits until a node has won the Swarm's own election after its log was so long; when that was seen.
    #[track_caller]
    pub fn wait_elected(&self, logs: &[usize]) -> Duration {
        wait_until("a node to be elected by the Swarm", ELECTION, || {
            let won =
                |(engine, from): (&Engine, &usize)| engine.daemon().find(*from, &["became leader at term"]);
            self.engines.values().zip(logs).any(|pair| won(pair).is_some())
        });
        since_boot()
    }

    /// Waits until every node is a manager that the leader reaches.
    #[track_caller]
    pub fn wait_whole(&self) {
        let well = |status: &String| status == "Leader" || status == "Reachable";
        let mut seen = None;
        wait_until("every node to be a reachable manager", ELECTION, || {
            seen = self.statuses();
            seen.as_ref()
                .is_some_and(|status| status.len() == self.engines.len() && status.values().all(well))
        });
    }

    /// Makes a manager a worker, by way of another node.
    pub fn demote(&self, number: usize) {
        self.node(number, &["node", "demote", self.engine(number).name()]);
    }

    /// Makes a worker a manager, by way of another node.
    pub fn promote(&self, number: usize) {
        self.node(number, &["node", "promote", self.engine(number).name()]);
    }

    /// Takes all tasks from a node; it stays a manager.
    pub fn drain(&self, number: usize) {
        self.node(number, &["node", "update", "--availability=drain", self.engine(number).name()]);
    }

    /// Lets a drained node have tasks again.
    pub fn activate(&self, number: usize) {
        self.node(number, &["node", "update", "--availability=active", self.engine(number).name()]);
    }

    /// A node leaves the Swarm, whatever becomes of that.
    pub fn leave(&self, number: usize) {
        self.engine(number).docker(&["swarm", "leave", "--force"]);
    }

    /// Cuts a node off from all others. Gives the moment before.
    pub fn cut_off(&self, number: usize) -> Duration {
        self.net.cut_off(number)
    }

    /// Mends the net. Gives the moment after.
    pub fn heal(&self) -> Duration {
        self.net.heal()
    }

    /// From now on a manager that was restarted needs this key to go on.
    #[must_use]
    pub fn lock(&self) -> String {
        let leader = self.engine(self.wait_leader());
        leader.docker(&["swarm", "update", "--autolock=true"]);
        leader.docker(&["swarm", "unlock-key", "--quiet"])
    }

    /// Gives a restarted manager the key.
    ///
    /// # Panics
    /// If it does not take it.
    pub fn unlock(&self, number: usize, key: &str) {
        // It answers when the Swarm has a leader, for which this manager may be needed.
        let patience = u32::try_from(ELECTION.as_secs()).expect("minutes");
        let mut command = self.engine(number).command(patience, &["swarm", "unlock"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("docker");
        child.stdin.take().expect("its input").write_all(format!("{key}\n").as_bytes()).expect("its input");
        let output = child.wait_with_output().expect("docker");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    // What can be asked of any manager is asked of another one: the node itself may not be able to answer.
    fn node(&self, number: usize, args: &[&str]) {
        let others = self.engines.iter().filter(|(other, _)| **other != number).map(|(_, engine)| engine);
        let mut refusals = Vec::new();
        for engine in others {
            let answer = engine.ask(args);
            if answer.code == 0 {
                return;
            }
            refusals.push(answer);
        }
        panic!("{refusals:#?}");
    }

    // What the first engine that answers says of the managers.
    fn statuses(&self) -> Option<BTreeMap<usize, String>> {
        let list = ["node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}"];
        let answer = self.engines.values().map(|engine| engine.ask_within(2, &list));
        let answer = answer.into_iter().find(|output| output.code == 0)?;
        let line = |line: &str| {
            let (name, status) = line.split_once(' ')?;
            let number = self.engines.iter().find(|(_, engine)| engine.name() == name)?.0;
            (!status.is_empty()).then(|| (*number, status.to_owned()))
        };
        Some(answer.stdout.lines().filter_map(line).collect())
    }
}

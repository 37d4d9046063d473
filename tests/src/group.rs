//! Three replicas that elect a leader by etcd or by a Swarm: on one host, or each on its own.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use om_api::clock::since_boot;
use om_api::{Reason, v1};
use om_kv::layout::{ElectorateRecord, Layout};

use crate::record::{self, Reigns};
use crate::{
    Bed, Client, ELECTION, EtcdCluster, Hammer, Net, Pace, Program, SOON, Swarm, Told, Users, recorded,
    shifted, wait_for,
};

/// The names of the replicas.
pub const NAMES: [&str; 3] = ["a", "b", "c"];

/// The authority of a leader that was elected, as it comes: how long its plugins may go on steering after its last sign of life.
pub const ETCD_AUTHORITY: Duration = Duration::from_millis(250);

// A frozen replica does not answer, and that is its answer.
const GLANCE: Duration = Duration::from_millis(500);

/// What keeps the election and the state.
enum Keep<'a> {
    Etcd(EtcdCluster<'a>),
    Swarm(Box<Swarm>),
}

/// Three replicas, their etcd of three members or their Swarm of three managers, and a recording plugin on each host. It
/// has the bed for itself.
pub struct Group<'a> {
    base: &'a Bed,
    net: Option<Net>,
    // By replica; none: all of them are in `base`.
    hosts: Vec<Bed>,
    keep: Keep<'a>,
    /// How long an election may take.
    patience: Duration,
    more: Vec<String>,
    managers: Mutex<Vec<Arc<Program>>>,
    clients: Vec<Client>,
}

impl<'a> Group<'a> {
    /// All on the machine itself, with one plugin.
    #[must_use]
    pub fn on_one_host(base: &'a Bed, pace: Pace, more: &[&str]) -> Self {
        Self::on_one_host_with(base, pace, &[], more)
    }

    /// The same, with more arguments for etcd.
    #[must_use]
    pub fn on_one_host_with(base: &'a Bed, pace: Pace, etcd: &[&str], more: &[&str]) -> Self {
        let etcd = EtcdCluster::planned(base, 3, pace, etcd);
        etcd.start_all();
        Self::of(base, None, Keep::Etcd(etcd), more)
    }

    /// Each replica on its own host, 0 to 2, beside a member of etcd.
    #[must_use]
    pub fn beside_etcd(base: &'a Bed, pace: Pace, more: &[&str]) -> Self {
        Self::beside_etcd_with(base, pace, &[], more)
    }

    /// The same, with more arguments for etcd.
    #[must_use]
    pub fn beside_etcd_with(base: &'a Bed, pace: Pace, etcd: &[&str], more: &[&str]) -> Self {
        let net = Net::new(3);
        let etcd = EtcdCluster::on(base, &net, 0..3, pace, etcd);
        Self::of(base, Some(net), Keep::Etcd(etcd), more)
    }

    /// Each replica on its own host, 0 to 2, and the members of etcd on others, 3 to 5.
    #[must_use]
    pub fn apart_from_etcd(base: &'a Bed, pace: Pace, more: &[&str]) -> Self {
        let net = Net::new(6);
        let etcd = EtcdCluster::on(base, &net, 3..6, pace, &[]);
        Self::of(base, Some(net), Keep::Etcd(etcd), more)
    }

    /// Each replica on its own host, 0 to 2, beside a manager of a Swarm.
    #[must_use]
    pub fn beside_swarm(base: &'a Bed, more: &[&str]) -> Self {
        let net = Net::new(3);
        let swarm = Swarm::on(&net, 0..3);
        Self::of(base, Some(net), Keep::Swarm(Box::new(swarm)), more)
    }

    fn of(base: &'a Bed, net: Option<Net>, keep: Keep<'a>, more: &[&str]) -> Self {
        let hosts: Vec<Bed> =
            net.iter().flat_map(|net| (0..NAMES.len()).map(|number| base.in_host(net, number))).collect();
        let more = more.iter().map(|&arg| arg.to_owned()).collect();
        let (managers, clients) = (Mutex::default(), Vec::new());
        let patience = if matches!(keep, Keep::Swarm(_)) { ELECTION } else { SOON };
        let mut group = Self { base, net, hosts, keep, patience, more, managers, clients };
        // Of a group before it in the same bed, whose terms are none of ours.
        let _ = std::fs::remove_file(base.steering_record());
        let plugins = if group.net.is_some() { NAMES.len() } else { 1 };
        for number in 0..plugins {
            group.bed(number).recording_plugin("record");
        }
        for (number, name) in NAMES.iter().enumerate() {
            group.clients.push(Client::of(&group.bed(number).socket(name)).patience(GLANCE));
            let program = group.launch(number, 0);
            group.managers().push(program);
        }
        group
    }

    fn launch(&self, number: usize, ahead: u64) -> Arc<Program> {
        let more: Vec<&str> = self.more.iter().map(String::as_str).collect();
        let (bed, name) = (self.bed(number), NAMES[number]);
        let command = match &self.keep {
            Keep::Etcd(etcd) => bed.etcd_manager_command(name, etcd, &more),
            Keep::Swarm(swarm) => bed.swarm_manager_command(name, swarm.engine(number), &more),
        };
        let command = if ahead == 0 { command } else { shifted(&command, ahead) };
        let program = bed.start(name, command);
        bed.wait_serving(&program);
        program
    }

    fn managers(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Program>>> {
        self.managers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a replica runs.
    #[must_use]
    pub fn bed(&self, number: usize) -> &Bed {
        self.hosts.get(number).unwrap_or(self.base)
    }

    /// The hosts' net.
    ///
    /// # Panics
    /// If all are on one host.
    #[must_use]
    pub fn net(&self) -> &Net {
        self.net.as_ref().expect("a group over hosts")
    }

    /// Their etcd.
    ///
    /// # Panics
    /// If they have none.
    #[must_use]
    pub fn etcd(&self) -> &EtcdCluster<'a> {
        match &self.keep {
            Keep::Etcd(etcd) => etcd,
            Keep::Swarm(_) => panic!("a group without etcd"),
        }
    }

    /// Their Swarm.
    ///
    /// # Panics
    /// If they have none.
    #[must_use]
    pub fn swarm(&self) -> &Swarm {
        match &self.keep {
            Keep::Swarm(swarm) => swarm,
            Keep::Etcd(_) => panic!("a group without a Swarm"),
        }
    }

    /// The program of a replica.
    #[must_use]
    pub fn manager(&self, number: usize) -> Arc<Program> {
        self.managers()[number].clone()
    }

    /// A client of a replica, with little patience.
    #[must_use]
    pub fn client(&self, number: usize) -> &Client {
        &self.clients[number]
    }

    /// Starts a replica again that has ended, and waits until it serves.
    pub fn restart(&self, number: usize) {
        self.restart_ahead(number, 0);
    }

    /// The same; by its clocks the machine has been up for so many seconds more.
    pub fn restart_ahead(&self, number: usize, seconds: u64) {
        let program = self.launch(number, seconds);
        self.managers()[number] = program;
    }

    /// What a replica says about itself, if it answers at once.
    #[must_use]
    pub fn status(&self, number: usize) -> Option<v1::StatusResponse> {
        self.manager(number).is_alive().then(|| self.client(number).status().ok()).flatten()
    }

    /// Who leads under which term, by what the replicas say of themselves.
    #[must_use]
    pub fn leader(&self) -> Option<(usize, u64)> {
        let each = (0..NAMES.len()).filter_map(|number| Some((number, self.status(number)?)));
        let leading = each.filter(|(_, status)| status.leadership() == v1::Leadership::Leading);
        leading.map(|(number, status)| (number, status.term)).max_by_key(|(_, term)| *term)
    }

    /// Waits until somebody leads under a higher term than this; who, and the term.
    #[track_caller]
    pub fn wait_leader_after(&self, term: u64) -> (usize, u64) {
        wait_for(&format!("a leader after term {term}"), self.patience, || {
            self.leader().filter(|(_, newer)| *newer > term)
        })
    }

    /// How long an election may take, if what keeps it elects, too.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Waits until everything is as it should be: one leads, beside the leader of the Swarm if there is one, all others
    /// know it, all of them are in its electorate, and its plugin is attended. Who leads, and its term.
    ///
    /// # Panics
    /// With what is still missing, if it does not come soon.
    #[track_caller]
    pub fn settle(&self) -> (usize, u64) {
        self.settled().unwrap_or_else(|why| panic!("the replicas do not come to be of one mind: {why}"))
    }

    /// The same; what is still missing, if it does not come soon.
    ///
    /// # Errors
    /// What is missing.
    pub fn settled(&self) -> Result<(usize, u64), String> {
        let end = since_boot() + self.patience;
        loop {
            match self.of_one_mind() {
                Err(_) if since_boot() < end => std::thread::sleep(Duration::from_millis(10)),
                told => return told,
            }
        }
    }

    fn of_one_mind(&self) -> Result<(usize, u64), String> {
        let (leader, term) = self.leader().ok_or("nobody leads")?;
        for (number, name) in NAMES.iter().enumerate() {
            let status = self.status(number).ok_or_else(|| format!("{name} does not answer"))?;
            let follows = status.leadership() == v1::Leadership::Following
                && status.leader.as_ref().is_some_and(|named| named.name == NAMES[leader]);
            let attends = status.plugins.iter().any(|plugin| plugin.name == "record" && plugin.attended);
            if if number == leader { !attends } else { !follows } {
                return Err(format!("{} leads, and {name} says {status:?}", NAMES[leader]));
            }
        }
        if let Keep::Swarm(swarm) = &self.keep
            && swarm.leader() != Some(leader)
        {
            return Err(format!("{} leads, and {:?} leads the Swarm", NAMES[leader], swarm.leader()));
        }
        let (electorate, living) = self.electorate()?;
        let members: ElectorateRecord =
            serde_json::from_str(&electorate).map_err(|cause| cause.to_string())?;
        if members.members.len() != NAMES.len() || living != NAMES.len() {
            return Err(format!("the electorate is {electorate}, and there are {living} replicas"));
        }
        Ok((leader, term))
    }

    // The electorate's record, and how many replicas are recorded.
    fn electorate(&self) -> Result<(String, usize), String> {
        let layout = Layout::of("test");
        let missing = || "there is no electorate".to_owned();
        match &self.keep {
            Keep::Etcd(etcd) => {
                let electorate = etcd.get(&layout.electorate()).ok_or_else(missing)?;
                Ok((electorate, etcd.keys(&layout.replicas()).len()))
            }
            Keep::Swarm(swarm) => {
                let keys = swarm.keys("test", &layout.election())?;
                let electorate = keys.get(&layout.electorate()).ok_or_else(missing)?.clone();
                Ok((electorate, keys.keys().filter(|key| key.starts_with(&layout.replicas())).count()))
            }
        }
    }

    /// Asks whoever leads to hand over to the replica that `to` names, given who leads; empty: to any. Asks again where
    /// leadership has just moved by itself.
    ///
    /// # Panics
    /// If it is refused for any other reason.
    #[track_caller]
    pub fn hand_over(&self, to: impl Fn(usize) -> &'static str) -> v1::HandoverResponse {
        wait_for("a handover", SOON, || {
            let (leader, _) = self.leader()?;
            match self.bed(leader).client(NAMES[leader]).handover(to(leader)) {
                Ok(answer) => Some(answer),
                Err(failure) => {
                    let moved = matches!(failure.reason, Some(Reason::NotLeader | Reason::NoLeader));
                    assert!(moved, "{} does not hand over: {failure:?}", NAMES[leader]);
                    None
                }
            }
        })
    }

    /// Declares a service that is steered all the time, so that the record shows who steers.
    #[track_caller]
    pub fn steer_something(&self) {
        let (leader, _) = self.settle();
        self.bed(leader).commit(NAMES[leader], &recorded(self.base, "steered"), &["--wait"]).done();
    }

    /// Callers at all replicas, who wait as long as an election may take.
    #[must_use]
    pub fn hammer(&self, callers: usize) -> Hammer {
        let sockets = NAMES.iter().enumerate().map(|(number, name)| self.bed(number).socket(name));
        Hammer::start(sockets.collect(), &recorded(self.base, "hammered"), callers, self.patience)
    }

    /// Users of all replicas, which must be on one host: the client library goes where it is sent.
    #[must_use]
    pub fn users(&self, users: usize) -> Users {
        assert!(self.net.is_none(), "the leader's own endpoint is not reached from outside its net");
        let sockets: Vec<_> = NAMES.iter().map(|name| self.base.socket(name)).collect();
        Users::start(&sockets, &recorded(self.base, "user").with("every_ms", 0), users)
    }

    /// No call failed, and of every service that was acknowledged as it was acknowledged last.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn check_told(&self, told: &Told) {
        assert!(told.failed.is_empty(), "calls failed: {:#?}", told.failed);
        let (leader, _) = self.settle();
        let stored = self.bed(leader).client(NAMES[leader]).list().expect("a list");
        for (name, last) in told.last() {
            let found = stored.iter().find(|service| service.name == name);
            let found = found.unwrap_or_else(|| panic!("{last:?} was acknowledged and is lost"));
            let number = found.labels.get("number").cloned().unwrap_or_default();
            assert_eq!((number, found.revision), (last.number.to_string(), last.revision), "{name}");
        }
    }

    /// By term: when it steered, as recorded.
    #[must_use]
    pub fn reigns(&self) -> Reigns {
        record::reigns(&self.base.steering_record())
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        // Another group may follow in the same bed.
        self.base.kill_all();
    }
}

//! A world of replicas, each with a real elector and a real seat, lines between them, and an etcd that is slow, away, or
//! loses answers. Everything that happens follows from the seed. Times are the world's; each replica's clock has an offset
//! and a rate of its own.
//!
//! What is checked, always: the authority that was ever published under a term is over before anybody with a higher term
//! begins to act.

mod campaign;
mod etcd;
mod faults;
mod handover;
mod parts;
mod places;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use om_kv::layout::{BeatRecord, ElectorateRecord, LeaderRecord, Released, ReplicaRecord};

use self::parts::{Dice, Replica};
use super::super::io::{Guard, Input, Outcome, Output, Warrant};
use super::super::line::{Answer, Request};
use super::super::lines::Change;
use super::super::places::Places;
use super::super::records::{At, Election};
use super::super::seat::{Seat, Settings};
use crate::elector::{Elector, Input as Campaign, Output as Order};
use crate::{OfficeError, Timing};

const MS: Duration = Duration::from_millis(1);
const LEASE: Duration = Duration::from_secs(5);

pub(super) fn settings() -> Settings {
    Settings { floor: 200 * MS, most: 2000 * MS, hold: LEASE, kept_in: "etcd" }
}

/// Which faults may happen.
#[derive(Clone, Copy)]
pub(super) struct Faults(bool);

impl Faults {
    pub(super) fn all() -> Self {
        Self(true)
    }

    pub(super) fn none() -> Self {
        Self(false)
    }
}

enum Event {
    Wake(String),
    Request { from: String, to: String, request: Request },
    Answer { from: String, to: String, answer: Answer },
    Line { from: String, to: String, up: bool },
    Observe(String),
    Claim { by: String, asked_at: Duration, warrant: Box<Warrant>, answered: bool },
    Claimed { by: String, asked_at: Duration, term: Option<u64>, warrant: Box<Warrant> },
    Write { by: String, sent: Duration, what: Output, answered: bool },
    Into(String, Box<Input>),
    Stopped { by: String, term: u64, successor: Option<String> },
    Release { by: String, term: u64, successor: Option<String> },
    Released { term: u64, successor: Option<String> },
    Fault,
    Wander,
    Revive(String),
    Lapse,
}

/// A claim after a fault, by how long after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claimed {
    pub(super) by: Duration,
    pub(super) acts: Duration,
}

pub(super) struct World {
    dice: Dice,
    now: Duration,
    events: BTreeMap<(Duration, u64), Event>,
    number: u64,
    replicas: BTreeMap<String, Replica>,
    cut: BTreeSet<(String, String)>,
    etcd: Election,
    revision: i64,
    away_until: Duration,
    leases: BTreeMap<String, Duration>,
    writes: usize,
    /// Claims that rest on a bequest.
    bequests: usize,
    /// By term: who, until when authority was ever published, and when it began to act.
    published: BTreeMap<u64, Duration>,
    begins: BTreeMap<u64, (Duration, Duration)>,
    ended: BTreeMap<u64, Duration>,
    /// By term: when its holder said that everything has stopped.
    stopped: BTreeMap<u64, Duration>,
    faults: Faults,
    /// The name of the replica at whose place the leader had best be.
    preferred: Option<String>,
    starts: u64,
    seed: u64,
}

impl World {
    pub(super) fn new(seed: u64, replicas: usize) -> Self {
        let mut world = Self {
            dice: Dice(seed),
            now: Duration::ZERO,
            events: BTreeMap::new(),
            number: 0,
            replicas: BTreeMap::new(),
            cut: BTreeSet::new(),
            etcd: Election::default(),
            revision: 1,
            away_until: Duration::ZERO,
            leases: BTreeMap::new(),
            writes: 0,
            bequests: 0,
            published: BTreeMap::new(),
            begins: BTreeMap::new(),
            ended: BTreeMap::new(),
            stopped: BTreeMap::new(),
            faults: Faults::none(),
            preferred: None,
            starts: 0,
            seed,
        };
        for index in 0..replicas {
            world.start(&format!("r{index}"));
        }
        world
    }

    pub(super) fn reigns(&self) -> usize {
        self.begins.len()
    }

    pub(super) fn writes(&self) -> usize {
        self.writes
    }

    pub(super) fn bequests(&self) -> usize {
        self.bequests
    }

    fn at(&mut self, delay: Duration, event: Event) {
        self.number += 1;
        self.events.insert((self.now + delay, self.number), event);
    }

    fn start(&mut self, name: &str) {
        self.starts += 1;
        let instance = format!("{name}#{}", self.starts);
        let offset = self.dice.within(Duration::ZERO, Duration::from_secs(1000));
        let rate = 970 + u32::try_from(self.dice.roll(61)).unwrap_or(0);
        let timing = Timing::from_ttl(settings().floor).unwrap();
        let mut replica = Replica {
            seat: Seat::new(&instance, name, settings()),
            instance: instance.clone(),
            name: name.to_owned(),
            elector: Elector::new(timing),
            claim: None,
            confirm: None,
            resumes: Duration::ZERO,
            offset,
            rate,
            sees_etcd: true,
            seen: 0,
        };
        let clock = replica.clock(self.now);
        drop(replica.elector.step(clock, Campaign::Tick));
        let others: Vec<String> = self.replicas.keys().cloned().collect();
        self.replicas.insert(instance.clone(), replica);
        for other in others {
            for (from, to) in [(&instance, &other), (&other, &instance)] {
                let delay = self.dice.within(MS, 50 * MS);
                self.at(delay, Event::Line { from: from.clone(), to: to.clone(), up: true });
            }
        }
        self.keep_alive(&instance);
        if self.preferred.is_some() {
            self.tell_place(&instance, false);
        }
        self.at(MS, Event::Observe(instance));
    }

    /// Goes on for this long.
    pub(super) fn run_with(&mut self, faults: Faults, time: Duration) {
        self.faults = faults;
        if faults.0 {
            self.at(100 * MS, Event::Fault);
        }
        let end = self.now + time;
        while self.one(end) {}
        self.now = end;
    }

    fn one(&mut self, end: Duration) -> bool {
        let next = self.events.first_key_value().map(|(key, _)| *key);
        match next.filter(|key| key.0 <= end) {
            Some(key) => {
                self.now = key.0;
                let event = self.events.remove(&key).expect("it is there");
                self.expire();
                self.happen(event);
                true
            }
            None => false,
        }
    }

    /// Runs until a term higher than that of the fault is claimed.
    pub(super) fn run_until_newer(&mut self, (term, at): (u64, Duration)) -> Claimed {
        self.faults = Faults::none();
        while !self.begins.keys().any(|newer| *newer > term) {
            assert!(self.one(at + Duration::from_secs(60)), "seed {}: nobody takes over", self.seed);
        }
        let (claimed, acts) =
            self.begins.range(term + 1..).next().map(|(_, times)| *times).expect("a newer term");
        Claimed { by: claimed - at, acts: acts - at }
    }

    /// The newest term was confirmed throughout the last part of the run.
    pub(super) fn assert_led_for(&self, time: Duration) {
        let (term, (begun, _)) = self.begins.last_key_value().expect("somebody led");
        let until = self.published.get(term).copied().unwrap_or_default();
        assert!(
            *begun + time <= self.now,
            "seed {}: term {term} begun at {begun:?} of {:?}",
            self.seed,
            self.now
        );
        assert!(until > self.now, "seed {}: term {term} until {until:?}, now {:?}", self.seed, self.now);
    }

    fn leader(&self) -> Option<(u64, String)> {
        let leader = self.etcd.leader.as_ref()?;
        Some((self.etcd.term(), leader.record.instance.clone()))
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wake(instance) => self.wake(&instance),
            Event::Request { from, to, request } => {
                if self.joined(&from, &to) {
                    self.put(&to, Input::Line(Change::Asked { from, request }));
                }
            }
            Event::Answer { from, to, answer } => {
                if self.joined(&from, &to) {
                    self.put(&to, Input::Line(Change::Answered { from, answer }));
                }
            }
            Event::Line { from, to, up } => {
                if up && !(self.joined(&from, &to) && self.replicas.contains_key(&from)) {
                    return;
                }
                let (linked, called) = if up {
                    (Input::Line(Change::Linked(to.clone())), Input::Line(Change::Called(from.clone())))
                } else {
                    (Input::Line(Change::Unlinked(to.clone())), Input::Line(Change::Uncalled(from.clone())))
                };
                self.put(&from, linked);
                self.put(&to, called);
                if !up {
                    self.put(&to, Input::Line(Change::Unlinked(from)));
                }
            }
            Event::Observe(instance) => self.observe(instance),
            Event::Claim { by, asked_at, warrant, answered } => self.claim(by, asked_at, warrant, answered),
            Event::Claimed { by, asked_at, term, warrant } => self.claimed(&by, asked_at, term, &warrant),
            Event::Write { by, sent, what, answered } => self.write(&by, sent, &what, answered),
            Event::Stopped { by, term, successor } => self.stopped(by, term, successor),
            Event::Release { by, term, successor } => self.release(by, term, successor),
            Event::Released { term, successor } => self.released(term, successor),
            Event::Into(instance, input) => self.put(&instance, *input),
            Event::Revive(name) => self.start(&name),
            // A lease may run out while nothing else happens.
            Event::Lapse if self.now < self.away_until => {
                let wait = self.away_until - self.now;
                self.at(wait, Event::Lapse);
            }
            Event::Lapse => {}
            Event::Fault => self.fault(),
            Event::Wander => self.wander(),
        }
    }

    fn joined(&self, a: &str, b: &str) -> bool {
        let pair = if a < b { (a, b) } else { (b, a) };
        !self.cut.contains(&(pair.0.to_owned(), pair.1.to_owned()))
    }

    /// What a frozen replica is told waits until it goes on.
    fn put(&mut self, instance: &str, input: Input) {
        let Some(replica) = self.replicas.get_mut(instance) else { return };
        if replica.resumes > self.now {
            let wait = replica.resumes - self.now;
            return self.at(wait, Event::Into(instance.to_owned(), Box::new(input)));
        }
        let clock = replica.clock(self.now);
        let outputs = replica.seat.step(clock, input);
        self.perform(instance, outputs);
        self.plan(instance);
    }

    fn perform(&mut self, instance: &str, outputs: Vec<Output>) {
        for output in outputs {
            let by = instance.to_owned();
            let lost = self.faults.0 && self.dice.one_in(200);
            match output {
                Output::Say(seen) => self.campaign(instance, Campaign::Detected(seen)),
                Output::Ask { to, request } if !lost => {
                    let delay = self.line_delay();
                    if self.faults.0 && matches!(request, Request::Bequest { .. }) && self.dice.one_in(4) {
                        // It is heard once more, much later.
                        let (again, from, to) = (self.dice.within(MS, 8000 * MS), by.clone(), to.clone());
                        self.at(again, Event::Request { from, to, request: request.clone() });
                    }
                    self.at(delay, Event::Request { from: by, to, request });
                }
                Output::Reply { to, answer } if !lost => {
                    let delay = self.line_delay();
                    self.at(delay, Event::Answer { from: by, to, answer });
                }
                Output::Ask { .. } | Output::Reply { .. } => {}
                Output::Warrant(warrant) => self.warranted(by, warrant),
                Output::Confirmed(result) => self.confirmed(instance, result),
                Output::Record { .. } | Output::Beat { .. } | Output::Prove { .. } => {
                    let Some(replica) = self.replicas.get(instance) else { return };
                    let sent = replica.clock(self.now);
                    let (delay, answered) = self.etcd_delay(instance);
                    self.at(delay, Event::Write { by, sent, what: output, answered });
                }
            }
        }
    }

    fn line_delay(&mut self) -> Duration {
        if self.faults.0 && self.dice.one_in(50) {
            self.dice.within(MS, 120 * MS)
        } else {
            self.dice.within(MS / 10, MS)
        }
    }

    /// Wakes a replica when its seat or its elector wants to be.
    fn plan(&mut self, instance: &str) {
        let Some(replica) = self.replicas.get(instance) else { return };
        let wanted = [replica.seat.wake_at(), replica.elector.wake_at()].into_iter().flatten().min();
        let Some(at) = wanted.map(|clock| replica.world(clock)) else { return };
        // A timer fires late rather than early.
        let delay = at.saturating_sub(self.now) + MS;
        self.at(delay, Event::Wake(instance.to_owned()));
    }

    fn wake(&mut self, instance: &str) {
        let Some(replica) = self.replicas.get(instance) else { return };
        if replica.resumes > self.now {
            let wait = replica.resumes - self.now;
            return self.at(wait, Event::Wake(instance.to_owned()));
        }
        let clock = replica.clock(self.now);
        let due = |at: Option<Duration>| at.is_some_and(|at| at <= clock);
        let (seat, elector) = (due(replica.seat.wake_at()), due(replica.elector.wake_at()));
        if elector {
            self.campaign(instance, Campaign::Tick);
        }
        if seat {
            self.put(instance, Input::Tick);
        }
    }
}

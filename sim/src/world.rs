//! One world: three hosts with a replica and a plugin each, etcd, and clients. Everything follows from the seed.

use std::collections::BTreeMap;
use std::time::Duration;

use om_checker::{Event, Rules, Violation, What};

use crate::client;
use crate::etcd::Ambush;
use crate::fate::Dice;
use crate::hub::{Hub, Pid, Place};
use crate::places::{self, CLIENTS};
use crate::plant::Plant;
use crate::plugin;
use crate::process::{Life, Process};
use crate::replica;

/// How long a process runs by itself, at the longest. What crosses between processes takes longer.
const TICK: Duration = Duration::from_millis(6);
/// How long faults go on.
pub(crate) const TROUBLE: Duration = Duration::from_secs(10);
/// How long there is to make everything good after that.
const CALM: Duration = Duration::from_secs(10);
const HOSTS: u8 = 3;
const CLIENTS_AT_WORK: u64 = 2;

/// What a host has of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Program {
    Manager,
    Plugin,
}

/// What is to happen later: the end of a fault, or one more.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Later {
    Heal(Place, Place),
    Start(Place, Program),
    Find(Place),
    Fast,
    Near,
    /// The next leader that writes is cut off in the middle of it.
    Ambush,
    Die(Place),
}

impl Later {
    fn is_fault(self) -> bool {
        matches!(self, Self::Ambush | Self::Die(_))
    }
}

pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) dice: Dice,
    /// By place and program.
    pub(crate) programs: BTreeMap<(Place, Program), Process>,
    users: Vec<Process>,
    /// By time.
    awaited: BTreeMap<(Duration, u64), Later>,
    number: u64,
    pids: u32,
    now: Duration,
    lease_ttl: Duration,
    tick: Duration,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) history: Vec<Event>,
    pub(crate) violations: Vec<Violation>,
    /// Every service was seen at the end.
    pub(crate) seen: bool,
    pub(crate) trace: String,
    pub(crate) sum: u64,
}

/// The world of a seed, from its beginning to its end.
pub(crate) fn run(seed: u64, plant: Option<Plant>, trace: bool) -> anyhow::Result<Outcome> {
    let mut world = World::new(seed, plant, trace)?;
    world.go_on(TROUBLE, true)?;
    world.make_good()?;
    world.go_on(CALM, false)?;
    world.look()?;
    let hub = world.hub.clone();
    let history = hub.history();
    // The longest authority, by the slowest clock of a plugin, and a tick.
    let rules = Rules::new(replica::AUTHORITY.mul_f64(1.04) + TICK);
    let violations = om_checker::check(&history, &rules);
    let seen = history.iter().filter(|event| matches!(event.what, What::Stood { .. })).count() as u64;
    let (trace, sum) = hub.trace();
    Ok(Outcome { violations, seen: seen == client::SERVICES, history, trace, sum })
}

impl World {
    fn new(seed: u64, plant: Option<Plant>, trace: bool) -> anyhow::Result<Self> {
        let mut dice = Dice::new(seed ^ 0x5eed);
        let lease_ttl = Duration::from_secs(2 + dice.roll(2));
        let tick = TICK / if dice.one_in(4) { 3 } else { 1 };
        let mut world = Self {
            hub: Hub::new(seed, plant, trace),
            dice,
            programs: BTreeMap::new(),
            users: Vec::new(),
            awaited: BTreeMap::new(),
            number: 0,
            pids: 0,
            now: Duration::ZERO,
            lease_ttl,
            tick,
        };
        let is_os = world.dice.one_in(3);
        world.hub.lock().is_os = is_os;
        world.hub.say(format_args!("mode {}", if is_os { "os" } else { "etcd" }));
        for place in world.places() {
            world.start(place, Program::Plugin)?;
            world.start(place, Program::Manager)?;
        }
        let (places, until) = (world.places(), TROUBLE + CALM / 3);
        for number in 1..=CLIENTS_AT_WORK {
            let places = places.clone();
            world.user(format!("client {number}"), |life| client::main(life, number, places, until))?;
        }
        world.user("watcher".to_owned(), |life| client::watch(life, 10, places))?;
        if !is_os {
            world.lay_ambushes(&mut Dice::new(seed ^ 0xa3b5));
        }
        Ok(world)
    }

    pub(crate) fn places(&self) -> Vec<Place> {
        (0..HOSTS).map(Place).collect()
    }

    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    fn spawn<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        place: Place,
        name: String,
        program: impl FnOnce(Life) -> F,
    ) -> anyhow::Result<Process> {
        self.pids += 1;
        let rate = u32::try_from(self.dice.roll(60_001)).unwrap_or(0) + 970_000;
        let offset = self.dice.within(Duration::ZERO, Duration::from_secs(100_000));
        Process::start(&self.hub, (Pid(self.pids), place, name), rate, offset, program)
    }

    fn user<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        name: String,
        program: impl FnOnce(Life) -> F,
    ) -> anyhow::Result<()> {
        let process = self.spawn(CLIENTS, name, program)?;
        self.users.push(process);
        Ok(())
    }

    fn start(&mut self, place: Place, program: Program) -> anyhow::Result<()> {
        if self.programs.contains_key(&(place, program)) {
            return Ok(());
        }
        let ttl = self.lease_ttl;
        let process = match program {
            Program::Manager => {
                self.spawn(place, places::replica(place), move |life| replica::main(life, ttl))?
            }
            Program::Plugin => self.spawn(place, format!("plugin {}", place.0), plugin::main)?,
        };
        self.programs.insert((place, program), process);
        Ok(())
    }

    /// Ends a program at once; it is started again after a while.
    pub(crate) fn kill(&mut self, place: Place, program: Program, again: Duration) {
        if let Some(process) = self.programs.remove(&(place, program)) {
            process.kill();
            if program == Program::Manager {
                self.hub.record(What::Died { replica: places::replica(place) });
            }
            self.after(again, Later::Start(place, program));
        }
    }

    pub(crate) fn after(&mut self, time: Duration, later: Later) {
        self.number += 1;
        self.awaited.insert((self.now + time, self.number), later);
    }

    fn now_is(&mut self, later: Later) -> anyhow::Result<()> {
        match later {
            Later::Heal(from, to) => self.hub.heal(from, to),
            Later::Start(place, program) => self.start(place, program)?,
            Later::Find(place) => self.hub.lose(place, false),
            Later::Fast => self.hub.lock().etcd.slow = Duration::ZERO,
            Later::Near => self.hub.lock().latency = Duration::from_millis(1),
            Later::Ambush => self.hub.lock().etcd.ambush = Ambush::Laid,
            Later::Die(place) => self.die(place, Program::Manager),
        }
        Ok(())
    }

    fn go_on(&mut self, time: Duration, trouble: bool) -> anyhow::Result<()> {
        let end = self.now + time;
        let mut next = self.now + Duration::from_secs(2);
        while self.now < end {
            while let Some(entry) = self.awaited.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let later = entry.remove();
                self.now_is(later)?;
            }
            if trouble && self.now >= next {
                next = self.now + self.dice.within(Duration::from_millis(50), Duration::from_millis(1200));
                self.trouble();
            }
            self.tick()?;
        }
        Ok(())
    }

    fn tick(&mut self) -> anyhow::Result<()> {
        self.hub.happen(self.now);
        self.spring();
        self.hub.turn_etcd();
        let until = self.now + self.tick;
        for process in self.programs.values_mut().chain(&mut self.users) {
            process.run(until);
        }
        self.now = until;
        let over = self.programs.iter().filter(|(_, process)| process.has_ended());
        let over: Vec<_> = over.map(|(key, _)| *key).collect();
        for (place, program) in over {
            let again = self.dice.within(Duration::ZERO, Duration::from_millis(800));
            self.kill(place, program, again);
        }
        Ok(())
    }

    /// All faults end.
    fn make_good(&mut self) -> anyhow::Result<()> {
        self.hub.say(format_args!("all is made good"));
        self.hub.lock().etcd.ambush = Ambush::None;
        for later in std::mem::take(&mut self.awaited).into_values().filter(|later| !later.is_fault()) {
            self.now_is(later)?;
        }
        for (from, to) in self.hub.cuts() {
            self.hub.heal(from, to);
        }
        self.programs.values_mut().for_each(Process::resume);
        Ok(())
    }

    fn look(&mut self) -> anyhow::Result<()> {
        let places = self.places();
        self.user("a last look".to_owned(), |life| client::look(life, 20, places))?;
        while !self.users.last().is_some_and(Process::has_ended) {
            self.tick()?;
        }
        Ok(())
    }
}

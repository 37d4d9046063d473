//! What happens between processes: everything that crosses from one to another is an event here, at a time of the world.
//!
//! A process runs by itself for the time of one tick, and what it sends meanwhile arrives in a later one; so the order in
//! which processes are run within a tick decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use om_checker::{Event, What};
use tokio::time::Instant;

use crate::disk::Shared;
use crate::etcd::Etcd;
use crate::fate::Dice;
use crate::net::Sockets;
use crate::plant::Plant;

/// Something that is to happen.
pub(crate) type Happening = Box<dyn FnOnce(&Hub) + Send>;

/// A host, or etcd, or the place of the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(pub(crate) u8);

/// Where etcd is, or the disk that all share.
pub(crate) const ETCD: Place = Place(100);

/// A process; each start is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pid(pub(crate) u32);

/// Shared by everybody in one world.
#[derive(Clone)]
pub(crate) struct Hub(Arc<Mutex<State>>);

pub(crate) struct State {
    /// When the tick began that is on.
    pub(crate) tick: Duration,
    /// The process that runs: how its time and the world's go together.
    running: Option<Running>,
    number: u64,
    queue: BTreeMap<(Duration, u64), (Place, Place, Happening)>,
    pub(crate) dice: Dice,
    cut: BTreeSet<(Place, Place)>,
    held: BTreeMap<(Place, Place), Vec<Happening>>,
    pub(crate) sockets: Sockets,
    pub(crate) etcd: Etcd,
    pub(crate) shared: Shared,
    /// The mode of every replica: `os`, else `etcd`.
    pub(crate) is_os: bool,
    pub(crate) plant: Option<Plant>,
    history: Vec<Event>,
    trace: Trace,
    /// How slow everything between hosts is: the longest delay.
    pub(crate) latency: Duration,
}

#[derive(Clone, Copy)]
struct Running {
    world: Duration,
    local: Instant,
    /// The process's seconds in a million of the world's.
    rate: u32,
}

/// What happened, for people and for comparing two runs.
struct Trace {
    lines: String,
    kept: bool,
    sum: u64,
}

impl Hub {
    pub(crate) fn new(seed: u64, plant: Option<Plant>, trace: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            tick: Duration::ZERO,
            running: None,
            number: 0,
            queue: BTreeMap::new(),
            dice: Dice::new(seed),
            cut: BTreeSet::new(),
            held: BTreeMap::new(),
            sockets: Sockets::default(),
            etcd: Etcd::default(),
            shared: Shared::default(),
            is_os: false,
            plant,
            history: Vec::new(),
            trace: Trace { lines: String::new(), kept: trace, sum: 0xcbf2_9ce4_8422_2325 },
            latency: Duration::from_millis(1),
        })))
    }

    /// Nothing that is woken, run or dropped under the lock may come back for it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The world's time, for the process that runs.
    pub(crate) fn now(&self) -> Duration {
        self.lock().now()
    }

    pub(crate) fn dice<T>(&self, roll: impl FnOnce(&mut Dice) -> T) -> T {
        roll(&mut self.lock().dice)
    }

    /// Puts something down in the history.
    pub(crate) fn record(&self, what: What) {
        let at = self.now();
        self.record_at(at, what);
    }

    pub(crate) fn record_at(&self, at: Duration, what: What) {
        let mut state = self.lock();
        state.say(at, format_args!("{what:?}"));
        state.history.push(Event::new(at, what));
    }

    pub(crate) fn say(&self, what: std::fmt::Arguments<'_>) {
        let mut state = self.lock();
        let at = state.now();
        state.say(at, what);
    }

    pub(crate) fn history(&self) -> Vec<Event> {
        self.lock().history.clone()
    }

    /// The trace, if it is kept, and what all of it adds up to.
    pub(crate) fn trace(&self) -> (String, u64) {
        let state = self.lock();
        (state.trace.lines.clone(), state.trace.sum)
    }

    /// Something is to happen after a while, at one place.
    pub(crate) fn after(&self, delay: Duration, happening: impl FnOnce(&Hub) + Send + 'static) {
        let mut state = self.lock();
        let at = state.now() + delay;
        state.put(at, (ETCD, ETCD), Box::new(happening));
    }

    /// Something is sent from one place to another; it waits where the way is cut. Returns when it is to arrive.
    pub(crate) fn send(
        &self,
        (from, to): (Place, Place),
        not_before: Duration,
        happening: impl FnOnce(&Hub) + Send + 'static,
    ) -> Duration {
        let mut state = self.lock();
        let at = (state.now() + state.delay(from, to)).max(not_before);
        state.put(at, (from, to), Box::new(happening));
        at
    }

    /// Everything that is due by now.
    pub(crate) fn happen(&self, now: Duration) {
        self.lock().tick = now;
        loop {
            let (way, happening) = {
                let mut state = self.lock();
                let Some(entry) = state.queue.first_entry().filter(|entry| entry.key().0 <= now) else {
                    return;
                };
                let (from, to, happening) = entry.remove();
                ((from, to), happening)
            };
            let mut state = self.lock();
            if state.cut.contains(&way) {
                state.held.entry(way).or_default().push(happening);
                continue;
            }
            drop(state);
            happening(self);
        }
    }

    pub(crate) fn run(&self, world: Duration, local: Instant, rate: u32) {
        self.lock().running = Some(Running { world, local, rate });
    }

    pub(crate) fn rest(&self) {
        self.lock().running = None;
    }

    /// Nothing gets from one place to another any more.
    pub(crate) fn cut(&self, from: Place, to: Place) {
        self.say(format_args!("cut {from:?} to {to:?}"));
        self.lock().cut.insert((from, to));
    }

    /// What was held up arrives, in its order.
    pub(crate) fn heal(&self, from: Place, to: Place) {
        let held = {
            let mut state = self.lock();
            if !state.cut.remove(&(from, to)) {
                return;
            }
            state.held.remove(&(from, to)).unwrap_or_default()
        };
        self.say(format_args!("heal {from:?} to {to:?}, {} held up", held.len()));
        held.into_iter().for_each(|happening| happening(self));
    }

    /// All ways that are cut.
    pub(crate) fn cuts(&self) -> Vec<(Place, Place)> {
        self.lock().cut.iter().copied().collect()
    }
}

impl State {
    pub(crate) fn is_cut(&self, from: Place, to: Place) -> bool {
        self.cut.contains(&(from, to))
    }

    pub(crate) fn now(&self) -> Duration {
        let Some(Running { world, local, rate }) = self.running else { return self.tick };
        let since = Instant::now().saturating_duration_since(local);
        world + since.mul_f64(1e6 / f64::from(rate))
    }

    pub(crate) fn say(&mut self, at: Duration, what: std::fmt::Arguments<'_>) {
        let begun = self.trace.lines.len();
        // Writing to a string cannot fail.
        let _ = writeln!(self.trace.lines, "{at:>12?} {what}");
        for byte in self.trace.lines[begun..].bytes() {
            self.trace.sum = (self.trace.sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        if !self.trace.kept {
            self.trace.lines.clear();
        }
    }

    fn put(&mut self, at: Duration, (from, to): (Place, Place), happening: Happening) {
        self.number += 1;
        self.queue.insert((at, self.number), (from, to, happening));
    }

    fn delay(&mut self, from: Place, to: Place) -> Duration {
        let shortest = Duration::from_micros(50);
        if from == to {
            return shortest;
        }
        let most = if self.dice.one_in(50) { self.latency * 20 } else { self.latency };
        self.dice.within(shortest, most)
    }
}

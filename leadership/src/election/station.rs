//! The one task that owns a seat: it reads the keyspace, the lines and the clock into it, and does what it says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::io::{Input, Output, Warrant};
use super::line::Incoming;
use super::lines::{Change, Lines};
use super::places::Places;
use super::records::Election;
use super::register::Register;
use super::seat::Seat;
use super::sight::Sighting;
use crate::{Clock, Leadership, OfficeError};

/// Who wakes so much later than it wanted to has been stopped: what waits on the lines is taken in first.
const OVERSLEPT: Duration = Duration::from_millis(50);
/// How long what waits may take to come in.
const SETTLE: Duration = Duration::from_millis(20);

/// What is asked of a station.
pub(super) enum Command {
    Claiming(oneshot::Sender<Option<Warrant>>),
    Claimed { term: u64, asked_at: Duration, old_until: oneshot::Sender<Option<Duration>> },
    NotClaimed,
    Confirm { term: u64, asked_at: Duration, answer: oneshot::Sender<Result<Duration, OfficeError>> },
    Resign { until: Duration, done: oneshot::Sender<()> },
    Farewell { term: u64 },
    Bequeath { term: u64, successor: Option<String> },
    Line(Incoming),
}

/// What a station knows beside who leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Aside {
    /// The last claim followed one whose holder had named this replica.
    pub(super) named: bool,
    /// Whom a line joins with this replica.
    pub(super) joined: BTreeSet<String>,
    /// The newest term that is known, by a record or by its leader's word.
    pub(super) newest: u64,
    /// The leader that was last promised something: its term and its process.
    pub(super) heard: Option<(u64, String)>,
}

pub(super) struct Station {
    pub(super) seat: Seat,
    pub(super) lines: Lines,
    pub(super) register: Register,
    pub(super) clock: Clock,
    pub(super) said: watch::Sender<Leadership>,
    /// The election as it was seen last.
    pub(super) known: watch::Sender<Arc<Election>>,
    pub(super) term: watch::Sender<u64>,
    pub(super) aside: watch::Sender<Aside>,
    pub(super) warrant: Option<oneshot::Sender<Option<Warrant>>>,
    pub(super) confirm: Option<oneshot::Sender<Result<Duration, OfficeError>>>,
    pub(super) writes: JoinSet<Input>,
}

impl Station {
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut sight: watch::Receiver<Option<Sighting>>,
        mut places: Option<watch::Receiver<Places>>,
    ) {
        if let Some(places) = &mut places {
            places.mark_changed();
        }
        loop {
            let wake_at = self.seat.wake_at();
            let pause = wake_at.map(|at| at.saturating_sub((self.clock)()));
            tokio::select! {
                biased;
                change = self.lines.next() => self.changed(change),
                command = commands.recv() => match command {
                    Some(command) => self.commanded(command),
                    None => return,
                },
                Some(done) = self.writes.join_next(), if !self.writes.is_empty() => match done {
                    Ok(input) => self.step(input),
                    Err(broken) => tracing::error!(%broken, "a write of the election broke down"),
                },
                changed = sight.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.sighted(sight.borrow_and_update().clone());
                }
                Some(places) = moved(&mut places) => self.step(Input::Placed(places)),
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {
                    if wake_at.is_some_and(|at| (self.clock)() > at + OVERSLEPT) {
                        tokio::time::sleep(SETTLE).await;
                    }
                    while let Some(change) = self.lines.ready() {
                        self.changed(change);
                    }
                    self.step(Input::Tick);
                }
            }
        }
    }

    fn changed(&mut self, change: Change) {
        if let Change::Linked(peer) = &change
            && self.seat.is_namesake(peer)
        {
            tracing::warn!(
                name = self.seat.name,
                "another replica that lives has the same name: give each its own --name"
            );
        }
        self.step(Input::Line(change));
    }

    fn commanded(&mut self, command: Command) {
        match command {
            Command::Claiming(answer) => {
                self.warrant = Some(answer);
                self.step(Input::Claiming);
            }
            Command::Claimed { term, asked_at, old_until } => {
                let until = self.seat.claimed_old_until();
                self.step(Input::Claimed { term, asked_at });
                // The asker may have been given up on.
                let _ = old_until.send(until);
            }
            Command::NotClaimed => self.step(Input::NotClaimed),
            Command::Confirm { term, asked_at, answer } => {
                self.confirm = Some(answer);
                self.step(Input::Confirm { term, asked_at });
            }
            Command::Resign { until, done } => {
                self.step(Input::Resign { until });
                let _ = done.send(());
            }
            Command::Farewell { term } => self.step(Input::Farewell { term }),
            Command::Bequeath { term, successor } => self.step(Input::Bequeath { term, successor }),
            Command::Line(line) => {
                let called = self.lines.take(line);
                self.changed(called);
            }
        }
    }

    fn sighted(&mut self, sighting: Option<Sighting>) {
        match sighting {
            Some(Sighting::Seen { .. }) if self.register.went_back().is_some() => {}
            Some(Sighting::Seen { election, .. }) => {
                for peer in self.lines.keep(&election.replicas) {
                    self.step(Input::Line(Change::Unlinked(peer)));
                }
                let term = election.term();
                self.term.send_if_modified(|known| std::mem::replace(known, term) != term);
                self.known.send_replace(Arc::clone(&election));
                self.step(Input::Observed(Arc::unwrap_or_clone(election)));
            }
            Some(Sighting::Blind(why)) => self.step(Input::Blind(why)),
            None => {}
        }
    }

    fn step(&mut self, input: Input) {
        let now = (self.clock)();
        // Before anything else is decided by what such a keyspace says.
        let gone_back = self.register.went_back().filter(|_| self.seat.sees());
        let first = gone_back.map_or_else(Vec::new, |why| self.seat.step(now, Input::Blind(why)));
        for output in first {
            self.perform(now, output);
        }
        for output in self.seat.step(now, input) {
            self.perform(now, output);
        }
        let (named, newest) = (self.seat.named, self.seat.voter.newest());
        let (joined, heard) = (&self.seat.lines, self.seat.voter.heard());
        self.aside.send_if_modified(|aside| {
            let same = aside.named == named && aside.newest == newest;
            let news = !(same && aside.joined == *joined && aside.heard.as_ref() == heard);
            if news {
                *aside = Aside { named, newest, joined: joined.clone(), heard: heard.cloned() };
            }
            news
        });
    }

    fn perform(&mut self, sent: Duration, output: Output) {
        let register = self.register.clone();
        match output {
            Output::Say(seen) => {
                seen.log_check("the election");
                self.said.send_replace(seen);
            }
            Output::Ask { to, request } => self.lines.ask(&to, request),
            Output::Reply { to, answer } => self.lines.reply(&to, answer),
            Output::Warrant(warrant) => {
                let unheard = self.warrant.take().and_then(|answer| answer.send(warrant).err());
                if let Some(Some(_)) = unheard {
                    self.step(Input::NotClaimed);
                }
            }
            Output::Confirmed(result) => {
                if let Some(answer) = self.confirm.take() {
                    let _ = answer.send(result);
                }
            }
            Output::Record { term, electorate, members, settles } => {
                tracing::debug!(term, ?members, "the electorate changes");
                self.writes.spawn(async move {
                    let outcome = register.record(term, electorate, &members, settles).await;
                    Input::Recorded { term, sent, members, outcome }
                });
            }
            Output::Beat { term, authority } => {
                tracing::debug!(term, "too few promises: a heartbeat is written");
                self.writes.spawn(async move {
                    let outcome = register.beat(term, authority).await;
                    Input::Beaten { term, sent, authority, outcome }
                });
            }
            Output::Prove { term } => {
                self.writes.spawn(async move {
                    let outcome = register.prove(term).await;
                    Input::Proven { term, sent, outcome }
                });
            }
        }
    }
}

/// The next change of where replicas stand. Never ends where that does not matter, or is told no more.
async fn moved(places: &mut Option<watch::Receiver<Places>>) -> Option<Places> {
    let Some(told) = places else { return std::future::pending().await };
    match told.changed().await {
        Ok(()) => Some(told.borrow_and_update().clone()),
        Err(_) => std::future::pending().await,
    }
}

/// For a detector: a station's ends.
pub(super) struct Ends {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) said: watch::Receiver<Leadership>,
    pub(super) sight: watch::Receiver<Option<Sighting>>,
    pub(super) known: watch::Receiver<Arc<Election>>,
    pub(super) term: watch::Receiver<u64>,
    pub(super) aside: watch::Receiver<Aside>,
    pub(super) tasks: JoinSet<()>,
}

/// Everything that a station is made of.
pub(super) struct Parts {
    pub(super) seat: Seat,
    pub(super) lines: Lines,
    pub(super) register: Register,
    pub(super) clock: Clock,
    pub(super) replica: om_kv::layout::ReplicaRecord,
    pub(super) lease_ttl: Duration,
    pub(super) places: Option<watch::Receiver<Places>>,
}

/// Starts a station, and what it sees by. To be called within a runtime.
pub(super) fn start(parts: Parts) -> Ends {
    let Parts { seat, lines, register, clock, replica, lease_ttl, places } = parts;
    let (commands, orders) = mpsc::channel(64);
    let (said, reader) = watch::channel(Leadership::not_looked());
    let (known, last_seen) = watch::channel(Arc::default());
    let (term, newest) = watch::channel(0);
    let (aside, known_aside) = watch::channel(Aside::default());
    let (seen, sight) = watch::channel(None);
    let seen_by_all = sight.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(super::sight::see(register.clone(), seen));
    tasks.spawn(super::sight::be_seen(register.clone(), replica, lease_ttl, places.clone(), sight.clone()));
    let station = Station {
        seat,
        lines,
        register,
        clock: Arc::clone(&clock),
        said,
        known,
        term,
        aside,
        warrant: None,
        confirm: None,
        writes: JoinSet::new(),
    };
    tasks.spawn(station.run(orders, sight, places));
    Ends {
        commands,
        said: reader,
        sight: seen_by_all,
        known: last_seen,
        term: newest,
        aside: known_aside,
        tasks,
    }
}

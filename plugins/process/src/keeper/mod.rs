//! Looks after one service: sees what happens, asks the [plan](crate::plan) what to do, does it.
//!
//! Everything under way is a future inside this one value, so that dropping it ends all of it at once: a gate not let
//! through ends, a health check is killed, a stop is left to whoever looks after the service next, for it was
//! remembered before it began. Members themselves go on.
//!
//! The order that must hold for a start: process made as a gate, remembered, permitted, let through. For a stop:
//! remembered, permitted, signalled; and only when nothing of the member is left may it be started again.

mod acting;
mod events;
pub(crate) mod live;
pub(crate) mod outlook;
mod taking;

pub(crate) use taking::end_all;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use om_api::clock;
use om_plugin_sdk::{Declared, Failed, Report, Service};
use rustix::process::Signal;
use tokio::sync::{mpsc, oneshot, watch};

use self::live::{Doing, Live};
use self::outlook::{Facts, Progress};
use crate::group::{Manner, Target};
use crate::ports::Claim;
use crate::procfs;
use crate::shared::Shared;
use crate::spec::{self, Spec};
use crate::state::{Record, State};
use crate::template::Template;

/// Between two looks at the sizes of the logs.
const LOGS_EVERY: Duration = Duration::from_secs(5);

/// What an action asks of whoever looks after the service.
#[derive(Debug)]
pub(crate) enum Command {
    /// Replace a member, or all of them, as in an update.
    Restart(Option<u32>, oneshot::Sender<Result<(), Failed>>),
    /// Send a signal to a member, or all of them.
    Signal(Option<u32>, Signal, oneshot::Sender<Result<(), Failed>>),
}

enum Event {
    /// The member's process ended.
    Ended(u32, String),
    /// Nothing of the member is left.
    Gone(u32, String, Result<(), Failed>),
    /// The command was executed, or could not be.
    Executed(u32, String, Result<(), String>),
    /// A look at its health, made under this number of the health's settings.
    Looked(u32, String, u64, Result<(), String>),
    /// The logs were looked at.
    Rotated,
}

type Happening = Pin<Box<dyn Future<Output = Event> + Send>>;

pub(crate) struct Keeper {
    service: Service,
    shared: Arc<Shared>,
    claim: Claim,
    spec: Spec,
    template: Template,
    hash: String,
    revision: u64,
    state: State,
    live: BTreeMap<u32, Live>,
    happening: FuturesUnordered<Happening>,
    /// The logs are being looked at: once at a time.
    rotating: bool,
    progress: watch::Sender<Progress>,
    reported: Option<(u64, Report)>,
}

/// Looks after a service until dropped.
pub(crate) async fn look_after(service: Service, shared: Arc<Shared>) -> Result<(), Failed> {
    let mut declared = service.declared();
    let now = declared.borrow_and_update().clone();
    let boot = procfs::boot()?;
    let fresh = || State::new(service.name(), service.host(), &boot);
    let mut state = State::read(&service.state())?.unwrap_or_else(fresh);
    if state.host != service.host() {
        if !state.members.is_empty() {
            return taking::elsewhere(&service, &state, declared).await;
        }
        state = fresh();
    }
    if state.boot != boot {
        // Of a former boot nothing runs, and its pids mean others now.
        state.boot = boot;
        for record in state.members.values_mut() {
            (record.pid, record.start) = (0, 0);
        }
    }
    let (asking, mut asked) = mpsc::channel(8);
    let (progress, watching) = watch::channel(Progress::default());
    let _desk = shared.desks.open(service.name(), asking, watching);
    let mut keeper = Keeper::new(service, shared, state, &now, progress)?;
    keeper.adopt().await?;
    let mut rotated = clock::since_boot();
    let mut until = Duration::ZERO;
    let mut due = true;
    loop {
        if due || clock::since_boot() >= until {
            while keeper.advance().await? {
                keeper.tell();
            }
            keeper.tell();
            until = keeper.next_change();
        }
        due = true;
        tokio::select! {
            changed = declared.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let now = declared.borrow_and_update().clone();
                keeper.redeclare(&now)?;
            }
            Some(command) = asked.recv() => keeper.command(command).await?,
            // Looks that changed nothing need no plan; there may be a thousand of them a second.
            Some(event) = keeper.happening.next() => due = keeper.on(event)?,
            () = tokio::time::sleep(until.saturating_sub(clock::since_boot())) => {}
        }
        if clock::since_boot() >= rotated + LOGS_EVERY {
            rotated = clock::since_boot();
            keeper.rotate();
        }
    }
}

fn target(record: &Record) -> Target {
    Target { pid: record.pid, start: record.start, run: record.run.clone() }
}

fn manner(spec: &Spec) -> Manner {
    Manner { signal: spec.stop.signal(), timeout: spec.stop.timeout.0 }
}

fn read(declared: &Declared) -> Result<Spec, Failed> {
    spec::read(&declared.name, &declared.spec)
        .map_err(|why| Failed(format!("{}: {}", why.field, why.message)))
}

impl Keeper {
    fn new(
        service: Service,
        shared: Arc<Shared>,
        state: State,
        declared: &Declared,
        progress: watch::Sender<Progress>,
    ) -> Result<Self, Failed> {
        let spec = read(declared)?;
        let template = spec.template();
        Ok(Self {
            claim: shared.ports.claim(service.name(), spec.ports()),
            hash: template.hash(),
            revision: declared.revision,
            service,
            shared,
            spec,
            template,
            state,
            live: BTreeMap::new(),
            happening: FuturesUnordered::new(),
            rotating: false,
            progress,
            reported: None,
        })
    }

    fn redeclare(&mut self, declared: &Declared) -> Result<(), Failed> {
        let spec = read(declared)?;
        self.revision = declared.revision;
        self.template = spec.template();
        self.hash = self.template.hash();
        self.claim.change(spec.ports());
        self.spec = spec;
        if self.state.members.values().any(|record| record.spec == self.hash) {
            self.state.keep(&self.hash, &self.template);
        }
        for live in self.live.values_mut() {
            live.waiting = None;
            if let Doing::Down(until) = live.doing {
                // A new declaration deserves a try at once.
                live.doing = Doing::Down(until.min(clock::since_boot()));
            }
        }
        let up: Vec<u32> = self.up().collect();
        for index in up {
            let health = self.template_of(index).health.clone();
            if self.live.get_mut(&index).is_some_and(|live| live.check_by(health)) {
                self.look(index, Duration::ZERO);
            }
        }
        Ok(())
    }

    /// What a member was started with, as far as that is known.
    fn template_of(&self, index: u32) -> &Template {
        let former = self.state.members.get(&index).filter(|record| record.spec != self.hash);
        former.and_then(|record| self.state.template(&record.spec)).unwrap_or(&self.template)
    }

    fn up(&self) -> impl Iterator<Item = u32> {
        self.live.iter().filter(|(_, live)| live.doing == Doing::Up).map(|(index, _)| *index)
    }

    fn tell(&mut self) {
        let facts = Facts {
            service: self.service.name(),
            spec: &self.spec,
            hash: &self.hash,
            state: &self.state,
            live: &self.live,
            root: &self.shared.root,
            now: clock::since_boot(),
        };
        let (report, progress) = facts.tell();
        self.progress.send_if_modified(|last| {
            let differs = *last != progress;
            *last = progress;
            differs
        });
        if self.reported.as_ref().is_none_or(|(revision, last)| *revision != self.revision || *last != report)
        {
            self.service.report_at(self.revision, report.clone());
            self.reported = Some((self.revision, report));
        }
    }

    /// Since boot: when something changes just because time passes.
    fn next_change(&self) -> Duration {
        let now = clock::since_boot();
        let next = self.live.values().filter_map(|live| live.next_change(&self.spec, now)).min();
        next.map_or(now + LOGS_EVERY, |at| at.clamp(now + Duration::from_millis(1), now + LOGS_EVERY))
    }
}

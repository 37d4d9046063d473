//! Looks after one service: sees what happens, asks the [plan](crate::plan) what to do, does it.
//!
//! Everything under way is a future inside this one value, so that dropping it ends all of it at once: a gate not let
//! through ends, a health check is killed, a stop is left to whoever looks after the service next, for it was
//! remembered before it began. Members themselves go on.
//!
//! The order that must hold for a start: process made as a gate, remembered, permitted, let through. For a stop:
//! remembered, permitted, signalled; and only when nothing of the member is left may it be started again.

pub(crate) mod live;
pub(crate) mod outlook;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use om_api::clock;
use om_plugin_sdk::{Declared, Failed, Report, Service};
use rustix::process::Signal;
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, info, warn};

use self::live::{Doing, Live};
use self::outlook::{Facts, Progress};
use crate::group::{self, Manner, Target};
use crate::member::{self, Gate, Process};
use crate::plan::{self, Step, Wanted};
use crate::ports::Claim;
use crate::shared::Shared;
use crate::spec::{self, Spec, Template};
use crate::state::{Record, State};
use crate::{health, logs, procfs};

/// So many processes are made at a time; between two lots other things get their turn.
const LOT: usize = 32;
/// Between two looks at the sizes of the logs.
const LOGS_EVERY: Duration = Duration::from_secs(5);
/// Looks at a member that is about to work come at least this often.
const EAGER: Duration = Duration::from_millis(250);

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
    Gone(u32, String, Result<Option<ExitStatus>, Failed>),
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
    /// Number of the health's settings: looks made under other ones do not count.
    looks: u64,
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
            return elsewhere(&service, &state, declared).await;
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
    loop {
        while keeper.advance().await? {
            keeper.tell();
        }
        keeper.tell();
        let pause = keeper.pause();
        tokio::select! {
            changed = declared.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let now = declared.borrow_and_update().clone();
                keeper.redeclare(&now)?;
            }
            Some(command) = asked.recv() => keeper.command(command).await?,
            Some(event) = keeper.happening.next() => {
                let mut next = Some(event);
                let mut matters = false;
                // Looks that changed nothing need no plan; there may be a thousand of them a second.
                while let Some(event) = next {
                    matters = keeper.on(event)?;
                    if matters {
                        break;
                    }
                    next = futures_util::FutureExt::now_or_never(keeper.happening.next()).flatten();
                }
                if !matters {
                    continue;
                }
            }
            () = tokio::time::sleep(pause) => {}
        }
        if clock::since_boot() >= rotated + LOGS_EVERY {
            rotated = clock::since_boot();
            keeper.rotate();
        }
    }
}

/// The members belong to another host, which cannot be reached from here: say so, and start nothing.
async fn elsewhere(
    service: &Service,
    state: &State,
    mut declared: watch::Receiver<Arc<Declared>>,
) -> Result<(), Failed> {
    loop {
        let revision = declared.borrow_and_update().revision;
        service.report_at(revision, outlook::elsewhere(service.name(), state));
        if declared.changed().await.is_err() {
            return Ok(());
        }
    }
}

fn target(record: &Record) -> Target {
    Target { pid: record.pid, start: record.start, run: record.run.clone() }
}

fn manner(spec: &Spec) -> Manner {
    Manner { signal: spec.stop.signal(), timeout: spec.stop.timeout.0 }
}

fn rejected(declared: &Declared) -> Result<Spec, Failed> {
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
        let spec = rejected(declared)?;
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
            looks: 0,
            progress,
            reported: None,
        })
    }

    fn redeclare(&mut self, declared: &Declared) -> Result<(), Failed> {
        let spec = rejected(declared)?;
        self.revision = declared.revision;
        self.template = spec.template();
        self.hash = self.template.hash();
        self.claim.change(spec.ports());
        let looks_differ = self.spec.health != spec.health;
        self.spec = spec;
        for live in self.live.values_mut() {
            live.waiting = None;
            if let Doing::Down(until) = live.doing {
                // A new declaration deserves a new try.
                live.failures = 0;
                live.doing = Doing::Down(until.min(clock::since_boot()));
            }
        }
        if looks_differ {
            self.looks += 1;
            let up: Vec<u32> = self.up().collect();
            for index in up {
                if let Some(live) = self.live.get_mut(&index) {
                    (live.healthy, live.bad, live.adopted) = (None, 0, true);
                }
                self.look(index, Duration::ZERO);
            }
        }
        Ok(())
    }

    fn up(&self) -> impl Iterator<Item = u32> {
        self.live.iter().filter(|(_, live)| live.doing == Doing::Up).map(|(index, _)| *index)
    }

    /// Takes over what runs; what does not run any more, and what was being stopped, is seen to.
    async fn adopt(&mut self) -> Result<(), Failed> {
        let now = clock::since_boot();
        let records: Vec<(u32, Record)> =
            self.state.members.iter().map(|(index, record)| (*index, record.clone())).collect();
        for (index, record) in records {
            let mut live = Live {
                restarts: record.restarts,
                failures: record.failures,
                adopted: true,
                ..Live::down(now)
            };
            let permit = || self.service.permit().map(drop).map_err(Failed::from);
            let process = member::adopt(&target(&record), &permit).await?;
            let runs = process.is_some();
            if let Some(Process { handle, child }) = process {
                live.doing = Doing::Up;
                live.began = now.saturating_sub(procfs::age(record.start, now));
                (live.handle, live.child) = (Some(Arc::new(handle)), child);
            }
            self.live.insert(index, live);
            if record.stopping {
                self.finish(index, Doing::Stopping);
            } else if runs {
                info!(service = self.service.name(), member = index, pid = record.pid, "adopted");
                self.watch(index);
                self.look(index, Duration::ZERO);
            } else {
                self.crashed(index, false, "ended while nobody looked after it");
                self.finish(index, Doing::Sweeping);
            }
        }
        Ok(())
    }

    /// Does what is to be done now; whether there was anything.
    async fn advance(&mut self) -> Result<bool, Failed> {
        let now = clock::since_boot();
        for (index, live) in &mut self.live {
            let record = self.state.members.get(index);
            let view = live.view(record, &self.spec, &self.hash, now);
            let proven = matches!(view.stage, plan::Stage::Up { proven: true, .. });
            if proven {
                live.failures = 0;
            }
            live.waiting = if proven || !view.current { None } else { live.waiting.or(Some(now)) };
        }
        let view = |(index, live): (&u32, &Live)| {
            (*index, live.view(self.state.members.get(index), &self.spec, &self.hash, now))
        };
        let views = self.live.iter().map(view).collect();
        let wanted = Wanted { members: self.spec.members, max_unavailable: self.spec.update.max_unavailable };
        let mut steps = plan::next(wanted, &views);
        steps.truncate(LOT);
        if steps.is_empty() {
            return Ok(false);
        }
        self.act(&steps).await?;
        Ok(true)
    }

    async fn act(&mut self, steps: &[Step]) -> Result<(), Failed> {
        let mut gates = Vec::new();
        let mut stops = Vec::new();
        let mut changed = false;
        for step in steps {
            debug!(service = self.service.name(), ?step, "next");
            match *step {
                Step::Start(index) => gates.extend(self.make(index, false).await?),
                Step::Again(index) => gates.extend(self.make(index, true).await?),
                Step::Stop(index) => {
                    if let Some(record) = self.state.members.get_mut(&index) {
                        record.stopping = true;
                    }
                    stops.push(index);
                }
                Step::Forget(index) => {
                    self.live.remove(&index);
                    changed |= self.state.members.remove(&index).is_some();
                }
            }
        }
        if changed || !gates.is_empty() || !stops.is_empty() {
            self.service.save(self.state.write()?).await?;
        }
        for (index, gate) in gates {
            let run = gate.target.run.clone();
            let pid = gate.target.pid;
            self.service.permit()?;
            let (Process { handle, child }, back) = match gate.release().await {
                Ok(released) => released,
                Err(why) => {
                    // The gate was killed meanwhile; its end is handled as that of any member.
                    self.failed(index, format!("could not be let through: {why}"));
                    continue;
                }
            };
            info!(service = self.service.name(), member = index, pid, "started");
            if let Some(live) = self.live.get_mut(&index) {
                live.began = clock::since_boot();
                (live.handle, live.child) = (Some(Arc::new(handle)), child);
            }
            self.watch(index);
            self.look(index, Duration::from_millis(20));
            self.happening
                .push(Box::pin(async move { Event::Executed(index, run, member::executed(back).await) }));
        }
        for index in stops {
            info!(service = self.service.name(), member = index, "stopping");
            self.finish(index, Doing::Stopping);
        }
        Ok(())
    }

    /// Makes a gate for a member and writes it into the state, not yet saved. `None`: it could not be made; the member
    /// is down and says why.
    async fn make(&mut self, index: u32, as_before: bool) -> Result<Option<(u32, Gate)>, Failed> {
        let former = self.state.members.get(&index);
        let kept = former.filter(|_| as_before).and_then(|record| self.state.template(&record.spec));
        let template = kept.unwrap_or(&self.template).clone();
        let hash = template.hash();
        let now = clock::since_boot();
        let before = self.live.remove(&index).unwrap_or_else(|| Live::down(now));
        let (restarts, failures) = (before.restarts, before.failures);
        let waiting = before.waiting;
        self.live.insert(index, Live { why: before.why, restarts, failures, waiting, ..Live::down(now) });
        let made = match template.launch(self.service.name(), index, &self.shared.root) {
            Err((field, why)) => Err(format!("spec.{field}: {why}")),
            Ok(launch) => match launch.port.and_then(|port| self.claim.conflict(port)) {
                Some(why) => Err(why),
                None => {
                    let port = launch.port;
                    // Directories and a process, even one that waits, are effects.
                    self.service.permit()?;
                    let gate =
                        Gate::make(&self.shared.gate, &self.shared.root, self.service.name(), index, launch)
                            .await;
                    gate.map(|gate| (gate, port))
                }
            },
        };
        let (gate, port) = match made {
            Ok(made) => made,
            Err(why) => {
                self.failed(index, why);
                return Ok(None);
            }
        };
        self.state.keep(&hash, &template);
        let Target { pid, start, run } = gate.target.clone();
        let since = clock::wall_unix_ms();
        let restart = as_before && former_restart(&self.state, index);
        let record =
            Record { pid, start, run, spec: hash, port, since, restarts, failures, stopping: false, restart };
        self.state.members.insert(index, record);
        if let Some(live) = self.live.get_mut(&index) {
            live.doing = Doing::Up;
        }
        Ok(Some((index, gate)))
    }

    /// It could not even be started.
    fn failed(&mut self, index: u32, why: String) {
        let restart = self.spec.restart;
        let now = clock::since_boot();
        if let Some(live) = self.live.get_mut(&index) {
            warn!(service = self.service.name(), member = index, why, "cannot be started");
            live.failures = live.failures.saturating_add(1);
            live.never_ran = true;
            live.why = why;
            live.doing = Doing::Down(now + live::back_off(restart, live.failures));
        }
    }

    fn crashed(&mut self, index: u32, seen: bool, why: &str) {
        let now = clock::since_boot();
        if let Some(live) = self.live.get_mut(&index) {
            // One that was not seen to end may have run for as long as one likes, or fallen with its host.
            let ran = if seen { live.ran(now) } else { Duration::ZERO };
            live.crashed(ran, self.spec.restart);
            live.why = why.to_owned();
        }
    }

    /// Waits for its end.
    fn watch(&mut self, index: u32) {
        let handle = self.live.get(&index).and_then(|live| live.handle.clone());
        if let (Some(handle), Some(record)) = (handle, self.state.members.get(&index)) {
            let run = record.run.clone();
            self.happening.push(Box::pin(async move {
                handle.ended().await;
                Event::Ended(index, run)
            }));
        }
    }

    /// Looks at its health after a while, if there is a way to.
    fn look(&mut self, index: u32, wait: Duration) {
        let Some(record) = self.state.members.get(&index) else { return };
        let template = self.state.template(&record.spec).unwrap_or(&self.template);
        let probe = self.spec.probe(template, self.service.name(), index, &self.shared.root);
        let (Ok(Some(probe)), Some(health)) = (probe, &self.spec.health) else { return };
        let (run, looks, timeout) = (record.run.clone(), self.looks, health.timeout.0);
        self.happening.push(Box::pin(async move {
            tokio::time::sleep(wait).await;
            let result = health::look(&probe, timeout, &run).await;
            Event::Looked(index, run, looks, result)
        }));
    }

    /// Ends the member and all that belongs to it, or what it left behind.
    fn finish(&mut self, index: u32, doing: Doing) {
        let (Some(live), Some(record)) = (self.live.get_mut(&index), self.state.members.get(&index)) else {
            return;
        };
        live.doing = doing;
        live.handle = None;
        let child: Option<Child> = live.child.take();
        let (service, shared) = (self.service.clone(), self.shared.clone());
        let (target, manner) = (target(record), manner(&self.spec));
        self.happening.push(Box::pin(async move {
            let permit = || service.permit().map(drop).map_err(Failed::from);
            let ended = group::end(&shared.scanner, &target, manner, &permit).await;
            // Only now is the child waited for: until then its pid, and with it its session's number, stays taken.
            let status = match (ended, child) {
                (Err(why), _) => Err(why),
                (Ok(()), None) => Ok(None),
                (Ok(()), Some(mut child)) => child.wait().await.map(Some).map_err(Failed::from),
            };
            Event::Gone(index, target.run, status)
        }));
    }

    /// Takes in what happened; whether it may change what is to be done.
    fn on(&mut self, event: Event) -> Result<bool, Failed> {
        let (Event::Ended(index, ref run)
        | Event::Gone(index, ref run, _)
        | Event::Executed(index, ref run, _)
        | Event::Looked(index, ref run, ..)) = event
        else {
            return Ok(false);
        };
        // What is said of a process that is no longer the member does not matter.
        if self.state.members.get(&index).is_none_or(|record| record.run != *run) {
            return Ok(false);
        }
        let Some(live) = self.live.get_mut(&index) else { return Ok(false) };
        let (doing, now) = (live.doing, clock::since_boot());
        match event {
            Event::Ended(..) if doing == Doing::Up => {
                self.crashed(index, true, "ended");
                self.finish(index, Doing::Sweeping);
            }
            Event::Gone(_, _, status) => {
                let status = status?;
                if doing == Doing::Stopping {
                    live.doing = Doing::Stopped;
                } else {
                    let taken = self
                        .state
                        .members
                        .get(&index)
                        .and_then(|record| record.port)
                        .filter(|port| in_use(*port));
                    if let Some(status) = status.filter(|_| !live.never_ran) {
                        live.why = member::ending(status);
                        if let Some(port) = taken {
                            live.why = format!("{}; another program listens on its port {port}", live.why);
                        }
                    }
                    let wait = live::back_off(self.spec.restart, live.failures);
                    warn!(
                        service = self.service.name(),
                        member = index,
                        why = live.why,
                        ?wait,
                        "starts again"
                    );
                    live.doing = Doing::Down(now + wait);
                }
            }
            Event::Executed(_, _, Err(why)) => {
                live.never_ran = true;
                live.why = why;
            }
            Event::Looked(_, _, looks, result) if looks == self.looks && doing == Doing::Up => {
                let Some(health) = &self.spec.health else { return Ok(false) };
                let matters = live.looked(result, health.failures);
                let interval = health.interval.0;
                let wait = if live.healthy.is_none() { interval.min(EAGER) } else { interval };
                self.look(index, wait);
                return Ok(matters);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    async fn command(&mut self, command: Command) -> Result<(), Failed> {
        match command {
            Command::Restart(which, done) => {
                let chosen =
                    self.up().filter(|index| which.is_none_or(|which| which == *index)).collect::<Vec<_>>();
                for index in &chosen {
                    if let Some(record) = self.state.members.get_mut(index) {
                        record.restart = true;
                    }
                }
                let result = match which {
                    Some(index) if chosen.is_empty() => {
                        Err(Failed(format!("{} does not run", spec::member_name(self.service.name(), index))))
                    }
                    _ => self.service.save(self.state.write()?).await,
                };
                self.tell();
                let _ = done.send(result);
            }
            Command::Signal(which, signal, done) => {
                let mut result = Ok(());
                let chosen =
                    self.up().filter(|index| which.is_none_or(|which| which == *index)).collect::<Vec<_>>();
                if chosen.is_empty() {
                    result = Err(Failed("no such member runs".to_owned()));
                }
                for index in chosen {
                    self.service.permit()?;
                    if let Some(handle) = self.live.get(&index).and_then(|live| live.handle.as_ref()) {
                        result = result.and(handle.signal(signal).map_err(Failed::from));
                    }
                }
                let _ = done.send(result);
            }
        }
        Ok(())
    }

    /// Looks at the sizes of the logs, beside everything else.
    fn rotate(&mut self) {
        let (service, shared) = (self.service.clone(), self.shared.clone());
        let indexes: Vec<u32> = self.live.keys().copied().collect();
        self.happening.push(Box::pin(async move {
            for index in indexes {
                let home = spec::member_dir(&shared.root, service.name(), index);
                let permit = || service.permit().map(drop).map_err(Failed::from);
                if let Err(why) = logs::rotate(&home, shared.logs, &permit).await {
                    warn!(service = service.name(), member = index, %why, "its log cannot be rotated");
                }
            }
            Event::Rotated
        }));
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

    /// Until something changes just because time passes.
    fn pause(&self) -> Duration {
        let now = clock::since_boot();
        let next = self.live.values().filter_map(|live| live.next_change(&self.spec, now)).min();
        next.map_or(LOGS_EVERY, |at| at.saturating_sub(now).clamp(Duration::from_millis(1), LOGS_EVERY))
    }
}

fn former_restart(state: &State, index: u32) -> bool {
    state.members.get(&index).is_some_and(|record| record.restart)
}

/// Whether somebody listens on this port. Asked only to explain the end of a member.
fn in_use(port: u16) -> bool {
    std::net::TcpListener::bind(("0.0.0.0", port))
        .is_err_and(|cause| cause.kind() == std::io::ErrorKind::AddrInUse)
}

/// Ends all members of a service, for good. Idempotent.
pub(crate) async fn end_all(service: &Service, shared: &Shared) -> Result<(), Failed> {
    let Some(state) = State::read(&service.state())? else { return Ok(()) };
    if state.members.is_empty() {
        return Ok(());
    }
    if state.host != service.host() {
        return Err(Failed(format!(
            "its members belong to the host {}, which is not this one ({})",
            state.host,
            service.host()
        )));
    }
    if state.boot != procfs::boot()? {
        return Ok(());
    }
    let declared = service.declared().borrow().clone();
    let manner = rejected(&declared).map_or_else(|_| manner_by_default(), |spec| manner(&spec));
    let permit = || service.permit().map(drop).map_err(Failed::from);
    let mut ends: FuturesUnordered<_> = state
        .members
        .values()
        .map(|record| async {
            let target = target(record);
            // A gate that some stopped program may yet let through ends like any process.
            group::end(&shared.scanner, &target, manner, &permit).await
        })
        .collect();
    while let Some(ended) = ends.next().await {
        ended?;
    }
    Ok(())
}

fn manner_by_default() -> Manner {
    let stop = spec::Stop::default();
    Manner { signal: stop.signal(), timeout: stop.timeout.0 }
}

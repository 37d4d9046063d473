//! Doing what the plan says.

use std::sync::Arc;
use std::time::Duration;

use om_api::clock;
use om_plugin_sdk::Failed;
use tokio::process::Child;
use tracing::{debug, info, warn};

use super::live::{self, Doing, Live};
use super::{Event, Keeper, manner, target};
use crate::group::{self, Target};
use crate::member::{self, Gate, Process};
use crate::plan::{self, Step, Wanted};
use crate::state::{Record, State};
use crate::{health, logs, spec};

/// So many processes are made at a time; between two lots other things get their turn.
const LOT: usize = 32;

impl Keeper {
    /// Does what is to be done now; whether there was anything.
    pub(super) async fn advance(&mut self) -> Result<bool, Failed> {
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

    pub(super) async fn act(&mut self, steps: &[Step]) -> Result<(), Failed> {
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
            let health = self.template_of(index).health.clone();
            if let Some(live) = self.live.get_mut(&index) {
                live.health = health;
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
    pub(super) async fn make(&mut self, index: u32, as_before: bool) -> Result<Option<(u32, Gate)>, Failed> {
        let former = self.state.members.get(&index);
        let kept = former.filter(|_| as_before).and_then(|record| self.state.template(&record.spec));
        let template = kept.unwrap_or(&self.template).clone();
        let hash = template.hash();
        let now = clock::since_boot();
        let before = self.live.remove(&index).unwrap_or_else(|| Live::down(now));
        let renewed = former.is_some_and(|record| record.spec != hash);
        // What the former spec did is not held against a new one.
        let (restarts, failures) = (before.restarts, if renewed { 0 } else { before.failures });
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
    pub(super) fn failed(&mut self, index: u32, why: String) {
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

    /// Waits for its end.
    pub(super) fn watch(&mut self, index: u32) {
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
    pub(super) fn look(&mut self, index: u32, wait: Duration) {
        let (Some(record), Some(live)) = (self.state.members.get(&index), self.live.get(&index)) else {
            return;
        };
        let probe = self.template_of(index).probe(self.service.name(), index, &self.shared.root);
        let (Ok(Some(probe)), Some(health)) = (probe, &live.health) else { return };
        let (run, looks, timeout) = (record.run.clone(), live.looks, health.timeout.0);
        self.happening.push(Box::pin(async move {
            tokio::time::sleep(wait).await;
            let result = health::look(&probe, timeout, &run).await;
            Event::Looked(index, run, looks, result)
        }));
    }

    /// Ends the member and all that belongs to it, or what it left behind.
    pub(super) fn finish(&mut self, index: u32, doing: Doing) {
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
            if let (Ok(()), Some(mut child)) = (&ended, child) {
                let _ = child.wait().await;
            }
            Event::Gone(index, target.run, ended)
        }));
    }

    /// Looks at the sizes of the logs, beside everything else.
    pub(super) fn rotate(&mut self) {
        if std::mem::replace(&mut self.rotating, true) {
            return;
        }
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
}

fn former_restart(state: &State, index: u32) -> bool {
    state.members.get(&index).is_some_and(|record| record.restart)
}

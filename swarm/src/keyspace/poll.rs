//! The one task of a handle that looks at the Swarm by itself: for watches, for leases, for what is to be swept.
//!
//! The engine tells of config objects that change, on every manager as soon as it has heard of it, but not of labels of
//! the Swarm. So whoever writes rings the **bell** afterwards: a label of a config object, set at most once in some 20 ms.
//! It is only a hint: a poll finds what a bell did not tell.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::core::{Core, Effort, Failed};
use super::lease::Observed;
use super::names::REVISION;
use crate::engine::{Events, Trouble};

/// Bells are at least so far apart.
const BELLS: Duration = Duration::from_millis(20);
/// After a look in vain, and between two for leases that have run out.
const AGAIN: Duration = Duration::from_millis(100);

pub(super) async fn poll(core: Arc<Core>) {
    let mut poll = Poll {
        core: Arc::clone(&core),
        events: None,
        observed: Observed::default(),
        chores: JoinSet::new(),
        bell: JoinSet::new(),
        told: String::new(),
    };
    poll.bell.spawn(bell(core));
    poll.run().await;
}

struct Poll {
    core: Arc<Core>,
    events: Option<Events>,
    observed: Observed,
    /// At most one at a time.
    chores: JoinSet<()>,
    bell: JoinSet<()>,
    /// What went wrong last, as it was logged.
    told: String,
}

/// Why to look.
enum Cause {
    Turn,
    Written,
    Bell,
    Lease,
    /// Nothing of ours.
    Nothing,
    NoEvents,
}

impl Poll {
    async fn run(&mut self) {
        let mut turn = Instant::now();
        let mut rested = turn;
        loop {
            // A lease that has run out stays so until that can be seen, and until it is ended.
            let next = self.observed.next().map_or(turn, |lease| turn.min(lease.max(rested)));
            let cause = tokio::select! {
                () = sleep_until(next) => Cause::Turn,
                () = self.core.look.notified() => Cause::Written,
                event = next_event(&mut self.events, &self.core) => event,
            };
            match cause {
                Cause::Turn => {
                    let seen = self.turn().await;
                    let poll = self.core.options.poll;
                    // A Swarm that comes to have a leader tells nobody.
                    turn = Instant::now() + if seen { poll } else { poll.min(AGAIN) };
                    rested = Instant::now() + AGAIN;
                }
                Cause::Written | Cause::Bell => drop(self.look().await),
                Cause::Lease => self.look_at_leases().await,
                Cause::Nothing => {}
                Cause::NoEvents => self.events = None,
            }
        }
    }

    /// Whether the Swarm could be seen.
    async fn turn(&mut self) -> bool {
        if self.events.is_none() {
            let time = self.core.options.attempt;
            self.events = self.core.engine.events(&["config"], time).await.ok();
        }
        if !self.look().await {
            return false;
        }
        self.core.signs.send_modify(|sign| sign.alive += 1);
        self.look_at_leases().await;
        while self.chores.try_join_next().is_some() {}
        if self.chores.is_empty() {
            let core = Arc::clone(&self.core);
            self.chores.spawn(async move { core.sweep().await });
        }
        true
    }

    async fn look(&mut self) -> bool {
        let effort = Effort::new("look at the Swarm", self.core.options.attempt * 10);
        let looked = Box::pin(self.core.read_once(&effort)).await;
        let why = match &looked {
            Ok(_) => String::new(),
            Err(Failed::Again(_, failure)) => failure.to_string(),
            Err(Failed::Over(error)) => error.to_string(),
        };
        if why != self.told {
            if why.is_empty() {
                tracing::info!("the Swarm of {} answers again", self.core.engine);
            } else {
                tracing::warn!(why, "the Swarm cannot be looked at");
            }
            self.told = why;
        }
        looked.is_ok()
    }

    /// Ends leases that ran out, and deletes what lies under leases that are gone.
    async fn look_at_leases(&mut self) {
        // What is known before the leases are listed names none that was granted later.
        let Some(state) = self.core.known().newest().cloned() else { return };
        let Ok(leases) = self.core.leases().await else { return };
        let over = self.observed.take(&leases, Instant::now());
        let orphans = state.leases().into_iter().filter(|id| !leases.iter().any(|(other, _)| other == id));
        let orphans: Vec<i64> = orphans.collect();
        while self.chores.try_join_next().is_some() {}
        if !self.chores.is_empty() || (over.is_empty() && orphans.is_empty()) {
            return;
        }
        let core = Arc::clone(&self.core);
        let over: Vec<_> = leases.into_iter().filter(|(id, _)| over.contains(id)).collect();
        self.chores.spawn(async move {
            for (id, config) in over {
                Box::pin(core.end_lease(id, &config)).await;
            }
            for id in orphans {
                if let Err(error) = Box::pin(core.drop_keys(id, core.options.attempt)).await {
                    tracing::debug!(%error, lease = id, "keys of a lease that is gone are still there");
                }
            }
        });
    }
}

/// The next event that may be about ours. Waits for ever where no events come.
async fn next_event(events: &mut Option<Events>, core: &Core) -> Cause {
    let Some(events) = events else { return std::future::pending().await };
    let Some(event) = events.next().await else { return Cause::NoEvents };
    let name = event.name();
    if name == core.names.bell() {
        Cause::Bell
    } else if core.names.lease_of(name).is_some() {
        Cause::Lease
    } else {
        Cause::Nothing
    }
}

/// Rings after what was written.
async fn bell(core: Arc<Core>) {
    loop {
        core.ring.notified().await;
        if let Err(trouble) = ring(&core).await {
            tracing::debug!(%trouble, "the bell was not rung");
        }
        // sleeps: what is written meanwhile is told at once
        sleep(BELLS).await;
    }
}

async fn ring(core: &Core) -> Result<(), Trouble> {
    let time = core.options.attempt;
    let set = [(REVISION, core.header().revision.to_string())];
    match core.engine.config(&core.names.bell(), time).await {
        // Where its version has moved, somebody else rang, after what we wrote.
        Ok(config) => core.engine.label_config(&config, &set, time).await,
        Err(Trouble::Said { status: 404, .. }) => {
            let mut labels = core.names.labels("bell");
            labels.extend(set);
            core.engine.create_config(&core.names.bell(), &labels, b"bell", time).await.map(drop)
        }
        Err(trouble) => Err(trouble),
    }
}

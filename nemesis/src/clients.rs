//! Clients that never let go: each asks for one thing after the other, at whichever replica answers, again and again
//! under one request id until it is told for certain, or for so long that it gives up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use om_api::clock::since_boot;
use om_api::v1;
use om_checker::{Answer, Intent, Named, What};
use om_system_tests::{Bed, NAMES, Random, Spec, recorded};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::attempt::{Attempt, Replica, Wish, commit, seen};
use crate::history::History;
use crate::plan::{at, ms};
use crate::watchers;
use crate::world::World;

/// Few, so that many ask for the same.
pub(crate) const SERVICES: [&str; 5] = ["s-0", "s-1", "s-2", "s-3", "s-4"];
const CLIENTS: u64 = 4;
const WATCHERS: u64 = 3;
const CALL: Duration = Duration::from_secs(20);
/// An attempt is given up long before it could be answered, or in time, or when it takes very long.
const PATIENCE: [Duration; 4] = [
    Duration::from_millis(30),
    Duration::from_millis(300),
    Duration::from_millis(1000),
    Duration::from_millis(2500),
];

/// What the clients know together.
pub(crate) struct Shared {
    pub(crate) history: History,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) ended: AtomicBool,
    specs: BTreeMap<&'static str, Spec>,
    answered: AtomicUsize,
    acknowledged: AtomicUsize,
    tried: AtomicUsize,
    /// The revision that a service was seen at last.
    revisions: Mutex<BTreeMap<&'static str, u64>>,
    /// Refusals that were written down: each once.
    refusals: Mutex<BTreeSet<(&'static str, String, String, u64)>>,
}

/// Clients and watchers at work.
pub(crate) struct Load {
    runtime: Runtime,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Load {
    /// At the sockets of all replicas, which no fault of the net cuts off.
    pub(crate) fn start(world: &dyn World, bed: &Bed, history: &History, seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let replicas = runtime.block_on(async {
            let each = NAMES.iter().enumerate();
            each.map(|(number, name)| Replica::at(name, &world.bed(number).socket(name))).collect()
        });
        let specs = SERVICES.iter().map(|name| (*name, recorded(bed, name).with("every_ms", 20))).collect();
        let shared = Arc::new(Shared {
            history: history.clone(),
            replicas,
            ended: AtomicBool::new(false),
            specs,
            answered: AtomicUsize::new(0),
            acknowledged: AtomicUsize::new(0),
            tried: AtomicUsize::new(0),
            revisions: Mutex::default(),
            refusals: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for number in 0..CLIENTS {
            let random = Random::seeded(seed ^ ((number + 1) << 40));
            tasks.spawn_on(client(shared.clone(), random), runtime.handle());
        }
        for number in 0..WATCHERS {
            let random = Random::seeded(seed ^ ((number + 1) << 50));
            tasks.spawn_on(watchers::watch(shared.clone(), random, number), runtime.handle());
        }
        Self { runtime, shared, tasks }
    }

    /// Calls that took effect for certain, and attempts, up to now.
    pub(crate) fn tried(&self) -> usize {
        self.shared.tried.load(Ordering::SeqCst)
    }

    /// Waits until more calls are acknowledged.
    pub(crate) fn wait_progress(&self, patience: Duration) -> Result<(), String> {
        let end = since_boot() + patience;
        let before = self.shared.acknowledged.load(Ordering::SeqCst);
        while self.shared.acknowledged.load(Ordering::SeqCst) < before + 3 {
            if since_boot() > end {
                return Err(format!("nothing more was acknowledged for {patience:?}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Ends; calls under way are waited for.
    pub(crate) fn stop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.runtime.block_on(async {
            while let Some(ended) = self.tasks.join_next().await {
                ended.expect("a client");
            }
        });
    }
}

async fn client(shared: Arc<Shared>, mut random: Random) {
    while !shared.ended.load(Ordering::SeqCst) {
        let service = *random.pick(&SERVICES);
        match random.below(20) {
            0 => shared.change(service, Intent::Free, &mut random).await,
            1 => shared.change(service, Intent::Destroy, &mut random).await,
            2..=6 => shared.look(&mut random).await,
            _ => {
                let demanded = match random.below(6) {
                    0 => Some(0),
                    1 | 2 => shared.revisions().get(service).copied(),
                    _ => None,
                };
                let commit = Intent::Commit { value: shared.history.number(), if_revision: demanded };
                shared.change(service, commit, &mut random).await;
            }
        }
        sleep(ms(&mut random, 60)).await;
    }
}

impl Shared {
    fn revisions(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.revisions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wish(&self, service: &str, intent: Intent) -> Option<Wish> {
        let request_id = uuid::Uuid::new_v4().to_string();
        let name = service.to_owned();
        Some(match intent {
            Intent::Commit { value, if_revision } => commit(&self.specs[service], value, if_revision),
            Intent::Free => Wish::Free(v1::FreeRequest { name, request_id, if_revision: None }),
            Intent::Destroy => Wish::Destroy(v1::DestroyRequest { name, request_id, ..Default::default() }),
            Intent::Read => return None,
        })
    }

    async fn change(&self, service: &'static str, intent: Intent, random: &mut Random) {
        let Some(wish) = self.wish(service, intent) else { return };
        let call = self.history.number();
        self.history.add(What::Called { call, service: service.to_owned(), intent });
        let end = since_boot() + CALL;
        let mut unclear = false;
        let mut asked = self.answered.load(Ordering::SeqCst);
        let answered = |by: &Replica, answer, open| {
            let by = by.name.to_owned();
            self.history.add(match open {
                true => What::Refused { call, by, answer },
                false => What::Answered { call, by, answer },
            });
        };
        loop {
            let replica = &self.replicas[asked];
            self.tried.fetch_add(1, Ordering::SeqCst);
            match replica.ask(&wish, *random.pick(&PATIENCE)).await {
                Attempt::Done(answer) => {
                    if let Answer::Committed { revision, .. } = answer {
                        self.revisions().insert(service, revision);
                    }
                    answered(replica, answer, false);
                    self.answered.store(asked, Ordering::SeqCst);
                    self.acknowledged.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                Attempt::Never(answer) => return answered(replica, answer, unclear),
                Attempt::Unclear => unclear = true,
                Attempt::Refused(reason, named) => {
                    self.refused(replica, service, &reason, named);
                    if since_boot() > end && !unclear {
                        return answered(replica, Answer::Refused { reason, leader: None }, false);
                    }
                }
            }
            if since_boot() > end {
                return;
            }
            asked = (asked + 1) % self.replicas.len();
            sleep(ms(random, 20)).await;
        }
    }

    /// A refusal that sends elsewhere is a call of its own: each is written down once.
    fn refused(&self, by: &Replica, service: &str, reason: &str, named: Option<Named>) {
        let Some(named) = named else { return };
        let known = (by.name, named.name.clone(), named.endpoint.clone(), named.term);
        if self.refusals.lock().unwrap_or_else(PoisonError::into_inner).insert(known) {
            let call = self.history.number();
            let answer = Answer::Refused { reason: reason.to_owned(), leader: Some(named) };
            self.history.add(What::Called { call, service: service.to_owned(), intent: Intent::Read });
            self.history.add(What::Answered { call, by: by.name.to_owned(), answer });
        }
    }

    /// Sees how all services stand.
    async fn look(&self, random: &mut Random) {
        let first = self.answered.load(Ordering::SeqCst);
        for turn in 0..self.replicas.len() {
            let replica = &self.replicas[(first + turn) % self.replicas.len()];
            let asked = since_boot();
            let Some(listed) = replica.list(PATIENCE[1 + at(random, 3)]).await else { continue };
            let told = since_boot();
            for service in SERVICES {
                let stands = listed.iter().find(|summary| summary.name == service).map(seen);
                if let Some(seen) = stands {
                    self.revisions().insert(service, seen.revision);
                }
                let call = self.history.number();
                let (name, by) = (service.to_owned(), replica.name.to_owned());
                self.history.add_at(asked, What::Called { call, service: name, intent: Intent::Read });
                let answer = Answer::Stands(stands);
                self.history.add_at(told, What::Answered { call, by, answer });
            }
            return;
        }
    }
}

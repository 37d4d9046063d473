//! Clients that never let go: commits, one after another, through whatever happens to the replicas.
//!
//! A caller asks the replica that answered last. Where that refuses, or is silent for a moment, it asks all of them
//! every millisecond, under the same request id, until one acknowledges: what a good client does, only faster. A call
//! fails if a replica says for good that it cannot be, or nobody acknowledges it for long.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use om_api::clock::since_boot;
use om_api::v1::service_plugin_client::ServicePluginClient;
use om_api::{Reason, v1};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::Code;
use tonic::transport::Channel;

use crate::rpc::channel;
use crate::{Failure, Spec};

const PACE: Duration = Duration::from_millis(1);
// After so long without an answer the others are asked too.
const SILENCE: Duration = Duration::from_millis(5);
// How long one replica may take for one attempt.
const ATTEMPT: Duration = Duration::from_secs(2);

/// What was acknowledged to a caller.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The service.
    pub service: String,
    /// The number it was committed with, in its label `number`.
    pub number: u64,
    /// The revision of the answer.
    pub revision: u64,
    /// When the call began, in the clock of records.
    pub asked: Duration,
    /// When it was answered.
    pub at: Duration,
}

/// Everything that the callers were told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// In the order of the answers.
    pub accepted: Vec<Accepted>,
    /// Calls that failed, for good.
    pub failed: Vec<Failure>,
    /// Attempts that were refused, by the reason: they say that nothing was done.
    pub refused: BTreeMap<String, usize>,
    /// Attempts after which nobody could know.
    pub unclear: usize,
}

impl Told {
    /// The longest time without an acknowledgement between these two moments.
    #[must_use]
    pub fn longest_gap(&self, from: Duration, to: Duration) -> Duration {
        longest_gap(self.accepted.iter().map(|accepted| accepted.at), from, to)
    }

    /// By service: what was acknowledged last, and so must stand.
    #[must_use]
    pub fn last(&self) -> BTreeMap<&str, &Accepted> {
        self.accepted.iter().map(|accepted| (&*accepted.service, accepted)).collect()
    }
}

/// The longest time between two neighbours of these moments, in order, and the ends of the span.
#[must_use]
pub fn longest_gap(moments: impl Iterator<Item = Duration>, from: Duration, to: Duration) -> Duration {
    let mut longest = Duration::ZERO;
    let mut last = from;
    for moment in moments.filter(|moment| (from..=to).contains(moment)).chain([to]) {
        longest = longest.max(moment.saturating_sub(last));
        last = moment;
    }
    longest
}

struct Shared {
    replicas: Vec<ServicePluginClient<Channel>>,
    answered: AtomicUsize,
    patience: Duration,
    told: Mutex<Told>,
    end: AtomicBool,
}

/// Callers at work.
pub struct Hammer {
    runtime: Runtime,
    shared: Arc<Shared>,
    callers: JoinSet<()>,
}

impl Hammer {
    /// So many callers at the replicas that serve these sockets. Each commits a service of its own: the given one, with
    /// its own number behind the name and a new label each time. A call that nobody acknowledges within `patience` has
    /// failed.
    ///
    /// # Panics
    /// If no runtime can be had.
    #[must_use]
    pub fn start(sockets: Vec<PathBuf>, spec: &Spec, callers: usize, patience: Duration) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let replicas = runtime.block_on(async {
            sockets.into_iter().map(|socket| ServicePluginClient::new(channel(socket))).collect()
        });
        let (answered, told, end) = (AtomicUsize::new(0), Mutex::default(), AtomicBool::new(false));
        let shared = Arc::new(Shared { replicas, answered, patience, told, end });
        let mut tasks = JoinSet::new();
        for number in 0..callers {
            let (shared, mut spec) = (shared.clone(), spec.clone());
            spec.name = format!("{}-{number}", spec.name);
            tasks.spawn_on(async move { shared.run(spec).await }, runtime.handle());
        }
        Self { runtime, shared, callers: tasks }
    }

    /// How many commits were acknowledged up to now.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.told().accepted.len()
    }

    /// How many attempts were refused up to now.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.shared.told().refused.values().sum()
    }

    /// When the last acknowledgement came.
    #[must_use]
    pub fn last(&self) -> Option<Duration> {
        self.shared.told().accepted.last().map(|accepted| accepted.at)
    }

    /// Ends: calls under way are waited for.
    ///
    /// # Panics
    /// If a caller did.
    #[must_use]
    pub fn stop(mut self) -> Told {
        self.shared.end.store(true, Ordering::SeqCst);
        self.runtime.block_on(async {
            while let Some(ended) = self.callers.join_next().await {
                ended.expect("a caller");
            }
        });
        std::mem::take(&mut *self.shared.told())
    }
}

impl Shared {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>, spec: Spec) {
        for number in 1.. {
            if self.end.load(Ordering::SeqCst) {
                return;
            }
            let asked = since_boot();
            let request = spec.clone().label("number", number).commit();
            match timeout(self.patience, self.call(&request)).await {
                Ok(Ok(answer)) => {
                    let (service, revision) = (spec.name.clone(), answer.revision);
                    let at = since_boot();
                    self.told().accepted.push(Accepted { service, number, revision, asked, at });
                }
                Ok(Err(failure)) => self.told().failed.push(failure),
                Err(_) => {
                    let message = format!("nobody acknowledged it within {:?}", self.patience);
                    self.told().failed.push(Failure { code: Code::DeadlineExceeded, reason: None, message });
                }
            }
            sleep(PACE.saturating_sub(since_boot() - asked)).await;
        }
    }

    async fn call(self: &Arc<Self>, request: &v1::CommitRequest) -> Result<v1::CommitResponse, Failure> {
        let first = self.answered.load(Ordering::SeqCst);
        // Dropped, and with it all attempts under way, as soon as one has an answer.
        let mut attempts = JoinSet::new();
        attempts.spawn(self.clone().insist(first, request.clone(), Duration::ZERO));
        for other in (0..self.replicas.len()).filter(|other| *other != first) {
            attempts.spawn(self.clone().insist(other, request.clone(), SILENCE));
        }
        attempts.join_next().await.expect("an attempt").expect("an attempt's task")
    }

    async fn insist(
        self: Arc<Self>,
        replica: usize,
        request: v1::CommitRequest,
        wait: Duration,
    ) -> Result<v1::CommitResponse, Failure> {
        let mut pause = wait;
        loop {
            sleep(pause).await;
            pause = PACE;
            let mut client = self.replicas[replica].clone();
            match timeout(ATTEMPT, client.commit(request.clone())).await {
                Ok(Ok(answer)) => {
                    self.answered.store(replica, Ordering::SeqCst);
                    return Ok(answer.into_inner());
                }
                Ok(Err(status)) => {
                    let failure = Failure::from(status);
                    match failure.reason {
                        None | Some(Reason::Unclear) => self.told().unclear += 1,
                        Some(
                            reason @ (Reason::NotLeader
                            | Reason::NoLeader
                            | Reason::Fenced
                            | Reason::PluginUnavailable
                            | Reason::StoreUnavailable),
                        ) => *self.told().refused.entry(reason.as_str().to_owned()).or_default() += 1,
                        Some(_) => return Err(failure),
                    }
                }
                Err(_) => self.told().unclear += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_counts_the_ends_of_the_span_too() {
        let ms = Duration::from_millis;
        let gap = |moments: &[u64], from, to| {
            longest_gap(moments.iter().map(|moment| ms(*moment)), ms(from), ms(to))
        };
        assert_eq!(gap(&[1, 5, 8, 20], 4, 10), ms(3));
        assert_eq!(gap(&[5, 6], 0, 7), ms(5));
        assert_eq!(gap(&[1, 2], 0, 9), ms(7));
        assert_eq!(gap(&[], 3, 9), ms(6));
    }
}

//! The handle: attempts, one endpoint after another, until one works or the caller's patience ends.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::Client;
use tokio::time::{Instant, timeout};

use crate::endpoint::{Endpoint, Purpose};
use crate::error::{Error, Failure, Result};
use crate::judge::{Kind, Verdict, judge};
use crate::options::{EtcdOptions, OptionsError};
use crate::pin::Pin;
use crate::range::{Found, Header, Range};
use crate::txn::{Txn, TxnAnswer};

/// The largest answer that is taken.
pub(crate) const LARGEST_ANSWER: usize = 512 * 1024 * 1024;

/// The longest pause after all endpoints failed at once.
const PAUSE: Duration = Duration::from_millis(250);

/// A way to an etcd cluster. Clones share it: its connections, and which endpoint is asked.
///
/// The `patience` of a call is how long it may take in all. Making an `Etcd` connects to nothing.
#[derive(Clone)]
pub struct Etcd(Arc<Inner>);

struct Inner {
    endpoints: Vec<Endpoint>,
    pin: Mutex<Pin>,
    attempt: Duration,
    silence: Duration,
}

/// How a call may be repeated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Whether it changes nothing, so that what became of an attempt does not matter.
    pub(crate) read: bool,
    /// The least that an attempt must be given, for what is sent or asked for is large.
    pub(crate) least: Duration,
    pub(crate) patience: Duration,
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.endpoints.iter().map(|endpoint| &endpoint.url)).finish()
    }
}

impl fmt::Display for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, endpoint) in self.0.endpoints.iter().enumerate() {
            write!(f, "{}{}", if number == 0 { "" } else { "," }, endpoint.url)?;
        }
        Ok(())
    }
}

impl Etcd {
    /// A handle on the cluster.
    ///
    /// # Errors
    /// Options that cannot be used.
    pub fn new(options: &EtcdOptions) -> std::result::Result<Self, OptionsError> {
        let (urls, connect) = options.check()?;
        let pin = Mutex::new(Pin::new(urls.len(), options.attempt));
        let endpoint = |url| Endpoint::new(url, connect.clone(), options.user.clone());
        let endpoints = urls.into_iter().map(endpoint).collect();
        Ok(Self(Arc::new(Inner { endpoints, pin, attempt: options.attempt, silence: options.silence })))
    }

    /// Connects to all endpoints and authenticates there, so that moving to another costs nothing when it matters.
    /// Endpoints that do not answer are left for later.
    pub async fn warm(&self, patience: Duration) {
        for endpoint in &self.0.endpoints {
            let made = timeout(patience, async {
                let line = endpoint.line(Purpose::Calls).await?;
                line.client.maintenance_client().status().await
            });
            match made.await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::debug!(endpoint = endpoint.url, %error, "does not answer yet"),
                Err(_) => tracing::debug!(endpoint = endpoint.url, "does not answer yet"),
            }
        }
    }

    /// Reads keys. The newest values (linearizable), or as they were at a revision if the range says so; then the
    /// answer's header need not be the newest.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Refused`], [`Error::Compacted`], [`Error::TooLarge`].
    pub async fn range(&self, range: &Range, patience: Duration) -> Result<Found> {
        let least = if range.large { self.0.attempt * 10 } else { Duration::ZERO };
        let effort = Effort { read: true, least, patience };
        let what = format!("read {range}");
        let found = self.attempts(&what, effort, async |client: Client, silences| {
            if silences > 0 && range.revision == 0 {
                let answer = txn(&client, &range.by_proposal()).await?;
                return Ok(answer.into_found());
            }
            let mut kv = client.kv_client().max_decoding_message_size(LARGEST_ANSWER);
            kv.get(range.key.clone(), Some(range.options())).await.map(Found::from)
        });
        // The client's futures are large.
        Box::pin(found).await
    }

    /// Does a transaction. It may be sent several times, to several endpoints, and so may be applied more than once, or
    /// even after this returned an error or the answer to another attempt: its guards must make that harmless, for
    /// instance by comparing the mod-revision of a key that it puts. `succeeded: false` can mean that an attempt of
    /// ours was applied before: the caller has the `otherwise` branch read what tells.
    ///
    /// # Errors
    /// [`Error::Unclear`] if an attempt may have been applied; all others mean that none was and none will be.
    pub async fn txn(&self, request: &Txn, patience: Duration) -> Result<TxnAnswer> {
        // Some time to send it, and for the members to sync it to their disks.
        let least = self.0.attempt + Duration::from_millis(request.weight() / 2048);
        let least = if request.weight() < 16 * 1024 { Duration::ZERO } else { least };
        let effort = Effort { read: request.only_reads(), least, patience };
        let what = format!("{request}");
        let done =
            self.attempts(&what, effort, async |client: Client, silences| match request.by_proposal() {
                Some(proposal) if silences > 0 => {
                    Ok(TxnAnswer { succeeded: true, ..txn(&client, &proposal).await? })
                }
                _ => txn(&client, request).await,
            });
        Box::pin(done).await
    }

    pub(crate) fn pin(&self) -> MutexGuard<'_, Pin> {
        self.0.pin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn endpoint(&self, index: usize) -> &Endpoint {
        &self.0.endpoints[index]
    }

    pub(crate) fn endpoints(&self) -> usize {
        self.0.endpoints.len()
    }

    pub(crate) fn attempt_time(&self) -> Duration {
        self.0.attempt
    }

    pub(crate) fn silence(&self) -> Duration {
        self.0.silence
    }

    /// Makes the call at one endpoint after another. `call` is given how many attempts went unanswered.
    pub(crate) async fn attempts<T, F, Fut>(&self, what: &str, effort: Effort, call: F) -> Result<T>
    where
        F: Fn(Client, u32) -> Fut,
        Fut: Future<Output = std::result::Result<T, etcd_client::Error>>,
    {
        let deadline = Instant::now() + effort.patience;
        let mut open = false;
        let mut silences = 0;
        let mut renewed = false;
        let mut round = 0;
        let mut told: Option<Failure> = None;
        loop {
            let (index, usual) = self.pin().next();
            let left = deadline.saturating_duration_since(Instant::now());
            let length = usual.max(effort.least).min(left.max(Duration::from_millis(1)));
            let endpoint = self.endpoint(index);
            let failed = |why| Failure { what: what.to_owned(), endpoint: endpoint.url.clone(), why };
            let begun = Instant::now();
            let verdict = match self.attempt(endpoint, length, left, silences, &call).await {
                Ok(answer) => {
                    self.pin().worked(index, begun.elapsed());
                    return Ok(answer);
                }
                Err(verdict) => verdict,
            };
            let failure = match verdict {
                Verdict::Token(_) if endpoint.has_user() && !renewed => {
                    renewed = true;
                    continue;
                }
                Verdict::Token(why) => return Err(settled(open, effort, Kind::Refused, failed(why))),
                Verdict::Final(kind, why) => return Err(settled(open, effort, kind, failed(why))),
                Verdict::NotDone(why) => failed(why),
                Verdict::Open(why) => {
                    open = true;
                    failed(why)
                }
            };
            silences += u32::from(begun.elapsed() >= length);
            tracing::debug!(%failure, "an attempt failed");
            self.pin().failed(index);
            round += 1;
            if round % self.endpoints() == 0 {
                let pause = (length / 2).min(PAUSE).saturating_sub(begun.elapsed());
                tokio::time::sleep(pause.min(deadline.saturating_duration_since(Instant::now()))).await;
            }
            // An attempt that the deadline cut short tells less than the one before it.
            let cut_short = length < usual.max(effort.least);
            let failure = told.take().filter(|_| cut_short).unwrap_or(failure);
            if Instant::now() >= deadline {
                return Err(if open && !effort.read {
                    Error::Unclear(failure)
                } else {
                    Error::Unavailable(failure)
                });
            }
            told = Some(failure);
        }
    }

    async fn attempt<T, F, Fut>(
        &self,
        endpoint: &Endpoint,
        length: Duration,
        left: Duration,
        silences: u32,
        call: &F,
    ) -> std::result::Result<T, Verdict>
    where
        F: Fn(Client, u32) -> Fut,
        Fut: Future<Output = std::result::Result<T, etcd_client::Error>>,
    {
        let connecting = endpoint.patience(length).min(left.max(length));
        let line = match timeout(connecting, endpoint.line(Purpose::Calls)).await {
            Ok(Ok(line)) => line,
            Ok(Err(error)) => return Err(unconnected(judge(&error))),
            Err(_) => return Err(Verdict::NotDone(format!("no connection within {connecting:?}"))),
        };
        let answer = timeout(length, call(line.client, silences)).await;
        endpoint.heard(line.number, answer.is_ok()).await;
        let verdict = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => judge(&error),
            Err(_) => Verdict::Open(format!("no answer within {length:?}")),
        };
        if matches!(verdict, Verdict::Token(_)) {
            endpoint.drop_line(Purpose::Calls, line.number).await;
        }
        Err(verdict)
    }
}

/// Nothing but a password was sent.
pub(crate) fn unconnected(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Open(why) | Verdict::Token(why) => Verdict::NotDone(why),
        other => other,
    }
}

async fn txn(client: &Client, request: &Txn) -> std::result::Result<TxnAnswer, etcd_client::Error> {
    let mut kv = client.kv_client().max_decoding_message_size(LARGEST_ANSWER);
    kv.txn(request.into()).await.map(TxnAnswer::from)
}

/// The error for what no other endpoint would do either. An earlier attempt may still have been applied, unless it is
/// the request itself that cannot be.
fn settled(open: bool, effort: Effort, kind: Kind, failure: Failure) -> Error {
    match kind {
        Kind::TooLarge => Error::TooLarge(failure),
        Kind::Invalid => Error::Invalid(failure),
        _ if open && !effort.read => Error::Unclear(failure),
        Kind::Refused => Error::Refused(failure),
        Kind::NoSpace => Error::NoSpace(failure),
        Kind::Compacted => Error::Compacted { failure, oldest: None },
        Kind::LeaseGone => Error::LeaseGone(failure),
    }
}

impl From<Option<&etcd_client::ResponseHeader>> for Header {
    fn from(header: Option<&etcd_client::ResponseHeader>) -> Self {
        header.map_or_else(Self::default, |header| Self {
            cluster: header.cluster_id(),
            member: header.member_id(),
            revision: header.revision(),
            raft_term: header.raft_term(),
        })
    }
}

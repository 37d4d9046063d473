//! The handle: attempts, one endpoint after another, until one works or the caller's patience ends.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::Client;
use futures_util::stream::{FuturesUnordered, StreamExt};
use om_kv::{Error, Failure, Found, Granted, Header, Keyspace, Range, Result, Txn, TxnAnswer, Watching};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::convert;
use crate::endpoint::{Endpoint, Purpose};
use crate::hints::{failure, hinted};
use crate::judge::{Kind, Verdict, judge};
use crate::options::{EtcdOptions, OptionsError};
use crate::pin::Pin;

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
    /// The term of etcd's leader when it was last looked for.
    led: AtomicU64,
    looking: Mutex<JoinSet<()>>,
    attempt: Duration,
    silence: Duration,
}

/// How long an endpoint may take to say who leads.
const LOOK: Duration = Duration::from_secs(1);

/// The most attempts of one call that are under way at once.
const MOST_AT_ONCE: usize = 64;

/// How a call goes.
#[derive(Default)]
struct Course {
    /// Whether an attempt of which nothing is known any more may have been applied.
    open: bool,
    silences: u32,
    failures: usize,
    /// When a new token was asked for.
    renewed: Option<Instant>,
    /// What asking again does not change.
    decided: Option<(Kind, Failure)>,
    told: Option<Failure>,
    /// The endpoint that was asked last.
    asked: Option<usize>,
}

impl Course {
    /// Whom to ask next: the pinned endpoint first, then all of them in turn.
    fn turn(&mut self, pinned: usize, endpoints: usize) -> usize {
        let index = self.asked.map_or(pinned, |last| (last + 1) % endpoints);
        self.asked = Some(index);
        index
    }

    fn given_up(&mut self, effort: Effort) -> Error {
        let failure = self.told.take().unwrap_or_else(|| failure("ask", "", String::new()));
        if self.open && !effort.read { Error::Unclear(failure) } else { Error::Unavailable(failure) }
    }
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
            write!(f, "{}{}", if number == 0 { "etcd " } else { "," }, endpoint.url)?;
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
        let (attempt, silence) = (options.attempt, options.silence);
        Ok(Self(Arc::new(Inner {
            endpoints,
            pin,
            led: AtomicU64::new(0),
            looking: Mutex::default(),
            attempt,
            silence,
        })))
    }

    /// Looks which endpoint etcd's leader is at, if another leads than when it was last looked: asked there, it need not pass
    /// on what it is asked. Nobody waits for that.
    fn follow_leader(&self, header: Header) {
        let before = self.0.led.fetch_max(header.raft_term, Ordering::Relaxed);
        if before < header.raft_term && self.endpoints() > 1 {
            let etcd = self.clone();
            let mut looking = self.0.looking.lock().unwrap_or_else(PoisonError::into_inner);
            while looking.try_join_next().is_some() {}
            looking.spawn(async move { etcd.look_for_leader(LOOK).await });
        }
    }

    async fn look_for_leader(&self, patience: Duration) {
        for (index, endpoint) in self.0.endpoints.iter().enumerate() {
            let asked = timeout(patience, async {
                let line = endpoint.line(Purpose::Calls).await?;
                line.client.maintenance_client().status().await
            });
            match asked.await {
                Ok(Ok(status)) => {
                    let member = status.header().map(etcd_client::ResponseHeader::member_id);
                    if member == Some(status.leader()) {
                        self.pin().prefer(index);
                    }
                }
                Ok(Err(error)) => tracing::debug!(endpoint = endpoint.url, %error, "does not answer yet"),
                Err(_) => tracing::debug!(endpoint = endpoint.url, "does not answer yet"),
            }
        }
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

    /// Makes the call at one endpoint after another, and at one beside another where that keeps silent. `call` is given
    /// how many attempts went unanswered.
    pub(crate) async fn attempts<T, F, Fut>(&self, what: &str, effort: Effort, call: F) -> Result<T>
    where
        F: Fn(Client, u32) -> Fut,
        Fut: Future<Output = std::result::Result<T, etcd_client::Error>>,
    {
        self.try_all(what, effort, call).await.map_err(hinted)
    }

    async fn try_all<T, F, Fut>(&self, what: &str, effort: Effort, call: F) -> Result<T>
    where
        F: Fn(Client, u32) -> Fut,
        Fut: Future<Output = std::result::Result<T, etcd_client::Error>>,
    {
        let deadline = Instant::now() + effort.patience;
        let mut running = FuturesUnordered::new();
        let mut course = Course::default();
        let mut next_at = Instant::now();
        loop {
            let now = Instant::now();
            if running.is_empty()
                && let Some((kind, failure)) = course.decided.take()
            {
                return Err(settled(course.open, effort, kind, failure));
            }
            if running.is_empty() && now >= deadline && course.told.is_some() {
                return Err(course.given_up(effort));
            }
            let more = course.decided.is_none() && running.len() < MOST_AT_ONCE;
            let more = more && (running.is_empty() || now < deadline);
            if now >= next_at && more {
                // A silence, too, though it has not lasted for a whole attempt yet.
                course.silences += u32::from(!running.is_empty());
                let (pinned, usual) = self.pin().next();
                let index = course.turn(pinned, self.endpoints());
                let left = deadline.saturating_duration_since(now).max(Duration::from_millis(1));
                let length = usual.max(effort.least).min(left);
                let trying = self.attempt(self.endpoint(index), length, left, course.silences, &call);
                let cut_short = length < usual.max(effort.least);
                running.push(async move { (index, length, cut_short, now, trying.await) });
                next_at = now + self.pin().beside().max(effort.least);
            }
            let ended = tokio::select! {
                ended = running.next(), if !running.is_empty() => ended,
                () = tokio::time::sleep_until(next_at), if more => None,
            };
            let Some((index, length, cut_short, begun, outcome)) = ended else { continue };
            let endpoint = self.endpoint(index);
            let failed = |why| failure(what, &endpoint.url, why);
            let failure = match outcome {
                Ok(answer) => {
                    self.pin().worked(index, begun.elapsed());
                    return Ok(answer);
                }
                Err(Verdict::Token(_))
                    if endpoint.has_user() && course.renewed.is_none_or(|renewed| begun < renewed) =>
                {
                    next_at = Instant::now();
                    course.renewed = Some(next_at);
                    continue;
                }
                // What the attempts beside it come to is waited for.
                Err(Verdict::Token(why)) => {
                    course.decided.get_or_insert((Kind::Refused, failed(why)));
                    continue;
                }
                Err(Verdict::Final(kind, why)) => {
                    course.decided.get_or_insert((kind, failed(why)));
                    continue;
                }
                Err(Verdict::NotDone(why)) => failed(why),
                Err(Verdict::Open(why)) => {
                    course.open = true;
                    failed(why)
                }
            };
            course.silences += u32::from(begun.elapsed() >= length);
            tracing::debug!(%failure, "an attempt failed");
            self.pin().failed(index);
            course.failures += 1;
            let whole_round = course.failures % self.endpoints() == 0;
            let pause = if whole_round {
                (length / 2).min(PAUSE).saturating_sub(begun.elapsed())
            } else {
                Duration::ZERO
            };
            next_at = next_at.min(Instant::now() + pause).min(deadline.max(Instant::now()));
            // An attempt that the deadline cut short tells less than the one before it.
            let told = course.told.take().filter(|_| cut_short);
            course.told = Some(told.unwrap_or(failure));
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
    kv.txn(convert::txn(request)).await.map(|response| convert::answer(&response))
}

#[async_trait]
impl Keyspace for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    /// Connects to all endpoints and authenticates there, so that moving to another costs nothing when it matters.
    /// Endpoints that do not answer are left for later.
    async fn warm(&self, patience: Duration) {
        self.look_for_leader(patience).await;
    }

    async fn range(&self, range: &Range, patience: Duration) -> Result<Found> {
        let least = if range.large { self.0.attempt * 10 } else { Duration::ZERO };
        let effort = Effort { read: true, least, patience };
        let what = format!("read {range}");
        let found = self.attempts(&what, effort, async |client: Client, silences| {
            if silences > 0 && range.revision == 0 {
                let proposal = convert::proposal(vec![om_kv::Op::Get(range.clone())], &range.key);
                let answer = txn(&client, &proposal).await?;
                return Ok(convert::into_found(answer));
            }
            let mut kv = client.kv_client().max_decoding_message_size(LARGEST_ANSWER);
            kv.get(range.key.clone(), Some(convert::get_options(range))).await.map(convert::found)
        });
        // The client's futures are large.
        Box::pin(found).await.inspect(|found| self.follow_leader(found.header))
    }

    async fn txn(&self, request: &Txn, patience: Duration) -> Result<TxnAnswer> {
        // Some time to send it, and for the members to sync it to their disks.
        let least = self.0.attempt + Duration::from_millis(request.weight() / 2048);
        let least = if request.weight() < 16 * 1024 { Duration::ZERO } else { least };
        let effort = Effort { read: request.only_reads(), least, patience };
        let what = format!("{request}");
        let done =
            self.attempts(&what, effort, async |client: Client, silences| {
                match convert::by_proposal(request) {
                    Some(proposal) if silences > 0 => {
                        Ok(TxnAnswer { succeeded: true, ..txn(&client, &proposal).await? })
                    }
                    _ => txn(&client, request).await,
                }
            });
        Box::pin(done).await.inspect(|answer| self.follow_leader(answer.header))
    }

    fn watch(&self, prefix: &str, from: i64) -> Watching {
        self.begin_watch(prefix, from)
    }

    async fn grant(&self, ttl: Duration, patience: Duration) -> Result<Granted> {
        self.new_lease(ttl, patience).await
    }

    async fn keep_alive_once(&self, id: i64, patience: Duration) -> Result<()> {
        self.keep_lease(id, patience).await
    }

    async fn revoke(&self, id: i64, patience: Duration) -> Result<()> {
        self.end_lease(id, patience).await
    }
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

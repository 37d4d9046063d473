//! Watching keys across reconnects and endpoints, without a gap.
//!
//! A watch goes on from the revision after the last one that it gave out. What would be a gap ends it: entries compacted
//! away, and an etcd that is not as far as it was (wiped, restored from a backup): such an etcd would let the watch wait,
//! without a word, until its revision is reached again by other writes.
//!
//! Its connection asks for members that have a leader (`hasleader`), and where nothing is heard for a while the watch
//! asks for a sign of life: what such a request says about progress is not used, for etcd before 3.4.25 answers it ahead
//! of events that are still to come.

use std::time::Duration;

use etcd_client::{EventType, WatchOptions, WatchResponse, WatchStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use om_kv::{Batch, Error, Event, Failure, Header, Keyspace, Range, Result, Watching};

use crate::convert;
use crate::endpoint::{Endpoint, Purpose};
use crate::etcd::{Etcd, LARGEST_ANSWER, unconnected};
use crate::hints::{failure, hinted};
use crate::judge::{Kind, Verdict, judge};
use crate::pin::Pin;

/// How long to ask whether an etcd that seems to have gone back has.
const CHECK: Duration = Duration::from_secs(5);

/// A stream that ends sooner counts as one that never began: the next ones are not begun one right after another.
const LASTING: Duration = Duration::from_secs(1);

/// The least that is waited for a watch to begin.
const BEGIN: Duration = Duration::from_millis(300);

impl Etcd {
    pub(crate) fn begin_watch(&self, prefix: &str, from: i64) -> Watching {
        let (sender, batches) = mpsc::channel(64);
        let mut task = JoinSet::new();
        let prefix = prefix.to_owned();
        let mut pin = Pin::new(self.endpoints(), self.attempt_time().max(BEGIN));
        (0..self.pin().next().0).for_each(|index| pin.failed(index));
        let watch = Watch { etcd: self.clone(), prefix, next: from, cluster: None, pin, sender };
        task.spawn(watch.run());
        Watching::new(batches, task)
    }
}

struct Watch {
    etcd: Etcd,
    prefix: String,
    /// The first revision that was not given out yet.
    next: i64,
    cluster: Option<u64>,
    pin: Pin,
    sender: mpsc::Sender<Result<Batch>>,
}

/// Why a stream ended.
enum Ended {
    /// Go on at another endpoint.
    Elsewhere(String),
    /// Authenticate and go on.
    Token(String),
    /// No going on.
    Over(Error),
    /// Nobody listens any more.
    Unheard,
}

impl Watch {
    async fn run(mut self) {
        let (etcd, sender) = (self.etcd.clone(), self.sender.clone());
        let mut refused = false;
        let mut round = 0;
        loop {
            let (index, length) = self.pin.next();
            let endpoint = etcd.endpoint(index);
            let begun = Instant::now();
            let mut heard = false;
            let ended = tokio::select! {
                ended = self.stream(endpoint, index, length, &mut heard) => ended,
                () = sender.closed() => Ended::Unheard,
            };
            refused = refused && !heard;
            round = if heard && begun.elapsed() > LASTING { 0 } else { round + 1 };
            let why = match ended {
                Ended::Unheard => return,
                Ended::Over(error) => return drop(self.sender.send(Err(hinted(error))).await),
                Ended::Token(why) if refused || !endpoint.has_user() => {
                    let refused = Error::Refused(self.failure(endpoint, why));
                    return drop(self.sender.send(Err(hinted(refused))).await);
                }
                Ended::Token(why) => {
                    refused = true;
                    why
                }
                Ended::Elsewhere(why) => {
                    self.pin.failed(index);
                    why
                }
            };
            tracing::debug!(
                endpoint = endpoint.url,
                prefix = self.prefix,
                why,
                "the watch goes on elsewhere"
            );
            if round > 0 && round % etcd.endpoints() == 0 {
                let pause = length.min(Duration::from_millis(250)).saturating_sub(begun.elapsed());
                tokio::time::sleep(pause).await;
            }
        }
    }

    fn failure(&self, endpoint: &Endpoint, why: String) -> Failure {
        failure(&format!("watch {}*", self.prefix), &endpoint.url, why)
    }

    /// Gives out what comes at this endpoint, until something goes wrong.
    async fn stream(&mut self, at: &Endpoint, index: usize, length: Duration, heard: &mut bool) -> Ended {
        let line = match timeout(at.patience(length), at.line(Purpose::Streams)).await {
            Ok(Ok(line)) => line,
            Ok(Err(error)) => return self.judged(at, unconnected(judge(&error))),
            Err(_) => return Ended::Elsewhere("no connection".to_owned()),
        };
        let number = line.number;
        let ended = Box::pin(self.stream_on(at, index, line.client, length, heard)).await;
        if !matches!(ended, Ended::Over(_) | Ended::Unheard) {
            at.drop_line(Purpose::Streams, number).await;
        }
        ended
    }

    async fn stream_on(
        &mut self,
        at: &Endpoint,
        index: usize,
        client: etcd_client::Client,
        length: Duration,
        heard: &mut bool,
    ) -> Ended {
        let options = WatchOptions::new().with_prefix().with_start_revision(self.next).with_progress_notify();
        let mut watch = client.watch_client().max_decoding_message_size(LARGEST_ANSWER);
        let begun = Instant::now();
        let mut stream = match timeout(length, watch.watch(self.prefix.as_str(), Some(options))).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return self.judged(at, judge(&error)),
            Err(_) => return Ended::Elsewhere(format!("no watch within {length:?}")),
        };
        let mut patience = length;
        loop {
            let response = match hear(&mut stream, patience, *heard).await {
                Ok(response) => response,
                Err(Some(error)) => return self.judged(at, judge(&error)),
                Err(None) => return Ended::Elsewhere("nothing is heard of it".to_owned()),
            };
            let took = begun.elapsed();
            if let Some(ended) = self.take(at, response).await {
                return ended;
            }
            if !*heard {
                *heard = true;
                self.pin.worked(index, took);
                patience = self.etcd.silence();
            }
        }
    }

    fn judged(&self, at: &Endpoint, verdict: Verdict) -> Ended {
        match verdict {
            Verdict::Token(why) => Ended::Token(why),
            Verdict::Final(Kind::Refused, why) => Ended::Over(Error::Refused(self.failure(at, why))),
            Verdict::Final(Kind::Compacted, why) => {
                Ended::Over(Error::Compacted { failure: self.failure(at, why), oldest: None })
            }
            Verdict::Final(Kind::TooLarge, why) => Ended::Over(Error::TooLarge(self.failure(at, why))),
            Verdict::NotDone(why) | Verdict::Open(why) | Verdict::Final(_, why) => Ended::Elsewhere(why),
        }
    }

    async fn take(&mut self, at: &Endpoint, response: WatchResponse) -> Option<Ended> {
        let header = convert::header(response.header());
        if response.canceled() {
            let why = response.cancel_reason().to_owned();
            if response.compact_revision() > 0 {
                let failure = self.failure(at, format!("revision {} is compacted away", self.next));
                let oldest = Some(response.compact_revision());
                return Some(Ended::Over(Error::Compacted { failure, oldest }));
            }
            // etcd 3.4 says "permission denied" for a token that is not good any more, too.
            let signs = ["permission denied", "auth token", "user name is empty", "auth store is old"];
            let token = signs.iter().any(|sign| why.contains(sign));
            return Some(if token { Ended::Token(why) } else { Ended::Elsewhere(why) });
        }
        if let Some(ended) = self.went_back(at, header, response.created()).await {
            return Some(ended);
        }
        let events: Vec<Event> = response.events().iter().filter_map(event).collect();
        let events: Vec<Event> = events.into_iter().filter(|event| event.revision() >= self.next).collect();
        // Of answers without events only the watch's own (not -1, that of a sign of life) say how far it is.
        let progress = events.is_empty() && !response.created() && response.watch_id() >= 0;
        let reached = if progress { header.revision } else { events.last().map_or(0, Event::revision) };
        self.next = self.next.max(reached + 1);
        let batch = Batch { header, events, begun: response.created() };
        let unheard = self.sender.send(Ok(batch)).await.is_err();
        unheard.then_some(Ended::Unheard)
    }

    /// Whether this is not the etcd that it was. A member that lags behind is told from one that went back by asking
    /// for the newest revision.
    async fn went_back(&mut self, at: &Endpoint, header: Header, created: bool) -> Option<Ended> {
        if *self.cluster.get_or_insert(header.cluster) != header.cluster {
            let why = format!("it is cluster {:x} now", header.cluster);
            return Some(Ended::Over(Error::WentBack(self.failure(at, why))));
        }
        if !created || header.revision >= self.next - 1 {
            return None;
        }
        let probe = Range::prefix(self.prefix.as_str()).count_only();
        match self.etcd.range(&probe, CHECK).await {
            Ok(found) if found.header.revision < self.next - 1 => {
                let why =
                    format!("it is at revision {}, and was at {}", found.header.revision, self.next - 1);
                Some(Ended::Over(Error::WentBack(self.failure(at, why))))
            }
            Ok(_) => None,
            Err(error) => Some(Ended::Elsewhere(error.to_string())),
        }
    }
}

/// The next response; asks for a sign of life where none comes. `Err(None)`: nothing was heard.
async fn hear(
    stream: &mut WatchStream,
    patience: Duration,
    ask: bool,
) -> std::result::Result<WatchResponse, Option<etcd_client::Error>> {
    let mut asked = !ask;
    loop {
        match timeout(patience, stream.message()).await {
            Ok(Ok(Some(response))) => return Ok(response),
            Ok(Ok(None)) => return Err(None),
            Ok(Err(error)) => return Err(Some(error)),
            Err(_) if asked => return Err(None),
            Err(_) => {
                asked = true;
                match timeout(patience, stream.request_progress()).await {
                    Ok(Ok(())) => {}
                    _ => return Err(None),
                }
            }
        }
    }
}

fn event(event: &etcd_client::Event) -> Option<Event> {
    let kv = convert::kv(event.kv()?.clone());
    Some(match event.event_type() {
        EventType::Put => Event::Put(kv),
        EventType::Delete => Event::Delete { key: kv.key, revision: kv.modified },
    })
}

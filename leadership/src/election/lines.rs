//! The lines to the other replicas: opened, kept, and what comes over them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use om_kv::layout::ReplicaRecord;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::line::{Answer, Incoming, Network, Outgoing, Request};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// What may wait to be taken in.
const INBOX: usize = 1024;

/// What happens on the lines.
#[derive(Debug)]
pub(super) enum News {
    Linked { peer: String, requests: mpsc::Sender<Request> },
    Unlinked { peer: String },
    Answered { from: String, answer: Answer },
    Called { line: u64, peer: String, answers: mpsc::Sender<Answer> },
    Uncalled { line: u64, peer: String },
    Asked { line: u64, from: String, request: Request },
}

/// A change that the seat is to know of.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// The line that this replica opened to another stands.
    Linked(String),
    /// It is gone.
    Unlinked(String),
    /// The first line that another opened to this replica stands.
    Called(String),
    /// The last of them is gone.
    Uncalled(String),
    /// Another asks.
    Asked { from: String, request: Request },
    /// Another answers.
    Answered { from: String, answer: Answer },
}

/// All lines of one replica.
pub(super) struct Lines {
    me: String,
    network: Arc<dyn Network>,
    news: mpsc::Sender<News>,
    inbox: mpsc::Receiver<News>,
    dialing: BTreeMap<String, AbortOnDropHandle<()>>,
    /// The lines that stand: opened by this replica, by the peer; and by others, by their number.
    outgoing: BTreeMap<String, mpsc::Sender<Request>>,
    incoming: BTreeMap<u64, (String, mpsc::Sender<Answer>)>,
    taken: u64,
    pumps: JoinSet<()>,
}

impl Lines {
    pub(super) fn new(me: String, network: Arc<dyn Network>) -> Self {
        let (news, inbox) = mpsc::channel(INBOX);
        Self {
            me,
            network,
            news,
            inbox,
            dialing: BTreeMap::new(),
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
            taken: 0,
            pumps: JoinSet::new(),
        }
    }

    /// Keeps a line to each of these replicas, and to no others. Gives the peers whose lines are closed by that.
    pub(super) fn keep(&mut self, replicas: &BTreeMap<String, ReplicaRecord>) -> Vec<String> {
        self.dialing.retain(|instance, _| replicas.contains_key(instance));
        let closed: Vec<String> =
            self.outgoing.keys().filter(|peer| !replicas.contains_key(*peer)).cloned().collect();
        for peer in &closed {
            self.outgoing.remove(peer);
        }
        for (instance, record) in replicas.iter().filter(|(instance, _)| **instance != self.me) {
            self.dialing.entry(instance.clone()).or_insert_with(|| {
                let dialing = dial(self.network.clone(), record.clone(), self.news.clone());
                #[expect(
                    clippy::disallowed_methods,
                    reason = "owned by the handle, which ends it when it is dropped"
                )]
                AbortOnDropHandle::new(tokio::spawn(dialing))
            });
        }
        closed
    }

    /// Takes a line that another replica opened.
    pub(super) fn take(&mut self, line: Incoming) {
        self.taken += 1;
        while self.pumps.try_join_next().is_some() {}
        self.pumps.spawn(answer(self.taken, line, self.news.clone()));
    }

    /// The next news. Safe to cancel.
    pub(super) async fn next(&mut self) -> Option<Change> {
        loop {
            let news = self.inbox.recv().await?;
            if let Some(change) = self.noted(news) {
                return Some(change);
            }
        }
    }

    /// The next news if there are some already.
    pub(super) fn ready(&mut self) -> Option<Change> {
        loop {
            let news = self.inbox.try_recv().ok()?;
            if let Some(change) = self.noted(news) {
                return Some(change);
            }
        }
    }

    fn noted(&mut self, news: News) -> Option<Change> {
        Some(match news {
            News::Linked { peer, requests } => {
                self.outgoing.insert(peer.clone(), requests);
                Change::Linked(peer)
            }
            News::Unlinked { peer } => {
                self.outgoing.remove(&peer);
                Change::Unlinked(peer)
            }
            News::Answered { from, answer } => Change::Answered { from, answer },
            News::Called { line, peer, answers } => {
                self.incoming.insert(line, (peer.clone(), answers));
                Change::Called(peer)
            }
            News::Uncalled { line, peer } => {
                self.incoming.remove(&line);
                // Another line of the same process stands.
                if self.incoming.values().any(|(other, _)| *other == peer) {
                    return None;
                }
                Change::Uncalled(peer)
            }
            News::Asked { line, from, request } if self.incoming.contains_key(&line) => {
                Change::Asked { from, request }
            }
            News::Asked { .. } => return None,
        })
    }

    /// Asks a peer. One that does not keep up is not asked: it hears the next one.
    pub(super) fn ask(&self, peer: &str, request: Request) {
        if let Some(requests) = self.outgoing.get(peer) {
            let _ = requests.try_send(request);
        }
    }

    /// Answers a peer, by its newest line.
    pub(super) fn reply(&self, peer: &str, answer: Answer) {
        let line = self.incoming.values().rev().find(|(caller, _)| caller == peer);
        if let Some((_, answers)) = line {
            let _ = answers.try_send(answer);
        }
    }
}

/// Opens a line again and again, and passes on what comes over it.
async fn dial(network: Arc<dyn Network>, to: ReplicaRecord, news: mpsc::Sender<News>) {
    let peer = to.instance.clone();
    let mut pause = FIRST_PAUSE;
    loop {
        match network.dial(&to).await {
            Ok(Outgoing { requests, mut answers }) => {
                pause = FIRST_PAUSE;
                let linked = News::Linked { peer: peer.clone(), requests };
                if news.send(linked).await.is_err() {
                    return;
                }
                while let Some(answer) = answers.recv().await {
                    if news.send(News::Answered { from: peer.clone(), answer }).await.is_err() {
                        return;
                    }
                }
                if news.send(News::Unlinked { peer: peer.clone() }).await.is_err() {
                    return;
                }
            }
            Err(why) => tracing::debug!(peer = to.name, why, "no line"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// Passes on what is asked over a line that another opened, until it ends.
async fn answer(line: u64, incoming: Incoming, news: mpsc::Sender<News>) {
    let Incoming { instance, mut requests, answers } = incoming;
    if news.send(News::Called { line, peer: instance.clone(), answers }).await.is_err() {
        return;
    }
    while let Some(request) = requests.recv().await {
        if news.send(News::Asked { line, from: instance.clone(), request }).await.is_err() {
            return;
        }
    }
    let _ = news.send(News::Uncalled { line, peer: instance }).await;
}

//! The lines to the other replicas: opened, kept, and what comes over them.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use om_kv::layout::ReplicaRecord;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::line::{Answer, Incoming, Network, Outgoing, Request};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// Lines that were opened and wait to be taken in.
const OPENED: usize = 64;

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

/// All lines of one replica. They are read by whoever asks for the next change, with no task and no queue between:
/// a beat passes here many times a second, and an answer that waits makes authority shorter.
pub(super) struct Lines {
    me: String,
    network: Arc<dyn Network>,
    opened: (mpsc::Sender<Opened>, mpsc::Receiver<Opened>),
    /// For each replica that a line is kept to: what opens it, or has opened it.
    dialing: BTreeMap<String, AbortOnDropHandle<()>>,
    /// Lines that stand, as this replica opened them: by the peer.
    outgoing: BTreeMap<String, (ReplicaRecord, Outgoing)>,
    /// Lines that stand, as others opened them: by their number.
    incoming: BTreeMap<u64, Incoming>,
    taken: u64,
}

/// A line that was opened to a replica.
type Opened = (ReplicaRecord, Outgoing);

impl Lines {
    pub(super) fn new(me: String, network: Arc<dyn Network>) -> Self {
        Self {
            me,
            network,
            opened: mpsc::channel(OPENED),
            dialing: BTreeMap::new(),
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
            taken: 0,
        }
    }

    /// Keeps a line to each of these replicas, and to no others. Gives the peers whose lines are closed by that.
    pub(super) fn keep(&mut self, replicas: &BTreeMap<String, ReplicaRecord>) -> Vec<String> {
        self.dialing.retain(|instance, _| replicas.contains_key(instance));
        let gone = self.outgoing.extract_if(.., |peer, _| !replicas.contains_key(peer));
        let closed = gone.map(|(peer, _)| peer).collect();
        for (instance, record) in replicas {
            if *instance != self.me && !self.dialing.contains_key(instance) {
                self.dial(record.clone(), Duration::ZERO);
            }
        }
        closed
    }

    /// Opens a line after a pause.
    fn dial(&mut self, to: ReplicaRecord, pause: Duration) {
        let instance = to.instance.clone();
        let dialing = dial(self.network.clone(), to, pause, self.opened.0.clone());
        #[expect(
            clippy::disallowed_methods,
            reason = "owned by the handle, which ends it when it is dropped"
        )]
        self.dialing.insert(instance, AbortOnDropHandle::new(tokio::spawn(dialing)));
    }

    /// Takes a line that another replica opened.
    pub(super) fn take(&mut self, line: Incoming) -> Change {
        let called = Change::Called(line.instance.clone());
        self.taken += 1;
        self.incoming.insert(self.taken, line);
        called
    }

    /// The next change. Safe to cancel.
    pub(super) async fn next(&mut self) -> Change {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// The next change if there is one already.
    pub(super) fn ready(&mut self) -> Option<Change> {
        match self.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(change) => Some(change),
            Poll::Pending => None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Change> {
        while let Poll::Ready(Some((to, line))) = self.opened.1.poll_recv(cx) {
            let peer = to.instance.clone();
            if self.dialing.contains_key(&peer) {
                self.outgoing.insert(peer.clone(), (to, line));
                return Poll::Ready(Change::Linked(peer));
            }
        }
        let answered = self.outgoing.iter_mut().find_map(|(peer, (_, line))| {
            ready(line.answers.as_mut().poll_next(cx)).map(|answer| (peer.clone(), answer))
        });
        match answered {
            Some((from, Some(answer))) => return Poll::Ready(Change::Answered { from, answer }),
            Some((peer, None)) => {
                if let Some((to, _)) = self.outgoing.remove(&peer) {
                    self.dial(to, FIRST_PAUSE);
                }
                return Poll::Ready(Change::Unlinked(peer));
            }
            None => {}
        }
        loop {
            let asked = self.incoming.iter_mut().find_map(|(number, line)| {
                ready(line.requests.as_mut().poll_next(cx)).map(|request| (*number, request))
            });
            let Some((number, request)) = asked else { return Poll::Pending };
            if let Some(request) = request {
                let Some(line) = self.incoming.get(&number) else { continue };
                return Poll::Ready(Change::Asked { from: line.instance.clone(), request });
            }
            let Some(Incoming { instance: peer, .. }) = self.incoming.remove(&number) else { continue };
            // Unless another line of the same process stands.
            if self.incoming.values().all(|line| line.instance != peer) {
                return Poll::Ready(Change::Uncalled(peer));
            }
        }
    }

    /// Asks a peer. One that does not keep up is not asked: it hears the next one.
    pub(super) fn ask(&self, peer: &str, request: Request) {
        if let Some((_, line)) = self.outgoing.get(peer) {
            let _ = line.requests.try_send(request);
        }
    }

    /// Answers a peer, by its newest line.
    pub(super) fn reply(&self, peer: &str, answer: Answer) {
        if let Some(line) = self.incoming.values().rev().find(|line| line.instance == peer) {
            let _ = line.answers.try_send(answer);
        }
    }
}

fn ready<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Tries to open a line until it stands.
async fn dial(
    network: Arc<dyn Network>,
    to: ReplicaRecord,
    mut pause: Duration,
    opened: mpsc::Sender<Opened>,
) {
    let mut next = FIRST_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        match network.dial(&to).await {
            Ok(line) => {
                // Nobody to take it: it is closed by being dropped.
                let _ = opened.send((to, line)).await;
                return;
            }
            Err(why) => tracing::debug!(peer = to.name, why, "no line"),
        }
        pause = next;
        next = (next * 2).min(LAST_PAUSE);
    }
}

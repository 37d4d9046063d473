//! The way to etcd, and everything that goes wrong on it.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use om_kv::{Error, Found, Granted, Keyspace, Op, Range, Result, Txn, TxnAnswer, Watching};
use tokio::sync::mpsc;

use super::model::failure;
use super::plant;
use crate::hub::{ETCD, Hub, Place, State};

/// A process's way to etcd.
pub(crate) struct SimKeyspace {
    hub: Hub,
    place: Place,
}

/// Over which an attempt is answered.
struct Line<T> {
    /// Which attempt it is.
    number: u32,
    to: mpsc::Sender<(u32, Result<T>)>,
}

/// What a call does, at some moment of the cluster's.
type Deed<T> = Box<dyn FnMut(&mut State, Duration) -> Result<T> + Send>;

/// After how long a silence the same is asked again, at first; then twice as long each time, up to [`LONGEST`].
const SILENCE: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);
/// Answers that may wait: only the first is of interest.
const ANSWERS: usize = 4;
/// How often what etcd cannot do at the moment is tried again.
const AGAIN: Duration = Duration::from_millis(4);

impl SimKeyspace {
    pub(crate) fn new(hub: Hub, place: Place) -> Self {
        Self { hub, place }
    }

    /// Asks, and asks again beside that where there is silence, as the client of etcd does: whichever answer comes first
    /// is the answer.
    async fn call<T: Send + 'static>(
        &self,
        what: String,
        writes: bool,
        patience: Duration,
        deed: impl FnMut(&mut State, Duration) -> Result<T> + Clone + Send + 'static,
    ) -> Result<T> {
        let (to, mut told) = mpsc::channel(ANSWERS);
        let mut sent = 0;
        let asking = async {
            let mut silence = SILENCE;
            for number in 1_u32.. {
                sent += u32::from(self.ask(writes, deed.clone(), Line { number, to: to.clone() }));
                let next = tokio::time::Instant::now() + silence;
                while let Ok(Some((attempt, answer))) = tokio::time::timeout_at(next, told.recv()).await {
                    // One that is older was given up, with its connection.
                    if attempt + 1 >= number {
                        return answer;
                    }
                }
                silence = (silence * 2).min(LONGEST);
            }
            std::future::pending().await
        };
        match tokio::time::timeout(patience, asking).await {
            // What else was sent may have been done, or may yet be.
            Ok(Err(Error::NoSpace(failure))) if sent > 1 && writes => Err(Error::Unclear(failure)),
            Ok(answer) => answer,
            Err(_) if sent > 0 && writes => Err(Error::Unclear(failure(what, "no answer"))),
            Err(_) => Err(Error::Unavailable(failure(what, "no answer"))),
        }
    }

    /// One attempt. False: there is no connection, and nothing was sent.
    fn ask<T: Send + 'static>(
        &self,
        writes: bool,
        deed: impl FnMut(&mut State, Duration) -> Result<T> + Send + 'static,
        line: Line<T>,
    ) -> bool {
        let (place, there) = (self.place, (self.place, ETCD));
        let (cut, known, lost) = {
            let state = &mut *self.hub.lock();
            (state.is_cut(there.0, there.1), state.dice.one_in(2), state.dice.one_in(3))
        };
        if cut && known {
            return false;
        }
        if !(cut && lost) {
            self.hub.send(there, Duration::ZERO, move |hub| {
                attempt(hub, place, writes, Box::new(deed), line);
            });
        }
        true
    }
}

/// Does it as soon as the cluster can, and sends the answer.
fn attempt<T: Send + 'static>(hub: &Hub, place: Place, writes: bool, deed: Deed<T>, line: Line<T>) {
    let now = hub.now();
    let (waits, slow) = {
        let etcd = &hub.lock().etcd;
        (etcd.away_until > now || (writes && etcd.stuck_until > now), etcd.slow)
    };
    if waits {
        return hub.after(AGAIN, move |hub| attempt(hub, place, writes, deed, line));
    }
    let slow = if slow.is_zero() { slow } else { hub.dice(|dice| dice.within(Duration::ZERO, slow)) };
    if slow > Duration::from_millis(1) && hub.dice(|dice| dice.one_in(2)) {
        return hub.after(slow, move |hub| finish(hub, place, writes, deed, line));
    }
    finish(hub, place, writes, deed, line);
}

fn finish<T: Send + 'static>(hub: &Hub, place: Place, writes: bool, mut deed: Deed<T>, line: Line<T>) {
    let now = hub.now();
    let (answer, again, lost) = {
        let state = &mut *hub.lock();
        let answer = deed(state, now);
        (answer, writes && state.dice.one_in(100), state.dice.one_in(400))
    };
    // Else a member that has done it dies before it says so.
    if !lost {
        hub.send((ETCD, place), Duration::ZERO, move |_| {
            // Who asked may have given up.
            let _ = line.to.try_send((line.number, answer));
        });
    }
    if again {
        // Sent twice, and the other one arrives late.
        let late = hub.dice(|dice| dice.within(Duration::ZERO, Duration::from_secs(2)));
        hub.after(late, move |hub| {
            let now = hub.now();
            // Nobody waits for this answer.
            let _ = deed(&mut hub.lock(), now);
        });
    }
}

impl fmt::Display for SimKeyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the model of etcd")
    }
}

#[async_trait]
impl Keyspace for SimKeyspace {
    fn name(&self) -> &'static str {
        "etcd"
    }

    async fn warm(&self, _: Duration) {}

    async fn range(&self, range: &Range, patience: Duration) -> Result<Found> {
        let own = range.clone();
        self.call(format!("read {range}"), false, patience, move |state, _| state.etcd.model.range(&own))
            .await
    }

    async fn txn(&self, txn: &Txn, patience: Duration) -> Result<TxnAnswer> {
        let (own, place) = (txn.clone(), self.place);
        let writes = !txn.only_reads();
        let puts = [&own.then, &own.otherwise].into_iter().flatten().any(|op| matches!(op, Op::Put { .. }));
        let done = self.call(txn.to_string(), writes, patience, move |state, now| {
            let State { etcd, plant, dice, .. } = state;
            let full = puts && etcd.full_until > now;
            let no_room = || Err(Error::NoSpace(failure(&own, "no room")));
            if full && !dice.one_in(4) {
                return no_room();
            }
            let done = etcd.model.txn(&plant::instead(*plant, &own, &etcd.model));
            if let Ok(answer) = &done {
                etcd.did(place, &own, answer);
            }
            if full { no_room() } else { done.map(|answer| plant::retold(*plant, &own, answer)) }
        });
        done.await
    }

    fn watch(&self, prefix: &str, from: i64) -> Watching {
        self.hub.watch(self.place, prefix, from)
    }

    async fn grant(&self, ttl: Duration, patience: Duration) -> Result<Granted> {
        let granted = self.call("grant a lease".to_owned(), false, patience, move |state, now| {
            if state.etcd.full_until > now {
                return Err(Error::NoSpace(failure("grant a lease", "no room")));
            }
            Ok(state.etcd.model.grant(now, ttl))
        });
        granted.await
    }

    async fn keep_alive_once(&self, id: i64, patience: Duration) -> Result<()> {
        let kept = self.call("keep alive".to_owned(), false, patience, move |state, now| {
            state.etcd.model.keep_alive(now, id)
        });
        kept.await
    }

    async fn revoke(&self, id: i64, patience: Duration) -> Result<()> {
        let revoked = self.call("revoke".to_owned(), false, patience, move |state, _| {
            state.etcd.model.revoke(id);
            Ok(())
        });
        revoked.await
    }
}

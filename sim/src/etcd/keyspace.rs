//! The way to etcd, and everything that goes wrong on it.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use om_kv::{Error, Found, Granted, Keyspace, Op, Range, Result, Txn, TxnAnswer, Watching};
use tokio::sync::oneshot;

use super::model::failure;
use super::plant;
use crate::hub::{ETCD, Hub, Place, State};

/// A process's way to etcd.
pub(crate) struct SimKeyspace {
    hub: Hub,
    place: Place,
}

/// What a call does, at some moment of the cluster's.
type Deed<T> = Box<dyn FnMut(&mut State, Duration) -> Result<T> + Send>;

/// How often what etcd cannot do at the moment is tried again.
const AGAIN: Duration = Duration::from_millis(4);

impl SimKeyspace {
    pub(crate) fn new(hub: Hub, place: Place) -> Self {
        Self { hub, place }
    }

    async fn call<T: Send + 'static>(
        &self,
        what: String,
        writes: bool,
        patience: Duration,
        deed: impl FnMut(&mut State, Duration) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let there = (self.place, ETCD);
        let (cut, known, lost) = {
            let state = &mut *self.hub.lock();
            (state.is_cut(there.0, there.1), state.dice.one_in(2), state.dice.one_in(3))
        };
        let place = self.place;
        // No connection: sometimes that is known at once.
        if cut && known {
            let wait = patience.min(Duration::from_millis(100));
            // sleeps: an attempt to connect takes its time
            tokio::time::sleep(wait).await;
            return Err(Error::Unavailable(failure(what, "cannot connect")));
        }
        let (tell, told) = oneshot::channel();
        if !(cut && lost) {
            self.hub.send(there, Duration::ZERO, move |hub| {
                attempt(hub, place, writes, Box::new(deed), tell);
            });
        }
        match tokio::time::timeout(patience, told).await {
            Ok(Ok(answer)) => answer,
            _ if writes => Err(Error::Unclear(failure(what, "no answer"))),
            _ => Err(Error::Unavailable(failure(what, "no answer"))),
        }
    }
}

/// Does it as soon as the cluster can, and sends the answer.
fn attempt<T: Send + 'static>(
    hub: &Hub,
    place: Place,
    writes: bool,
    deed: Deed<T>,
    tell: oneshot::Sender<Result<T>>,
) {
    let now = hub.now();
    let (waits, slow) = {
        let etcd = &hub.lock().etcd;
        (etcd.away_until > now || (writes && etcd.stuck_until > now), etcd.slow)
    };
    if waits {
        return hub.after(AGAIN, move |hub| attempt(hub, place, writes, deed, tell));
    }
    let slow = if slow.is_zero() { slow } else { hub.dice(|dice| dice.within(Duration::ZERO, slow)) };
    if slow > Duration::from_millis(1) && hub.dice(|dice| dice.one_in(2)) {
        return hub.after(slow, move |hub| finish(hub, place, writes, deed, tell));
    }
    finish(hub, place, writes, deed, tell);
}

fn finish<T: Send + 'static>(
    hub: &Hub,
    place: Place,
    writes: bool,
    mut deed: Deed<T>,
    tell: oneshot::Sender<Result<T>>,
) {
    let now = hub.now();
    let (answer, again, lost) = {
        let state = &mut *hub.lock();
        let answer = deed(state, now);
        (answer, writes && state.dice.one_in(100), state.dice.one_in(400))
    };
    if lost {
        // A member that has done it dies before it says so.
        hub.after(Duration::from_secs(10), move |_| drop(tell));
    } else {
        hub.send((ETCD, place), Duration::ZERO, move |_| {
            // Who asked may have given up.
            let _ = tell.send(answer);
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
        let own = txn.clone();
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
            if full { no_room() } else { done }
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

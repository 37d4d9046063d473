//! Seeing the election, and being seen there.

use std::sync::Arc;
use std::time::Duration;

use om_kv::layout::ReplicaRecord;
use om_kv::{Error, Event};
use tokio::sync::watch;

use super::places::Places;
use super::records::Election;
use super::register::Register;

/// How long one look may take.
const LOOK: Duration = Duration::from_secs(2);
/// The pause after a look that failed.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the keyspace may be silent before it counts as unseen. It tells its progress far more often.
const SILENCE: Duration = Duration::from_secs(6);

/// What a replica sees of the election.
#[derive(Clone, Debug)]
pub(super) enum Sighting {
    /// This, as it was at a revision.
    Seen { election: Arc<Election>, revision: i64 },
    /// Nothing, and why.
    Blind(String),
}

/// Keeps the newest sighting at hand, for ever.
pub(super) async fn see(register: Register, seen: watch::Sender<Option<Sighting>>) {
    loop {
        match register.look(LOOK).await {
            Ok((election, revision)) => {
                seen.send_replace(Some(sighting(&election, revision)));
                let why = follow(&register, election, revision, &seen).await;
                tracing::debug!(why, "looking at the election afresh");
            }
            Err(why) => {
                seen.send_replace(Some(Sighting::Blind(why)));
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn sighting(election: &Election, revision: i64) -> Sighting {
    Sighting::Seen { election: Arc::new(election.clone()), revision }
}

/// Follows the election from a revision on, until that is not possible any more.
async fn follow(
    register: &Register,
    mut election: Election,
    mut revision: i64,
    seen: &watch::Sender<Option<Sighting>>,
) -> String {
    let mut watching = register.watch(revision);
    let mut blind = false;
    loop {
        let batch = match tokio::time::timeout(SILENCE, watching.next()).await {
            Err(_) => {
                let why = format!("{} has said nothing for {SILENCE:?}", register.kv);
                seen.send_replace(Some(Sighting::Blind(why)));
                blind = true;
                continue;
            }
            Ok(None) => return "the watch ended".to_owned(),
            Ok(Some(Err(error))) => return error.to_string(),
            Ok(Some(Ok(batch))) => batch,
        };
        if let Err(why) = register.learn(batch.header) {
            return why;
        }
        for event in &batch.events {
            // Not the batch's: that member may be further than what it has told.
            let (kv, at) = match event {
                Event::Put(kv) => (Some(kv), kv.modified),
                Event::Delete { revision, .. } => (None, *revision),
            };
            revision = revision.max(at);
            if let Err(why) = register.take(&mut election, event.key(), kv) {
                return why;
            }
        }
        if !batch.events.is_empty() || std::mem::take(&mut blind) {
            blind = false;
            seen.send_replace(Some(sighting(&election, revision)));
        }
    }
}

/// Keeps this replica's record under a lease, for ever: from when it is known where it stands, where that matters, and anew
/// when it stands elsewhere, or when `seen` says that the record is gone.
pub(super) async fn be_seen(
    register: Register,
    mut replica: ReplicaRecord,
    ttl: Duration,
    mut places: Option<watch::Receiver<Places>>,
    mut seen: watch::Receiver<Option<Sighting>>,
) {
    loop {
        let here = here(&mut places).await;
        replica.place = here.clone().unwrap_or_default();
        match enter(&register, &replica, ttl).await {
            Ok((lease, revision)) => {
                tracing::debug!(instance = replica.instance, lease, "this replica is recorded");
                let why = tokio::select! {
                    why = keep(&register, lease, ttl) => why,
                    () = gone(&mut seen, &replica.instance, revision) => "the record is gone".to_owned(),
                    () = elsewhere(&mut places, here.as_ref()) => "this replica stands elsewhere".to_owned(),
                };
                tracing::info!(why, "the lease is lost; entering anew");
            }
            Err(error) => {
                tracing::debug!(%error, "cannot enter this replica's record");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Where this replica stands, as soon as that is known. `None`: it does not matter.
async fn here(places: &mut Option<watch::Receiver<Places>>) -> Option<String> {
    let known = places.as_mut()?.wait_for(|places| places.here.is_some()).await;
    let known = known.ok().map(|places| places.here.clone());
    match known {
        Some(here) => here,
        // Nobody will tell any more.
        None => std::future::pending().await,
    }
}

/// Returns when this replica is known to stand elsewhere.
async fn elsewhere(places: &mut Option<watch::Receiver<Places>>, here: Option<&String>) {
    let moved = |places: &Places| places.here.is_some() && places.here.as_ref() != here;
    let told = match places {
        Some(places) => places.wait_for(moved).await.is_ok(),
        None => false,
    };
    if !told {
        std::future::pending::<()>().await;
    }
}

/// Returns when a replica's record, which was written at a revision, is not there in what is seen from then on. That it was
/// there need not have been seen: of what changes quickly only the last is told.
async fn gone(seen: &mut watch::Receiver<Option<Sighting>>, instance: &str, written: i64) {
    let told = seen.wait_for(|sighting| match sighting {
        Some(Sighting::Seen { election, revision }) => {
            *revision >= written && !election.replicas.contains_key(instance)
        }
        Some(Sighting::Blind(_)) | None => false,
    });
    if told.await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Puts a replica's record under a new lease: the lease, and the revision of the record.
async fn enter(register: &Register, replica: &ReplicaRecord, ttl: Duration) -> Result<(i64, i64), Error> {
    let lease = register.kv.grant(ttl, LOOK).await?.id;
    let entered = register.enter(replica, lease).await;
    if entered.is_err() {
        // A record that was written all the same goes with the lease.
        let _ = register.kv.revoke(lease, PAUSE).await;
    }
    entered.map(|revision| (lease, revision))
}

/// Keeps a lease alive for as long as that works.
async fn keep(register: &Register, lease: i64, ttl: Duration) -> String {
    loop {
        tokio::time::sleep(ttl / 3).await;
        // Tried until it is known to be gone: while a cluster has no leader, no lease runs out either.
        loop {
            match register.kv.keep_alive_once(lease, LOOK).await {
                Ok(()) => break,
                Err(error @ Error::LeaseGone(_)) => return error.to_string(),
                Err(error) => {
                    tracing::debug!(%error, "the lease is not kept alive");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn waits(future: Pin<&mut impl Future<Output = ()>>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())) == Poll::Pending
    }

    fn recorded() -> Election {
        let record = ReplicaRecord {
            name: "a".to_owned(),
            instance: "a-0".to_owned(),
            host: String::new(),
            endpoint: String::new(),
            socket: String::new(),
            place: String::new(),
        };
        Election { replicas: [("a-0".to_owned(), record)].into(), ..Election::default() }
    }

    #[test]
    fn a_record_that_went_before_it_was_seen_is_gone() {
        let (tell, mut seen) = watch::channel(None);
        let mut waiting = pin!(gone(&mut seen, "a-0", 7));
        assert!(waits(waiting.as_mut()), "nothing is seen");
        let not_yet = [sighting(&Election::default(), 6), Sighting::Blind("fog".to_owned())];
        for before in not_yet {
            tell.send_replace(Some(before));
            assert!(waits(waiting.as_mut()), "the record is still to be seen");
        }
        tell.send_replace(Some(sighting(&recorded(), 7)));
        tell.send_replace(Some(sighting(&Election::default(), 8)));
        assert!(!waits(waiting.as_mut()), "only its absence was told");
    }

    #[test]
    fn a_record_that_is_seen_is_not_gone() {
        let (_tell, mut seen) = watch::channel(Some(sighting(&recorded(), 9)));
        assert!(waits(pin!(gone(&mut seen, "a-0", 7))));
    }
}

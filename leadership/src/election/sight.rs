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
const SILENCE: Duration = Duration::from_secs(4);

/// What a replica sees of the election.
#[derive(Clone, Debug)]
pub(super) enum Sighting {
    /// This.
    Seen(Arc<Election>),
    /// Nothing, and why.
    Blind(String),
}

/// Keeps the newest sighting at hand, for ever.
pub(super) async fn see(register: Register, seen: watch::Sender<Option<Sighting>>) {
    loop {
        match register.look(LOOK).await {
            Ok((election, revision)) => {
                seen.send_replace(Some(Sighting::Seen(Arc::new(election.clone()))));
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

/// Follows the election from a revision on, until that is not possible any more.
async fn follow(
    register: &Register,
    mut election: Election,
    revision: i64,
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
            let kv = match event {
                Event::Put(kv) => Some(kv),
                Event::Delete { .. } => None,
            };
            if let Err(why) = register.take(&mut election, event.key(), kv) {
                return why;
            }
        }
        if !batch.events.is_empty() || std::mem::take(&mut blind) {
            blind = false;
            seen.send_replace(Some(Sighting::Seen(Arc::new(election.clone()))));
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
            Ok(lease) => {
                tracing::debug!(instance = replica.instance, lease, "this replica is recorded");
                let why = tokio::select! {
                    why = keep(&register, lease, ttl) => why,
                    () = gone(&mut seen, &replica.instance) => "the record is gone".to_owned(),
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

/// Returns when a replica's record has been seen, and then was not there any more.
async fn gone(seen: &mut watch::Receiver<Option<Sighting>>, instance: &str) {
    for there in [true, false] {
        let told = seen.wait_for(|sighting| match sighting {
            Some(Sighting::Seen(election)) => election.replicas.contains_key(instance) == there,
            Some(Sighting::Blind(_)) | None => false,
        });
        if told.await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn enter(register: &Register, replica: &ReplicaRecord, ttl: Duration) -> Result<i64, Error> {
    let granted = register.kv.grant(ttl, LOOK).await?;
    if let Err(error) = register.enter(replica, granted.id).await {
        // A record that was written all the same goes with the lease.
        let _ = register.kv.revoke(granted.id, PAUSE).await;
        return Err(error);
    }
    Ok(granted.id)
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

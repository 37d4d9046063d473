//! One reign after another: what the campaign says becomes a reign that begins, or ends.

use std::time::Duration;

use om_leadership::{Mandate, Standing};
use om_store::{Head, Store};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::office::Bench;
use crate::reign::{Opening, Realm, Reign};

/// How often what could not be seen is looked for again; and who leads, where nobody tells of a change: a refusal names the leader
/// without asking the store.
const LOOK: Duration = Duration::from_millis(500);

/// Follows the standing until it is told to stop; then ends the reign that is on.
pub(crate) async fn succeed(
    realm: Realm,
    office: Arc<dyn Bench>,
    mut standing: watch::Receiver<Standing>,
    current: watch::Sender<Option<Reign>>,
    stop: CancellationToken,
) {
    let own = realm.clone();
    office.open_with(Arc::new(move |stopped| Opening::make(&own, stopped)));
    loop {
        let now = standing.borrow_and_update().clone();
        let ended = current.borrow().as_ref().map(|reign| reign.over().clone());
        match (now, ended) {
            (Standing::Leading(mandate), None) => begin(&realm, &*office, mandate, &current, &stop).await,
            (Standing::Leading(mandate), Some(ended)) if ended.is_cancelled() => {
                end(&*office, &current).await;
                begin(&realm, &*office, mandate, &current, &stop).await;
            }
            (Standing::Following { .. } | Standing::Unknown { .. }, Some(_)) => end(&*office, &current).await,
            _ => {}
        }
        if standing.has_changed().unwrap_or(false) {
            continue;
        }
        let over = current.borrow().as_ref().map(|reign| reign.over().clone());
        tokio::select! {
            () = stop.cancelled() => break,
            changed = standing.changed() => if changed.is_err() { break },
            () = async { over.unwrap_or_default().cancelled().await } => end(&*office, &current).await,
        }
    }
    end(&*office, &current).await;
}

async fn begin(
    realm: &Realm,
    office: &dyn Bench,
    mandate: Mandate,
    current: &watch::Sender<Option<Reign>>,
    stop: &CancellationToken,
) {
    let term = mandate.term();
    let Some(granted) = office.granted(term) else {
        debug!(term, "a mandate without a token is not ruled under");
        return;
    };
    // The first write may hang with the store: then neither the end of the mandate nor a shutdown waits for it.
    let ended = mandate.ended().clone();
    let begun = tokio::select! {
        begun = Reign::begin(realm.clone(), mandate, granted) => begun,
        () = ended.cancelled() => return,
        () = stop.cancelled() => return,
    };
    match begun {
        Ok(reign) => drop(current.send_replace(Some(reign))),
        Err(error) => {
            warn!(term, %error, "cannot begin to rule; giving the term up");
            office.forfeit(term);
        }
    }
}

async fn end(office: &dyn Bench, current: &watch::Sender<Option<Reign>>) {
    if let Some(reign) = current.send_replace(None) {
        office.ended(reign.end().await).await;
    }
}

/// Loads the state as soon as that works; from then on a store that can follow what others write does so, and a takeover
/// has nothing to load.
pub(crate) async fn keep_warm(store: Arc<dyn Store>) {
    while let Err(error) = store.load().await {
        debug!(%error, "the state is not loaded yet");
        tokio::time::sleep(LOOK).await;
    }
}

/// Keeps the newest head at hand: looks whenever the standing changes, and now and then; where an election tells of the newest term,
/// only until that was seen, and when there is another.
pub(crate) async fn look_at_head(
    store: Arc<dyn Store>,
    mut standing: watch::Receiver<Standing>,
    mut term: Option<watch::Receiver<u64>>,
    head: watch::Sender<Option<Head>>,
) {
    loop {
        let told = term.as_mut().map(|term| *term.borrow_and_update());
        let mut settled = false;
        match tokio::time::timeout(LOOK * 4, store.head()).await {
            Ok(Ok(now)) => {
                settled = told.is_some_and(|told| now.term().0 >= told);
                head.send_replace(Some(now));
            }
            Ok(Err(error)) => debug!(%error, "cannot see who holds the claim"),
            Err(_) => debug!("the store does not say who holds the claim"),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK), if !settled => {}
            changed = standing.changed() => if changed.is_err() { return },
            Some(Ok(())) = async { Some(term.as_mut()?.changed().await) } => {}
        }
    }
}

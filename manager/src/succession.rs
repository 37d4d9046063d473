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
        let over = current.borrow().as_ref().map(|reign| reign.over().is_cancelled());
        let (ends, mandate) = next(now, over);
        if ends {
            end(&*office, &current).await;
        }
        if let Some(mandate) = mandate {
            begin(&realm, &*office, mandate, &current, &stop).await;
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

/// Whether the reign that is on ends, and under which mandate another one begins. `over`: whether the one that is on is over;
/// none: there is none.
fn next(standing: Standing, over: Option<bool>) -> (bool, Option<Mandate>) {
    match standing {
        // One that has ended is none: the standing is about to say so. Taken for one, it would begin again and again.
        Standing::Leading(mandate) if mandate.ended().is_cancelled() => (over == Some(true), None),
        Standing::Leading(_) if over == Some(false) => (false, None),
        Standing::Leading(mandate) => (over.is_some(), Some(mandate)),
        Standing::Following { .. } | Standing::Unknown { .. } => (over.is_some(), None),
    }
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
        biased;
        () = ended.cancelled() => return,
        () = stop.cancelled() => return,
        begun = Reign::begin(realm.clone(), mandate, granted) => begun,
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
        let ended = reign.end().await;
        // It may have ended while the claim stands: nothing is ruled or written under this term any more.
        office.forfeit(ended.token.term().0);
        office.ended(ended).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn mandate() -> (Mandate, CancellationToken) {
        let ended = CancellationToken::new();
        let (_, deadline) = watch::channel(Duration::MAX);
        (Mandate::new(7, Arc::new(|| Duration::ZERO), deadline, ended.clone()), ended)
    }

    /// Whether the reign that is on ends, and the term of the one that begins.
    fn told(standing: &Standing, over: Option<bool>) -> (bool, Option<u64>) {
        let (ends, mandate) = next(standing.clone(), over);
        (ends, mandate.map(|mandate| mandate.term()))
    }

    #[test]
    fn a_mandate_is_ruled_under_once() {
        let (mandate, _ended) = mandate();
        let leading = Standing::Leading(mandate);
        assert_eq!(told(&leading, None), (false, Some(7)));
        assert_eq!(told(&leading, Some(false)), (false, None));
        assert_eq!(
            told(&leading, Some(true)),
            (true, Some(7)),
            "a new mandate, seen before the end of the old one"
        );
    }

    #[test]
    fn a_mandate_that_has_ended_begins_nothing_though_the_standing_does_not_say_so_yet() {
        let (mandate, ended) = mandate();
        ended.cancel();
        let leading = Standing::Leading(mandate);
        assert_eq!(told(&leading, Some(true)), (true, None));
        assert_eq!(told(&leading, None), (false, None));
    }

    #[test]
    fn who_does_not_lead_ends_what_is_on() {
        let following = Standing::Following { leader: None };
        assert_eq!(told(&following, Some(false)), (true, None));
        assert_eq!(told(&following, None), (false, None));
    }
}

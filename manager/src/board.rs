//! How every service is, as far as this reign knows, and who wants to hear of it.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use om_api::v1;
use om_store::Store;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::records::{SERVICES, key};

/// How many observations a watcher may lag behind before it is brought up to date as a whole.
const BACKLOG: usize = 1024;

/// The last word on one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The revision of the declaration that this speaks of.
    pub(crate) revision: u64,
    pub(crate) phase: v1::Phase,
    pub(crate) message: Box<str>,
    /// Whether the plugin itself is looking after that revision: then it knows best.
    pub(crate) attended: bool,
}

/// The name of a service: its key in the store, which is in memory once for both.
#[derive(Debug)]
struct Name(Arc<str>);

/// A change of the board.
#[derive(Clone, Debug)]
pub(crate) struct Observation {
    pub(crate) service: String,
    pub(crate) standing: Standing,
}

/// The board. One per reign.
pub(crate) struct Board {
    store: Arc<dyn Store>,
    standings: Mutex<HashMap<Name, Standing>>,
    changes: broadcast::Sender<Observation>,
}

impl Board {
    /// With room for what is declared: a table that grows leaves holes of its earlier sizes in the memory.
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        let standings = Mutex::new(HashMap::with_capacity(store.view().count(SERVICES)));
        Self { store, standings, changes: broadcast::channel(BACKLOG).0 }
    }

    pub(crate) fn get(&self, service: &str) -> Option<Standing> {
        self.lock().get(service).cloned()
    }

    /// Every standing, for a watcher that arrives or was left behind.
    pub(crate) fn all(&self) -> Vec<Observation> {
        let standings = self.lock();
        let all = standings.iter();
        all.map(|(service, standing)| Observation {
            service: service.as_str().to_owned(),
            standing: standing.clone(),
        })
        .collect()
    }

    pub(crate) fn watch(&self) -> broadcast::Receiver<Observation> {
        self.changes.subscribe()
    }

    /// Takes in what is known now. What speaks of an older revision than is known is ignored.
    pub(crate) fn set(&self, service: &str, standing: Standing) {
        let mut standings = self.lock();
        self.put(&mut standings, service, standing);
    }

    /// Takes in the answer to a commit, unless the plugin's own word on that revision came first: it is newer. Returns
    /// false, and takes nothing in, if the session that was asked is over: whoever serves the kind next was told nothing.
    pub(crate) fn answered(&self, service: &str, standing: Standing, session: &CancellationToken) -> bool {
        let mut standings = self.lock();
        // Looked at under the lock: a session is closed first, and what it attends is noted as unattended then.
        if session.is_cancelled() {
            return false;
        }
        let known = standings.get(service);
        if !known.is_some_and(|known| known.attended && known.revision == standing.revision) {
            self.put(&mut standings, service, standing);
        }
        true
    }

    /// The session of the plugin of these services is over: what it said last no longer counts.
    pub(crate) fn unattended<'a>(&self, services: impl IntoIterator<Item = &'a str>, why: &str) {
        for service in services {
            let mut standings = self.lock();
            let Some(known) = standings.get(service).filter(|known| known.attended) else { continue };
            let phase = if known.phase == v1::Phase::Destroying { known.phase } else { v1::Phase::Pending };
            let standing = Standing { phase, message: why.into(), attended: false, revision: known.revision };
            self.put(&mut standings, service, standing);
        }
    }

    fn put(&self, standings: &mut HashMap<Name, Standing>, service: &str, standing: Standing) {
        match standings.get_mut(service) {
            Some(known) if known.revision > standing.revision || *known == standing => return,
            Some(known) => *known = standing.clone(),
            None => {
                let name = Name(self.store.view().key(&key(SERVICES, service)));
                standings.insert(name, standing.clone());
            }
        }
        // No receiver is no error: nobody watches.
        let _ = self.changes.send(Observation { service: service.to_owned(), standing });
    }

    pub(crate) fn forget(&self, service: &str) {
        self.lock().remove(service);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Name, Standing>> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Name {
    fn as_str(&self) -> &str {
        self.0.strip_prefix(SERVICES).unwrap_or(&self.0)
    }
}

// A name is found by its text.
impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Name {}

#[cfg(test)]
mod tests {
    use om_store::memory::MemoryStore;
    use om_store::testing::candidate;
    use om_store::{Change, Term};

    use super::*;

    fn board() -> Board {
        Board::new(Arc::new(MemoryStore::new().handle()))
    }

    fn standing(revision: u64, phase: v1::Phase) -> Standing {
        Standing { revision, phase, message: Box::default(), attended: true }
    }

    #[test]
    fn what_speaks_of_an_older_revision_is_ignored() {
        let board = board();
        board.set("web", standing(5, v1::Phase::Pending));
        board.set("web", standing(4, v1::Phase::Ready));
        assert_eq!(board.get("web").map(|s| s.phase), Some(v1::Phase::Pending));
    }

    #[test]
    fn the_plugins_own_word_is_not_undone_by_the_answer_to_its_commit() {
        let board = board();
        board.set("web", Standing { attended: false, ..standing(1, v1::Phase::Pending) });
        board.set("web", standing(1, v1::Phase::Ready));
        let session = CancellationToken::new();
        assert!(board.answered("web", standing(1, v1::Phase::Pending), &session));
        assert_eq!(board.get("web").map(|s| s.phase), Some(v1::Phase::Ready));
        assert!(board.answered("web", standing(2, v1::Phase::Pending), &session));
        assert_eq!(board.get("web").map(|s| s.phase), Some(v1::Phase::Pending));
    }

    #[test]
    fn an_answer_that_comes_after_its_session_does_not_count() {
        let board = board();
        board.set("web", Standing { attended: false, ..standing(1, v1::Phase::Pending) });
        let session = CancellationToken::new();
        session.cancel();
        board.unattended(["web"], "plugin lost");
        assert!(!board.answered("web", standing(1, v1::Phase::Ready), &session));
        assert_eq!(board.get("web").map(|s| (s.phase, s.attended)), Some((v1::Phase::Pending, false)));
    }

    #[test]
    fn the_same_standing_is_told_once() {
        let board = board();
        let mut changes = board.watch();
        board.set("web", standing(1, v1::Phase::Ready));
        board.set("web", standing(1, v1::Phase::Ready));
        assert_eq!(changes.try_recv().map(|o| o.service).ok(), Some("web".to_owned()));
        assert!(changes.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_name_is_in_memory_once_for_the_store_and_the_board() {
        let store = Arc::new(MemoryStore::new().handle());
        let token = store.claim(&candidate("a"), Term(0)).await.expect("claimed");
        let change = Change::at(0).put(key(SERVICES, "web"), "");
        store.append(&token, change).await.expect("declared");
        let before = Arc::strong_count(&store.view().key(&key(SERVICES, "web")));
        let board = Board::new(store.clone());
        board.set("web", standing(1, v1::Phase::Pending));
        board.set("web", standing(1, v1::Phase::Ready));
        assert_eq!(Arc::strong_count(&store.view().key(&key(SERVICES, "web"))), before + 1);
        assert_eq!(board.get("web").map(|s| s.phase), Some(v1::Phase::Ready));
    }

    #[test]
    fn a_lost_plugin_takes_its_word_with_it() {
        let board = board();
        board.set("web", standing(1, v1::Phase::Ready));
        board.unattended(["web", "other"], "plugin lost");
        let now = board.get("web").expect("known");
        assert_eq!((now.phase, now.attended, &*now.message), (v1::Phase::Pending, false, "plugin lost"));
    }
}

//! The memory backend: for tests, and for a manager whose state need not outlive it.
//!
//! Several handles can share one store; they are as strict with each other as those of any backend. "Durable" means:
//! as long as one handle or the [`MemoryStore`] lives.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use tokio::sync::watch;
use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;

use crate::{
    Candidate, Change, Claim, Entry, Error, Head, Result, Revision, Store, Term, Token, View, Watch,
    wall_unix_ms,
};

/// A store in memory. Clones and [handles](MemoryStore::handle) share it.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    cluster: String,
    state: Mutex<State>,
    changed: watch::Sender<Revision>,
}

#[derive(Default)]
struct State {
    claim: Option<Claim>,
    image: View,
    /// The entries after revision `base`.
    entries: Vec<Entry>,
    base: Revision,
}

/// One replica's handle on a [`MemoryStore`].
pub struct MemoryHandle {
    shared: Arc<Shared>,
    view: View,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        let shared = Shared {
            cluster: uuid::Uuid::new_v4().to_string(),
            state: Mutex::default(),
            changed: watch::Sender::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// One more handle on it.
    #[must_use]
    pub fn handle(&self) -> MemoryHandle {
        MemoryHandle { shared: self.shared.clone(), view: View::default() }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn term(&self) -> Term {
        self.claim.as_ref().map_or(Term(0), |claim| claim.term)
    }

    fn holds(&self, token: &Token, cluster: &str) -> Result<()> {
        let newest = self.claim.as_ref().filter(|claim| claim.term == token.term() && !claim.released);
        if newest.is_some() && token.cluster() == cluster {
            return Ok(());
        }
        Err(Error::Fenced { own: token.term(), newest: self.term() })
    }
}

impl MemoryHandle {
    fn catch_up(&self, state: &State) {
        if self.view.revision() < state.base {
            self.view.replace(state.image.image());
        }
        state.entries.iter().for_each(|entry| self.view.apply(entry));
    }
}

#[async_trait]
impl Store for MemoryHandle {
    fn location(&self) -> String {
        "memory".to_owned()
    }

    fn view(&self) -> &View {
        &self.view
    }

    async fn head(&self) -> Result<Head> {
        Ok(Head { cluster: self.shared.cluster.clone(), claim: self.shared.lock().claim.clone() })
    }

    async fn load(&self) -> Result<Head> {
        let state = self.shared.lock();
        self.catch_up(&state);
        Ok(Head { cluster: self.shared.cluster.clone(), claim: state.claim.clone() })
    }

    async fn claim(&self, candidate: &Candidate, seen: Term) -> Result<Token> {
        let mut state = self.shared.lock();
        let newest = state.term();
        if newest != seen {
            return Err(Error::Outrun { seen, newest });
        }
        let term = Term(newest.0 + 1);
        let claim = Claim {
            term,
            candidate: candidate.clone(),
            released: false,
            successor: None,
            time_unix_ms: wall_unix_ms(),
        };
        let previous = state.claim.replace(claim);
        self.catch_up(&state);
        Ok(Token::new(term, self.shared.cluster.clone(), previous))
    }

    async fn confirm(&self, token: &Token) -> Result<()> {
        self.shared.lock().holds(token, &self.shared.cluster)
    }

    async fn release(&self, token: Token, successor: Option<&str>) -> Result<()> {
        let mut state = self.shared.lock();
        state.holds(&token, &self.shared.cluster)?;
        if let Some(claim) = &mut state.claim {
            claim.released = true;
            claim.successor = successor.map(str::to_owned);
        }
        Ok(())
    }

    async fn append(&self, token: &Token, change: Change) -> Result<Revision> {
        let mut state = self.shared.lock();
        state.holds(token, &self.shared.cluster)?;
        state.image.check(&change.preconditions)?;
        let revision = state.image.revision() + 1;
        let Change { ops, time_unix_ms, .. } = change;
        let entry = Entry { revision, term: token.term().0, time_unix_ms, ops };
        state.image.apply(&entry);
        self.catch_up(&state);
        self.view.apply(&entry);
        state.entries.push(entry);
        drop(state);
        self.shared.changed.send_replace(revision);
        Ok(revision)
    }

    async fn compact(&self, token: &Token, keep: u64) -> Result<Revision> {
        let mut state = self.shared.lock();
        state.holds(token, &self.shared.cluster)?;
        let revision = state.image.revision();
        let base = state.base.max(revision.saturating_sub(keep));
        state.entries.retain(|entry| entry.revision > base);
        state.base = base;
        Ok(revision)
    }

    async fn watch(&self, after: Revision) -> Result<Watch> {
        let (next, first) = next(&self.shared, after)?;
        let changes = WatchStream::from_changes(self.shared.changed.subscribe());
        let ready = first.into_iter().rev().collect();
        // What came between the look and the subscription is found at the next look, which is at once.
        Ok(Box::pin(Following { shared: self.shared.clone(), changes, ready, next }))
    }
}

/// The entries after a revision, and the last revision with them.
fn next(shared: &Shared, after: Revision) -> Result<(Revision, Vec<Entry>)> {
    let state = shared.lock();
    if after < state.base {
        return Err(Error::Compacted { after, oldest: state.base });
    }
    let entries: Vec<Entry> = state.entries.iter().filter(|entry| entry.revision > after).cloned().collect();
    Ok((entries.last().map_or(after, |entry| entry.revision), entries))
}

struct Following {
    shared: Arc<Shared>,
    changes: WatchStream<Revision>,
    /// Newest first.
    ready: Vec<Entry>,
    /// What comes after these: after this revision.
    next: Revision,
}

impl Stream for Following {
    type Item = Result<Entry>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(entry) = self.ready.pop() {
                return Poll::Ready(Some(Ok(entry)));
            }
            // Registered for the next change before the look: nothing falls in between.
            let pending = Pin::new(&mut self.changes).poll_next(context).is_pending();
            match next(&self.shared, self.next) {
                Ok((next, entries)) => {
                    self.next = next;
                    self.ready = entries.into_iter().rev().collect();
                }
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            if self.ready.is_empty() && pending {
                return Poll::Pending;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> impl crate::testing::Site {
        let store = MemoryStore::new();
        move || -> Box<dyn Store> { Box::new(store.handle()) }
    }

    crate::conformance_tests!(site);
}

//! What stands before a replica's store where a mistake is planted there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use om_store::{Candidate, Change, Head, Result, Revision, Store, Term, Token, View, Watch};

/// A store whose state counts as empty once it could not be loaded.
pub(crate) struct Forgetful {
    store: Arc<dyn Store>,
    failed: AtomicBool,
    nothing: View,
}

impl Forgetful {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, failed: AtomicBool::new(false), nothing: View::default() }
    }
}

#[async_trait]
impl Store for Forgetful {
    fn location(&self) -> String {
        self.store.location()
    }

    fn view(&self) -> &View {
        if self.failed.load(Ordering::SeqCst) { &self.nothing } else { self.store.view() }
    }

    async fn head(&self) -> Result<Head> {
        self.store.head().await
    }

    async fn load(&self) -> Result<Head> {
        let loaded = self.store.load().await;
        self.failed.fetch_or(loaded.is_err(), Ordering::SeqCst);
        loaded
    }

    async fn claim(&self, candidate: &Candidate, seen: Term) -> Result<Token> {
        self.store.claim(candidate, seen).await
    }

    async fn confirm(&self, token: &Token) -> Result<()> {
        self.store.confirm(token).await
    }

    async fn release(&self, token: Token, successor: Option<&str>) -> Result<()> {
        self.store.release(token, successor).await
    }

    async fn append(&self, token: &Token, change: Change) -> Result<Revision> {
        self.store.append(token, change).await
    }

    async fn compact(&self, token: &Token, keep: u64) -> Result<Revision> {
        self.store.compact(token, keep).await
    }

    async fn watch(&self, after: Revision) -> Result<Watch> {
        self.store.watch(after).await
    }
}

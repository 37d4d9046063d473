//! Watches: what differs between the states that the handle comes to know.

use std::sync::Arc;

use om_kv::{Batch, Error, Event, Failure, Result};
use tokio::sync::mpsc;

use super::core::{Core, Effort, Failed, Sign};
use crate::state::{Change, Needs, Shelf, Span, State, changes};

pub(super) struct Follow {
    pub(super) core: Arc<Core>,
    pub(super) prefix: String,
    /// The first revision that is to be told of; what was before is known.
    pub(super) from: i64,
    pub(super) sender: mpsc::Sender<Result<Batch>>,
}

/// The watch is over.
struct Over;

impl Follow {
    pub(super) async fn run(mut self) {
        let sender = self.sender.clone();
        tokio::select! {
            _ = self.follow() => {}
            () = sender.closed() => {}
        }
    }

    async fn follow(&mut self) -> std::result::Result<(), Over> {
        let core = Arc::clone(&self.core);
        let mut signs = core.signs.subscribe();
        let (breaks, mut alive) = {
            let sign = signs.borrow_and_update();
            (sign.breaks, sign.alive)
        };
        let mut last = self.begin().await?;
        self.send(Ok(Batch { header: core.header(), events: Vec::new(), begun: true })).await?;
        loop {
            let sign = signs.borrow_and_update().clone();
            self.check(&sign, breaks).await?;
            let mut told = false;
            if let Some(state) = sign.state.filter(|state| state.revision >= self.from) {
                told = self.tell(last.as_deref(), &state).await?;
                last = Some(state);
            }
            if !told && sign.alive != alive {
                let header = core.header();
                self.send(Ok(Batch { header, events: Vec::new(), begun: false })).await?;
            }
            alive = sign.alive;
            signs.changed().await.map_err(|_| Over)?;
        }
    }

    /// Waits until the Swarm answers; the state before the first that is to be told of, if that is known.
    async fn begin(&mut self) -> std::result::Result<Option<Arc<State>>, Over> {
        loop {
            let mut effort = Effort::new(format!("watch {}*", self.prefix), self.core.options.attempt * 10);
            match Box::pin(self.core.read(&mut effort)).await {
                Ok(base) if self.from <= 0 => {
                    self.from = base.state.revision + 1;
                    return Ok(Some(base.state));
                }
                Ok(base) if base.state.revision < self.from - 1 => {
                    let why =
                        format!("it is at revision {}, and was at {}", base.state.revision, self.from - 1);
                    return self.end(Error::WentBack(self.failure(why))).await;
                }
                Ok(base) if base.state.revision == self.from - 1 => return Ok(Some(base.state)),
                Ok(_) => return Ok(self.core.known().at(self.from - 1)),
                Err(error @ (Error::Refused(_) | Error::WentBack(_))) => return self.end(error).await,
                Err(error) => {
                    tracing::debug!(%error, prefix = self.prefix, "the watch waits");
                    effort.pause().await;
                }
            }
        }
    }

    async fn check(&self, sign: &Sign, breaks: u64) -> std::result::Result<(), Over> {
        match &sign.broken {
            Some(failure) if sign.breaks != breaks => {
                let failure = Failure { what: format!("watch {}*", self.prefix), ..failure.clone() };
                self.end(Error::WentBack(failure)).await
            }
            _ => Ok(()),
        }
    }

    /// Sends what happened up to this state. Gives whether anything was sent.
    async fn tell(&mut self, last: Option<&State>, state: &State) -> std::result::Result<bool, Over> {
        let span = Span::prefix(&self.prefix);
        let changes = match changes(last, state, self.from, &span) {
            Ok(changes) => changes,
            Err(unknown) => {
                let failure =
                    self.failure(format!("what was deleted since revision {} is not known", self.from));
                return self.end(Error::Compacted { failure, oldest: Some(unknown.oldest) }).await;
            }
        };
        let events = self.events(&changes).await?;
        self.from = state.revision + 1;
        if events.is_empty() {
            return Ok(false);
        }
        self.send(Ok(Batch { header: state.header(), events, begun: false })).await?;
        Ok(true)
    }

    async fn events(&self, changes: &[Change<'_>]) -> std::result::Result<Vec<Event>, Over> {
        let mut shelf = Shelf::new();
        loop {
            let mut needs = Needs::default();
            let event = |change: &Change<'_>| match change {
                Change::Put(hit) => hit.value(&shelf, &mut needs).map(|value| Event::Put(hit.kv(&value))),
                Change::Delete(key, revision) => {
                    Some(Event::Delete { key: (*key).to_owned(), revision: *revision })
                }
            };
            let events: Vec<Event> = changes.iter().filter_map(event).collect();
            if needs.0.is_empty() {
                return Ok(events);
            }
            let mut effort = Effort::new(format!("watch {}*", self.prefix), self.core.options.attempt * 10);
            match self.core.supply(&needs, &mut shelf, &effort).await {
                Ok(()) => {}
                Err(Failed::Again(super::judge::Fate::Missing, failure)) => {
                    return self.end(Error::Compacted { failure, oldest: None }).await;
                }
                Err(Failed::Over(error)) => return self.end(error).await,
                Err(Failed::Again(_, failure)) => {
                    tracing::debug!(%failure, "the watch waits");
                    effort.pause().await;
                }
            }
        }
    }

    fn failure(&self, why: String) -> Failure {
        let effort = Effort::new(format!("watch {}*", self.prefix), self.core.options.attempt);
        self.core.failure(&effort, why, "")
    }

    async fn send(&self, batch: Result<Batch>) -> std::result::Result<(), Over> {
        self.sender.send(batch).await.map_err(|_| Over)
    }

    async fn end<T>(&self, error: Error) -> std::result::Result<T, Over> {
        self.send(Err(error)).await?;
        Err(Over)
    }
}

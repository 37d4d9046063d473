//! A watch: from what is at hand, and where that does not reach back far enough, from the keyspace.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;

use super::Engine;
use super::load::Halt;
use super::shared::Shared;
use crate::{Entry, Error, Result, Revision};

/// The most entries that are taken at once.
const PAGE: usize = 256;

type Reading = Pin<Box<dyn Future<Output = Result<Vec<Entry>>> + Send>>;

pub(crate) struct Following {
    /// Whoever watches keeps the following going, also when the handle is gone.
    engine: Arc<Engine>,
    changes: WatchStream<u64>,
    ready: VecDeque<Entry>,
    /// The last revision that was given out or is ready.
    last: Revision,
    reading: Option<Reading>,
    over: bool,
}

impl Following {
    /// The entries after a revision. Fails at once if they are not kept any more.
    pub(crate) async fn start(engine: Arc<Engine>, after: Revision) -> Result<Self> {
        let floor = engine.shared.known().floor;
        if after < floor {
            return Err(Error::Compacted { after, oldest: floor });
        }
        let changes = WatchStream::from_changes(engine.shared.changed.subscribe());
        Ok(Self { engine, changes, ready: VecDeque::new(), last: after, reading: None, over: false })
    }

    fn take(&mut self, entries: Vec<Entry>) {
        if let Some(last) = entries.last() {
            self.last = last.revision;
        }
        self.ready = entries.into();
    }
}

impl Stream for Following {
    type Item = Result<Entry>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.over {
                return Poll::Ready(None);
            }
            if let Some(entry) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(entry)));
            }
            if let Some(reading) = &mut self.reading {
                let Poll::Ready(read) = reading.as_mut().poll(context) else { return Poll::Pending };
                self.reading = None;
                match read {
                    Ok(entries) => self.take(entries),
                    Err(error) => {
                        self.over = true;
                        return Poll::Ready(Some(Err(error)));
                    }
                }
                continue;
            }
            // Registered for the next change before the look: nothing falls in between.
            let pending = Pin::new(&mut self.changes).poll_next(context).is_pending();
            match self.engine.shared.recent(self.last, PAGE) {
                Ok(Some(entries)) if entries.is_empty() => {
                    if pending {
                        return Poll::Pending;
                    }
                }
                Ok(Some(entries)) => self.take(entries),
                Ok(None) => {
                    let (shared, last) = (self.engine.shared.clone(), self.last);
                    self.reading = Some(Box::pin(async move { shared.page(last).await }));
                }
                Err(error) => {
                    self.over = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

impl Shared {
    /// Some entries after a revision, from the keyspace, though others may compact it meanwhile.
    async fn page(&self, after: Revision) -> Result<Vec<Entry>> {
        loop {
            let look = self.look().await?;
            if after < look.floor() {
                return Err(Error::Compacted { after, oldest: look.floor() });
            }
            let until = look.tip.revision.min(after + PAGE as u64);
            match self.read_entries(after, until, look.header.revision).await {
                Ok(entries) => return Ok(entries.into_iter().map(|(entry, _)| entry).collect()),
                Err(Halt::Again) => {}
                Err(Halt::Error(error)) => return Err(error),
            }
        }
    }
}

//! What the plugin has to say to its manager.
//!
//! Nobody waits to put something in, and it stays small however slow the manager reads: of asks only the newest is
//! kept, of saves there is at most one a service, and of statuses each service's newest.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use om_api::v1::AttendResponse;
use om_api::v1::attend_response::{Ask, Message, Opened, Released, SaveState, Stopped};
use tokio::sync::Notify;
use tonic::Status;

use crate::record::Record;

#[derive(Default)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Default)]
struct Queue {
    opened: Option<Opened>,
    stopped: Option<Stopped>,
    ask: Option<u64>,
    saves: VecDeque<SaveState>,
    statuses: VecDeque<Arc<Record>>,
    end: End,
}

#[derive(Default)]
enum End {
    #[default]
    Open,
    /// To be said last.
    Closing(Result<Option<Released>, Status>),
    Closed,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, change: impl FnOnce(&mut Queue)) {
        let mut queue = self.lock();
        if matches!(queue.end, End::Open) {
            change(&mut queue);
            self.filled.notify_one();
        }
    }

    /// Said first.
    pub(crate) fn opened(&self, opened: Opened) {
        self.put(|queue| queue.opened = Some(opened));
    }

    /// Nothing of earlier sessions goes on.
    pub(crate) fn stopped(&self) {
        self.put(|queue| queue.stopped = Some(Stopped {}));
    }

    pub(crate) fn ask(&self, ask: u64) {
        self.put(|queue| queue.ask = Some(ask));
    }

    pub(crate) fn save(&self, save: SaveState) {
        self.put(|queue| queue.saves.push_back(save));
    }

    /// The record's status as it will be when the manager reads on.
    pub(crate) fn status(&self, record: &Arc<Record>) {
        self.put(|queue| {
            if record.enqueue() {
                queue.statuses.push_back(record.clone());
            }
        });
    }

    /// Nothing comes after this. What was not yet sent is dropped: a session that is over announces nothing.
    pub(crate) fn close(&self, last: Result<Option<Released>, Status>) {
        self.put(|queue| *queue = Queue { end: End::Closing(last), ..Queue::default() });
    }

    /// The next thing to say; `None` at the end.
    pub(crate) async fn next(&self) -> Option<Result<AttendResponse, Status>> {
        loop {
            let filled = self.filled.notified();
            if let Some(item) = self.lock().pop() {
                return item.map(|result| result.map(|message| AttendResponse { message: Some(message) }));
            }
            filled.await;
        }
    }
}

impl Queue {
    /// `None`: nothing now. `Some(None)`: nothing ever.
    fn pop(&mut self) -> Option<Option<Result<Message, Status>>> {
        if let Some(opened) = self.opened.take() {
            return Some(Some(Ok(Message::Opened(opened))));
        }
        match std::mem::take(&mut self.end) {
            End::Open => {}
            End::Closing(last) => {
                self.end = End::Closed;
                return Some(last.map(|released| released.map(Message::Released)).transpose());
            }
            End::Closed => {
                self.end = End::Closed;
                return Some(None);
            }
        }
        if let Some(stopped) = self.stopped.take() {
            return Some(Some(Ok(Message::Stopped(stopped))));
        }
        if let Some(ask) = self.ask.take() {
            return Some(Some(Ok(Message::Ask(Ask { ask }))));
        }
        if let Some(save) = self.saves.pop_front() {
            return Some(Some(Ok(Message::SaveState(save))));
        }
        let record = self.statuses.pop_front()?;
        Some(Some(Ok(Message::Status(record.dequeue()))))
    }
}

//! The one thread that touches the file system.
//!
//! A thread of its own and not the runtime's blocking pool: when a look hangs in a dead file system, the pool would
//! wait for it at shutdown, and the program could not end. At most one look is under way, so that a file system that
//! hangs holds one thread and not ever more.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc as sync_mpsc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::sight::{self, Sight};
use super::trail::{Events, Trail};

/// Why a look is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Something stirred; if it has nothing to do with the file, `None` is answered without looking.
    Event,
    /// It is time.
    Time,
}

/// Makes one look.
pub(super) type Look = Box<dyn FnMut(Cause) -> Option<Sight> + Send>;

pub(super) struct Eye {
    ask: sync_mpsc::SyncSender<Cause>,
    answers: mpsc::Receiver<Option<Sight>>,
    events: Option<AsyncFd<Arc<Events>>>,
}

impl Eye {
    /// Starts the thread. It ends when the eye is dropped and the look under way, if any, has come back.
    pub(super) fn open(mut look: Look, events: Option<Arc<Events>>) -> io::Result<Self> {
        let (ask, asked) = sync_mpsc::sync_channel(1);
        let (answer, answers) = mpsc::channel(1);
        #[expect(
            deprecated,
            reason = "its successor is unsafe; what that asks for holds: the descriptor is owned, and stays the same"
        )]
        let events = events.map(|fd| AsyncFd::with_interest(fd, Interest::READABLE)).transpose()?;
        std::thread::Builder::new().name("leader-file".to_owned()).spawn(move || {
            while let Ok(cause) = asked.recv() {
                if answer.blocking_send(look(cause)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { ask, answers, events })
    }

    /// Asks for a look; false if the thread has ended. The answer to the one before must have been taken.
    pub(super) fn ask(&self, cause: Cause) -> bool {
        self.ask.try_send(cause).is_ok()
    }

    /// The answer; `None` if the thread has ended. Can be dropped and asked for again.
    pub(super) async fn answer(&mut self) -> Option<Option<Sight>> {
        self.answers.recv().await
    }

    /// Waits until something may have changed on the way to the file.
    pub(super) async fn stirred(&self) {
        match &self.events {
            None => std::future::pending().await,
            Some(events) => match events.readable().await {
                // Cleared before the thread reads the events: one that comes after that makes it ready again.
                Ok(mut ready) => ready.clear_ready(),
                // The runtime is shutting down.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// A look at `path`; with `events`, also what tells that another look is due.
pub(super) fn looker(path: &Path, events: bool) -> (Look, Option<Arc<Events>>) {
    let path = path.to_owned();
    let mut trail = events.then(Trail::new).and_then(|trail| {
        trail
            .inspect_err(|error| {
                tracing::warn!(%error, "no inotify: changes of the leader file are seen by polling only");
            })
            .ok()
    });
    let events = trail.as_ref().map(Trail::events);
    let look = move |cause| {
        if let Some(trail) = &mut trail {
            let matters = trail.drain();
            if cause == Cause::Event && !matters {
                return None;
            }
            // First watched, then read: what changes in between is told by an event.
            trail.follow(&path);
        }
        Some(sight::look(&path))
    };
    (Box::new(look), events)
}

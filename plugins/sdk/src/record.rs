//! One service as a session knows it: what is declared, what was saved, how it was last reported.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use om_api::v1::{self, Phase};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::crew::Crew;
use crate::{Declared, Report};

pub(crate) struct Record {
    pub(crate) name: Arc<str>,
    declared: watch::Sender<Arc<Declared>>,
    /// Held while a save of this service waits for its answer: one at a time, in order.
    pub(crate) saving: Arc<tokio::sync::Mutex<()>>,
    /// Cancelled when nothing is left of a service that was torn down.
    pub(crate) torn_down: CancellationToken,
    inner: Mutex<Inner>,
}

struct Inner {
    state: Bytes,
    crew: Arc<Crew>,
    destroying: bool,
    view: View,
    /// Whether the view waits in the outbox.
    queued: bool,
}

/// How a service is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    pub(crate) revision: u64,
    pub(crate) phase: Phase,
    pub(crate) message: String,
    /// `None` until the plugin reports.
    pub(crate) members: Option<Vec<v1::Member>>,
}

impl Record {
    pub(crate) fn new(declared: Declared, state: Bytes, crew: Arc<Crew>, phase: Phase) -> Arc<Self> {
        let revision = declared.revision;
        let view = View { revision, phase, message: String::new(), members: None };
        Arc::new(Self {
            name: declared.name.clone(),
            declared: watch::Sender::new(Arc::new(declared)),
            saving: Arc::default(),
            torn_down: CancellationToken::new(),
            inner: Mutex::new(Inner {
                state,
                crew,
                destroying: phase == Phase::Destroying,
                view,
                queued: false,
            }),
        })
    }

    // Every change under this lock is whole before anything can panic.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn declared(&self) -> watch::Receiver<Arc<Declared>> {
        self.declared.subscribe()
    }

    pub(crate) fn newest(&self) -> Arc<Declared> {
        self.declared.borrow().clone()
    }

    /// Takes in a newer declaration: pending until the plugin reports on it.
    pub(crate) fn declare(&self, declared: Declared) {
        {
            let view = &mut self.lock().view;
            view.revision = declared.revision;
            view.phase = Phase::Pending;
            view.message.clear();
        }
        self.declared.send_replace(Arc::new(declared));
    }

    pub(crate) fn state(&self) -> Bytes {
        self.lock().state.clone()
    }

    pub(crate) fn saved(&self, state: Bytes) {
        self.lock().state = state;
    }

    pub(crate) fn crew(&self) -> Arc<Crew> {
        self.lock().crew.clone()
    }

    pub(crate) fn is_destroying(&self) -> bool {
        self.lock().destroying
    }

    /// From now on `crew` tears the service down.
    pub(crate) fn destroy(&self, crew: Arc<Crew>) {
        let mut inner = self.lock();
        inner.crew = crew;
        inner.destroying = true;
        inner.view.phase = Phase::Destroying;
        inner.view.message.clear();
    }

    pub(crate) fn view(&self) -> View {
        self.lock().view.clone()
    }

    /// Takes in a report on the declaration of `revision`. Says whether anything but the members changed.
    pub(crate) fn report(&self, revision: u64, report: Report) -> bool {
        let mut inner = self.lock();
        let Report { mut phase, mut message, members } = report;
        if inner.destroying {
            phase = Phase::Destroying;
        } else if revision < inner.view.revision && phase == Phase::Ready {
            phase = Phase::Pending;
            message = format!("ready as of revision {revision}; {} is being made", inner.view.revision);
        }
        inner.view.members = Some(members);
        inner.note(phase, message)
    }

    /// Sets phase and message and leaves the members as they are. Says whether anything changed.
    pub(crate) fn note(&self, phase: Phase, message: impl Into<String>) -> bool {
        let mut inner = self.lock();
        let phase = if inner.destroying { Phase::Destroying } else { phase };
        inner.note(phase, message.into())
    }

    /// Whether it has to be put into the outbox: not if it is there already.
    pub(crate) fn enqueue(&self) -> bool {
        !std::mem::replace(&mut self.lock().queued, true)
    }

    /// What the manager is told, taken out of the outbox.
    pub(crate) fn dequeue(&self) -> v1::attend_response::ServiceStatus {
        let mut inner = self.lock();
        inner.queued = false;
        let View { revision, phase, message, .. } = inner.view.clone();
        v1::attend_response::ServiceStatus {
            service: self.name.to_string(),
            revision,
            phase: phase.into(),
            message,
        }
    }
}

impl Inner {
    fn note(&mut self, phase: Phase, message: String) -> bool {
        let changed = self.view.phase != phase || self.view.message != message;
        self.view.phase = phase;
        self.view.message = message;
        changed
    }
}

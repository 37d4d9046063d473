//! One manager's attendance, from `Opened` to its end.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use om_api::Error;
use om_api::clock::Clock;
use om_api::v1::attend_request as to;
use om_api::v1::attend_response::SaveState;
use tokio::sync::{OwnedMutexGuard, broadcast};
use tokio_util::sync::CancellationToken;

use crate::admit::fenced;
use crate::authority::Authority;
use crate::outbox::Outbox;
use crate::record::Record;
use crate::registry::{Registry, Services};
use crate::saves::{Answer, Saves};
use crate::will::Will;

pub(crate) struct Session {
    /// Numbers the sessions of this process.
    pub(crate) number: u64,
    pub(crate) cluster: String,
    pub(crate) manager: String,
    pub(crate) term: u64,
    pub(crate) host: Arc<str>,
    pub(crate) authority: Authority,
    pub(crate) outbox: Outbox,
    pub(crate) services: Registry,
    pub(crate) saves: Saves,
    /// Cancelled when every crew is gone, or did not go in time.
    pub(crate) stopped: CancellationToken,
    /// Whom to tell if it breaks.
    will: Mutex<Option<Arc<Will>>>,
    /// Cancelled when the next session of the same store has opened, whose opening says all that the will would.
    pub(crate) superseded: CancellationToken,
    feed: broadcast::Sender<Arc<str>>,
}

/// Who opens a session.
pub(crate) struct Opener {
    pub(crate) cluster: String,
    pub(crate) manager: String,
    pub(crate) term: u64,
}

impl Session {
    pub(crate) fn new(
        number: u64,
        opener: Opener,
        host: Arc<str>,
        clock: Clock,
        feed: broadcast::Sender<Arc<str>>,
    ) -> Arc<Self> {
        let Opener { cluster, manager, term } = opener;
        Arc::new(Self {
            number,
            cluster,
            manager,
            term,
            host,
            authority: Authority::new(term, clock),
            outbox: Outbox::default(),
            services: Registry::default(),
            saves: Saves::default(),
            stopped: CancellationToken::new(),
            will: Mutex::default(),
            superseded: CancellationToken::new(),
            feed,
        })
    }

    /// Takes a will in the place of the one that was left before.
    pub(crate) fn leave(&self, will: to::Will) {
        let opener = Opener { cluster: self.cluster.clone(), manager: self.manager.clone(), term: self.term };
        *self.will.lock().unwrap_or_else(PoisonError::into_inner) = Will::left_by(&opener, will);
    }

    /// Whom to tell if it breaks; `None`: nobody.
    pub(crate) fn will(&self) -> Option<Arc<Will>> {
        self.will.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The record's phase, message or revision changed: tells the manager and whoever watches.
    pub(crate) fn changed(&self, record: &Arc<Record>) {
        self.outbox.status(record);
        // Nobody watching is no error.
        let _ = self.feed.send(record.name.clone());
    }

    /// Its services, locked: whoever adds to them does it before the session is over, and what was added before is stopped
    /// with the others. Else an error: `what` is fenced.
    pub(crate) fn services_to_add_to(
        &self,
        what: fmt::Arguments<'_>,
    ) -> Result<MutexGuard<'_, Services>, Error> {
        let services = self.services.lock();
        if self.is_over() {
            return Err(fenced(format!("{what}: {}", self.authority.why_ended())));
        }
        Ok(services)
    }

    /// Whether it is over, and nothing may begin in it any more.
    pub(crate) fn is_over(&self) -> bool {
        self.authority.over().is_cancelled()
    }

    /// Sends a state to the manager.
    pub(crate) fn save(&self, record: &Arc<Record>, state: Bytes, turn: OwnedMutexGuard<()>) -> Answer {
        let (number, answer) = self.saves.begin(record, state.clone(), turn);
        if let Some(save) = number {
            self.outbox.save(SaveState { save, service: record.name.to_string(), state });
        }
        answer
    }

    /// Ends it, and says `released` once everything has stopped.
    pub(crate) fn release(&self, why: &str) {
        self.authority.give_back(why);
    }

    /// Whether it ended by agreement.
    pub(crate) fn is_releasing(&self) -> bool {
        self.authority.was_given_back()
    }
}

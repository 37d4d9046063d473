//! What a plugin holds of one service.

use std::sync::Arc;

use bytes::Bytes;
use om_api::{MAX_STATE_BYTES, v1};
use tokio::sync::watch;

use crate::crew::Crew;
use crate::record::Record;
use crate::session::Session;
use crate::{Declared, Failed, Lapsed};

/// One service, handed to [`look_after`](crate::Plugin::look_after), [`destroy`](crate::Plugin::destroy) and
/// [`run`](crate::Plugin::run). Cheap to clone. Belongs to one session: when that ends, or the service is freed, this
/// handle may do nothing any more, for good.
#[derive(Clone)]
pub struct Service {
    record: Arc<Record>,
    session: Arc<Session>,
    crew: Arc<Crew>,
}

/// How a service is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Its phase. `Ready` only if it is as declared.
    pub phase: v1::Phase,
    /// One line for people; empty when there is nothing to say.
    pub message: String,
    /// What it consists of, in the plugin's order.
    pub members: Vec<v1::Member>,
}

impl Service {
    pub(crate) fn new(record: Arc<Record>, session: Arc<Session>, crew: Arc<Crew>) -> Self {
        Self { record, session, crew }
    }

    /// The service's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// The identity of the host that this plugin runs on; members that it starts belong to it.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.session.host
    }

    /// The identity of the store that it is declared in: with the name, the service's own in all the world.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.session.cluster
    }

    /// What is declared; changes arrive here. The value at the time of the call counts as seen.
    #[must_use]
    pub fn declared(&self) -> watch::Receiver<Arc<Declared>> {
        self.record.declared()
    }

    /// What was last saved and acknowledged, or else what the manager had stored. Empty at first.
    #[must_use]
    pub fn state(&self) -> Bytes {
        self.record.state()
    }

    /// Hands over what must be remembered about this service; replaces what was saved before. Returns when the manager
    /// has stored it under its fence. Not to be followed by what it announces unless it returned without an error.
    ///
    /// # Errors
    /// The manager did not store it (refused, too large), or the authority has ended meanwhile: then it may or may not
    /// have been stored.
    pub async fn save(&self, state: impl Into<Bytes>) -> Result<(), Failed> {
        let state = state.into();
        self.permit()?;
        if state.len() > MAX_STATE_BYTES {
            let (size, name) = (state.len(), self.name());
            return Err(Failed(format!(
                "the state of {name} has {size} bytes, more than the {MAX_STATE_BYTES} that are kept"
            )));
        }
        let saving = async {
            let turn = self.record.saving.clone().lock_owned().await;
            let answer = self.session.save(&self.record, state, turn);
            match answer.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(why)) => {
                    Err(Failed(format!("the manager did not store the state of {}: {why}", self.name())))
                }
                Err(_) => Err(self.lapsed().into()),
            }
        };
        tokio::select! {
            biased;
            () = self.crew.over().cancelled() => Err(self.lapsed().into()),
            saved = saving => saved,
        }
    }

    /// The term, if the authority to act holds at this moment. To be asked right before every effect; where a resource
    /// can hold it (a label, a row, a condition), the term goes with the effect.
    ///
    /// # Errors
    /// [`Lapsed`]: stop. It never comes back for this handle.
    pub fn permit(&self) -> Result<u64, Lapsed> {
        let term = self.session.authority.check()?;
        if self.crew.over().is_cancelled() {
            return Err(self.lapsed());
        }
        Ok(term)
    }

    /// Says how the service is now, as of the newest declaration. Never waits; a slow manager gets the newest report.
    /// Report after every change of the declaration, also when nothing had to be done for it: the service is shown as
    /// pending until then.
    pub fn report(&self, report: Report) {
        self.report_at(u64::MAX, report);
    }

    /// The same, as of the declaration of `revision`, for a plugin that may have missed a newer one. `Ready` as of an
    /// older declaration is shown as pending.
    pub fn report_at(&self, revision: u64, report: Report) {
        if !self.is_over() && self.record.report(revision, report) {
            self.session.changed(&self.record);
        }
    }

    /// Sets phase and message, and keeps the members as last reported.
    pub(crate) fn note(&self, phase: v1::Phase, message: impl Into<String>) {
        if !self.is_over() && self.record.note(phase, message) {
            self.session.changed(&self.record);
        }
    }

    /// Whether nobody is to hear of it any more.
    fn is_over(&self) -> bool {
        self.session.is_over() || self.crew.over().is_cancelled()
    }

    pub(crate) fn crew(&self) -> &Arc<Crew> {
        &self.crew
    }

    fn lapsed(&self) -> Lapsed {
        match self.session.authority.check() {
            Err(lapsed) => lapsed,
            Ok(_) => Lapsed(format!("{} is no longer looked after here", self.name())),
        }
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("name", &self.name()).field("permit", &self.permit()).finish()
    }
}

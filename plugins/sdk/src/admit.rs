//! Who may call, and who may change something.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use om_api::clock::Clock;
use om_api::socket::Dialer;
use om_api::{Error, Reason, metadata, v1};
use tokio::runtime::Handle;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Status};

use crate::Plugin;
use crate::crew::Crew;
use crate::session::Session;
use crate::terms::Terms;

/// What is shared by all calls to one served plugin.
pub(crate) struct Shell {
    pub(crate) plugin: Arc<dyn Plugin>,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) instance: String,
    pub(crate) host: Arc<str>,
    pub(crate) kinds: Vec<v1::Kind>,
    pub(crate) clock: Clock,
    /// The way to the replicas that a will names.
    pub(crate) dialer: Dialer,
    /// Where the plugin's own code runs.
    pub(crate) works: Handle,
    pub(crate) terms: Mutex<Terms>,
    pub(crate) current: Mutex<Option<Arc<Session>>>,
    /// One session opens at a time.
    pub(crate) gate: tokio::sync::Mutex<()>,
    /// Each service's last crew, also of earlier sessions, while any of it runs.
    crews: Mutex<HashMap<Arc<str>, Arc<Crew>>>,
    /// Names of services whose view changed.
    pub(crate) feed: broadcast::Sender<Arc<str>>,
    /// Everything that runs beside the services' crews.
    pub(crate) tasks: TaskTracker,
    /// No new sessions and watches.
    pub(crate) stopping: CancellationToken,
    /// The time for calls to finish is up.
    pub(crate) cut: CancellationToken,
}

/// What a call says about its sender.
pub(crate) struct Caller {
    term: Option<u64>,
    cluster: Option<String>,
}

pub(crate) fn fenced(message: impl Into<String>) -> Error {
    Error::new(Reason::Fenced, message)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shell {
    pub(crate) fn new(
        plugin: Arc<dyn Plugin>,
        kinds: Vec<v1::Kind>,
        options: &crate::Options,
        dialer: Dialer,
        works: Handle,
    ) -> Arc<Self> {
        Arc::new(Self {
            plugin,
            kinds,
            name: options.name.clone(),
            version: options.version.clone(),
            instance: uuid::Uuid::new_v4().to_string(),
            host: options.host.as_str().into(),
            clock: options.clock.clone(),
            dialer,
            works,
            terms: Mutex::default(),
            current: Mutex::default(),
            gate: tokio::sync::Mutex::default(),
            crews: Mutex::default(),
            feed: broadcast::Sender::new(1024),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            cut: CancellationToken::new(),
        })
    }

    pub(crate) fn now(&self) -> Duration {
        (self.clock)()
    }

    /// The newest session; it may have ended.
    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        lock(&self.current).clone()
    }

    pub(crate) fn kind(&self, name: &str) -> Option<&v1::Kind> {
        self.kinds.iter().find(|kind| kind.name == name)
    }

    /// A new crew for a service; it begins when the service's last one is gone, which is told to stop.
    pub(crate) fn crew(&self, name: &Arc<str>, session: &Session) -> Arc<Crew> {
        let mut crews = lock(&self.crews);
        let crew = Crew::new(session.number, crews.get(name).cloned());
        crews.insert(name.clone(), crew.clone());
        crew
    }

    /// The service's last crew of the sessions up to the one of this number, if any of it still runs.
    pub(crate) fn lingering(&self, name: &str, session: u64) -> Option<Arc<Crew>> {
        lock(&self.crews).get(name)?.at_work(session)
    }

    /// Whatever still runs of the sessions up to the one of this number, with the names of its services. Forgets the crews
    /// that are gone for good.
    pub(crate) fn at_work(&self, session: u64) -> Vec<(Arc<str>, Arc<Crew>)> {
        let mut found = Vec::new();
        lock(&self.crews).retain(|name, crew| {
            found.extend(crew.at_work(session).map(|crew| (name.clone(), crew)));
            !(crew.over().is_cancelled() && crew.is_gone())
        });
        found
    }

    /// Forgets a service's last crew if it is gone for good.
    pub(crate) fn forget_crew(&self, name: &str) {
        let mut crews = lock(&self.crews);
        if crews.get(name).is_some_and(|crew| crew.over().is_cancelled() && crew.is_gone()) {
            crews.remove(name);
        }
    }

    /// Every call passes here. A term that is over is refused; a higher one ends the session of a lower one.
    pub(crate) fn admit<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        let term = metadata::term(request);
        if term.is_none() && request.metadata().contains_key(metadata::TERM) {
            return Err(Status::invalid_argument(format!("{} is not a decimal number", metadata::TERM)));
        }
        let caller = Caller { term, cluster: metadata::cluster(request) };
        let Some(term) = term else { return Ok(caller) };
        let mut terms = lock(&self.terms);
        terms
            .check(caller.cluster.as_deref(), term)
            .map_err(|refusal| fenced(refusal.to_string()).hint("a newer leader is at work: follow it"))?;
        if let Some(cluster) = &caller.cluster
            && terms.saw(cluster, term)
            && let Some(session) = self.session().filter(|session| session.cluster == *cluster)
        {
            session.authority.end(format!("term {term} has begun"));
        }
        Ok(caller)
    }

    /// The session in which the caller may do `what` now. Waits for the first renewal, which travels beside the calls
    /// and may come after them; a session without one ends by itself.
    pub(crate) async fn authorize(&self, caller: &Caller, what: &str) -> Result<Arc<Session>, Error> {
        let session = self.attended_by(caller, what)?;
        session.authority.decided().await;
        self.lasting(&session, what)?;
        Ok(session)
    }

    /// The authority of a session holds at this moment.
    pub(crate) fn lasting(&self, session: &Session, what: &str) -> Result<(), Error> {
        session.authority.check().map(drop).map_err(|lapsed| {
            fenced(format!("{what}: {lapsed}")).hint("attend anew, and answer the asks for renewal")
        })
    }

    /// The session of the caller's term, also one that has ended.
    pub(crate) fn attended_by(&self, caller: &Caller, what: &str) -> Result<Arc<Session>, Error> {
        let (Some(term), Some(cluster)) = (caller.term, &caller.cluster) else {
            let missing = if caller.term.is_none() { metadata::TERM } else { metadata::CLUSTER };
            return Err(fenced(format!("{what} needs a leader's authority; the call carries no {missing}"))
                .hint("a plugin is changed through its manager: om commit, om free, om destroy, om run"));
        };
        let session = self.session().ok_or_else(|| {
            fenced(format!("{what}: nobody attends this plugin, so term {term} has no authority here"))
                .hint("attend first")
        })?;
        if session.cluster != *cluster {
            return Err(fenced(format!(
                "{what}: this plugin was last attended by another store's manager ({}, store {})",
                session.manager, session.cluster
            ))
            .hint("attend first"));
        }
        if session.term != term {
            return Err(fenced(format!(
                "{what}: term {term} does not attend this plugin, term {} does",
                session.term
            ))
            .hint("attend first"));
        }
        Ok(session)
    }
}

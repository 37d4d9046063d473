//! What a replica is at this moment, for everyone who answers in its name.

use std::sync::Arc;
use std::time::Duration;

use om_api::{Error, v1};
use om_leadership::Standing;
use om_leadership::election::Places;
use om_proxy::discovery::{Peer, PeerState, Refusal, Registry};
use om_proxy::route::{Leader, Route};
use om_store::{Head, Store};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::errors;
use crate::handover::Handover;
use crate::records::SERVICES;
use crate::reign::{Reign, why_not};

/// How long a follower's look at the store may take.
const LOOK_PATIENCE: Duration = Duration::from_secs(2);

/// One replica. Clones share it.
#[derive(Clone)]
pub(crate) struct Replica {
    pub(crate) name: String,
    pub(crate) mode: &'static str,
    pub(crate) endpoint: String,
    pub(crate) host: String,
    /// What the detector looks at, for people.
    pub(crate) detector: String,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) standing: watch::Receiver<Standing>,
    pub(crate) reign: watch::Receiver<Option<Reign>>,
    /// The newest head that was read. `None` before the first look.
    pub(crate) head: watch::Receiver<Option<Head>>,
    /// Where this replica stands, where that matters.
    pub(crate) places: Option<watch::Receiver<Places>>,
    /// Where replicas elect among themselves: how to hand over.
    pub(crate) handover: Option<Handover>,
    /// What goes on when its caller leaves.
    pub(crate) tasks: TaskTracker,
}

impl Replica {
    /// The reign, if this replica may act as the leader right now.
    ///
    /// # Errors
    /// The refusal: who leads, or why nobody does.
    pub(crate) fn leader(&self) -> Result<Reign, Error> {
        match self.reign.borrow().as_ref() {
            Some(reign) if reign.holds() && reign.closing().is_none() => Ok(reign.clone()),
            _ => Err(self.refusal()),
        }
    }

    /// Why this replica does not answer, as an error.
    pub(crate) fn refusal(&self) -> Error {
        if let Some(why) = self.reign.borrow().as_ref().and_then(Reign::closing) {
            return errors::no_leader(&why);
        }
        match self.elsewhere() {
            Ok(leader) => Error::not_leader(&leader.name, &leader.endpoint, leader.term),
            Err(why) if self.somebody_is_named() => errors::no_leader(&why),
            Err(why) => errors::no_leader(&why).with("unnamed", true),
        }
    }

    /// The same as a route.
    pub(crate) fn refused_route(&self) -> Route {
        let closing = self.reign.borrow().as_ref().and_then(Reign::closing).is_some();
        match self.elsewhere() {
            Ok(leader) if !closing => Route::Elsewhere(leader),
            _ => Route::Refuse(self.refusal()),
        }
    }

    /// Whether somebody is named, and so may soon lead.
    fn somebody_is_named(&self) -> bool {
        match &*self.standing.borrow() {
            Standing::Leading(_) => true,
            Standing::Following { leader } => leader.is_some(),
            Standing::Unknown { .. } => false,
        }
    }

    /// Who else leads: named by the detector, and holder of the newest claim.
    ///
    /// # Errors
    /// Why nobody does.
    pub(crate) fn elsewhere(&self) -> Result<Leader, String> {
        let named = match &*self.standing.borrow() {
            Standing::Leading(_) => return Err(format!("{} is taking over", self.name)),
            Standing::Unknown { why } => return Err(why.clone()),
            Standing::Following { leader: None } => return Err(format!("{} names nobody", self.detector)),
            // What is left of its last reign, or of its last life.
            Standing::Following { leader: Some(named) } if *named == self.name => {
                return Err(format!("{named} led, and nobody has taken over yet"));
            }
            Standing::Following { leader: Some(named) } => named.clone(),
        };
        let head = self.head.borrow();
        let claim = head.as_ref().and_then(|head| head.claim.as_ref());
        match claim {
            Some(claim) if claim.candidate.name == named && !claim.released => {
                Ok(Leader { name: named, endpoint: claim.candidate.endpoint.clone(), term: claim.term.0 })
            }
            _ => Err(format!("{} names {named}, which has not taken over yet", self.detector)),
        }
    }

    /// What `om status` shows.
    pub(crate) async fn status(&self) -> v1::StatusResponse {
        let reign = self.reign.borrow().clone().filter(Reign::holds);
        let unfit = self.places.as_ref().and_then(|places| places.borrow().unfit.clone());
        let mut message = String::new();
        if reign.is_none() && unfit.is_none() {
            // A follower keeps nothing up to date on its own; it looks when somebody asks.
            match tokio::time::timeout(LOOK_PATIENCE, self.store.load()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => message = error.to_string(),
                Err(_) => message = format!("the store does not answer within {LOOK_PATIENCE:?}"),
            }
        }
        let head = self.head.borrow().clone();
        let (leadership, leader) = match (&reign, &*self.standing.borrow()) {
            (Some(_), _) => {
                let own = v1::Leader { name: self.name.clone(), endpoint: self.endpoint.clone() };
                (v1::Leadership::Leading, Some(own))
            }
            (None, Standing::Following { leader }) => {
                let named = leader.clone().map(|name| v1::Leader { name, endpoint: String::new() });
                (v1::Leadership::Following, named)
            }
            (None, Standing::Unknown { why }) => {
                message.clone_from(why);
                (v1::Leadership::Unknown, None)
            }
            (None, Standing::Leading(_)) => {
                "taking over".clone_into(&mut message);
                (v1::Leadership::Unknown, None)
            }
        };
        let leader = match self.elsewhere() {
            Ok(leader) if reign.is_none() => {
                Some(v1::Leader { name: leader.name, endpoint: leader.endpoint })
            }
            _ => leader,
        };
        if leadership == v1::Leadership::Following && message.is_empty() {
            message = self.elsewhere().err().unwrap_or_default();
        }
        if let Some(why) = unfit.filter(|_| reign.is_none()) {
            message = why;
        }
        let known_term = head.as_ref().map_or(0, |head| head.term().0);
        v1::StatusResponse {
            name: self.name.clone(),
            mode: self.mode.to_owned(),
            leadership: leadership.into(),
            term: reign.as_ref().map_or(known_term, Reign::term),
            leader,
            revision: self.store.view().revision(),
            services: self.store.view().count(SERVICES) as u64,
            plugins: self.plugins(reign.as_ref()),
            message,
            version: crate::VERSION.to_owned(),
            cluster: head.map_or(String::new(), |head| head.cluster),
            store: self.store.location(),
        }
    }

    fn plugins(&self, reign: Option<&Reign>) -> Vec<v1::PluginStatus> {
        let peers = self.registry.peers().borrow().clone();
        // Fellow replicas in the same directory are no plugins, and no news.
        let managers = |peer: &&Peer| matches!(peer.state, PeerState::Refused(Refusal::Manager));
        let shown = peers.values().filter(|peer| !managers(peer)).map(|peer| {
            let (version, kinds, message) = match &peer.state {
                PeerState::Ready(handshake) => {
                    (handshake.version.clone(), handshake.kinds.clone(), String::new())
                }
                other => (String::new(), Vec::new(), why_not(other)),
            };
            let attended = reign.is_some_and(|reign| reign.sessions().has(&peer.name));
            v1::PluginStatus { name: peer.name.clone(), version, kinds, attended, message }
        });
        shown.collect()
    }

    /// The kinds of all plugins that are there.
    pub(crate) fn kinds(&self) -> Vec<v1::Kind> {
        let peers = self.registry.peers().borrow().clone();
        let mut kinds: Vec<v1::Kind> = Vec::new();
        for peer in peers.values() {
            let PeerState::Ready(handshake) = &peer.state else { continue };
            for kind in &handshake.kinds {
                if !kinds.iter().any(|known| known.name == kind.name) {
                    kinds.push(kind.clone());
                }
            }
        }
        kinds
    }
}

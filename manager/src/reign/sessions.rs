//! Which plugins this reign has a session with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use om_api::v1::service_plugin_client::ServicePluginClient;
use om_api::{Error, Reason, v1};
use om_proxy::discovery::{Peer, PeerState};
use om_proxy::upstream::Upstream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use super::{PLUGIN_PATIENCE, Reign};
use crate::errors;

/// How long a call waits for a session that is about to open.
const OPENING_PATIENCE: Duration = Duration::from_secs(3);
/// How long it waits for a plugin that does not answer.
const SILENT_PATIENCE: Duration = Duration::from_millis(500);

/// An open session with one plugin.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) plugin: String,
    /// Names of its kinds.
    pub(crate) kinds: BTreeSet<String>,
    /// Its kinds, with their actions.
    pub(crate) manifest: Arc<[v1::Kind]>,
    pub(crate) upstream: Upstream,
    /// Whether it is a manager, with revisions of its own.
    pub(crate) manager: bool,
    /// Cancelled when the session is over, or is to be broken off.
    pub(crate) closed: CancellationToken,
}

impl Session {
    /// An action of a kind.
    pub(crate) fn action(&self, kind: &str, action: &str) -> Option<&v1::Action> {
        let kind = self.manifest.iter().find(|served| served.name == kind)?;
        kind.actions.iter().find(|known| known.name == action)
    }

    pub(crate) fn client(&self) -> ServicePluginClient<Upstream> {
        ServicePluginClient::new(self.upstream.clone())
            .max_decoding_message_size(om_api::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(om_api::MAX_MESSAGE_BYTES)
    }
}

/// The open sessions, by the plugin's name.
#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<BTreeMap<String, Session>>,
    changed: watch::Sender<u64>,
}

impl Sessions {
    pub(super) fn insert(&self, session: Session) {
        self.lock().insert(session.plugin.clone(), session);
        self.changed.send_modify(|n| *n += 1);
    }

    pub(super) fn remove(&self, plugin: &str) {
        self.lock().remove(plugin);
        self.changed.send_modify(|n| *n += 1);
    }

    /// The session for a kind. Of two plugins that serve one kind the first by name is taken, always.
    pub(crate) fn of_kind(&self, kind: &str) -> Option<Session> {
        self.lock().values().find(|session| session.kinds.contains(kind)).cloned()
    }

    /// Whether the session with this plugin stands.
    pub(crate) fn has(&self, plugin: &str) -> bool {
        self.lock().contains_key(plugin)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reign {
    /// What the plugin of a service says of its spec and its members, if it can be asked.
    pub(crate) async fn described(&self, kind: &str, name: &str) -> Option<v1::Description> {
        let session = self.0.sessions.of_kind(kind)?;
        let request = self.stamped(v1::DescribeRequest { name: name.to_owned() }, PLUGIN_PATIENCE);
        let mut client = session.client();
        let asked = tokio::time::timeout(PLUGIN_PATIENCE, client.describe(request)).await;
        asked.ok()?.ok()?.into_inner().service
    }

    /// A request to a plugin, stamped with the term.
    pub(super) fn stamped<T>(&self, message: T, patience: Duration) -> Request<T> {
        let mut request = Request::new(message);
        om_api::metadata::stamp(&mut request, self.term(), self.cluster());
        request.set_timeout(patience);
        request
    }

    /// The session with the plugin of a kind; waits a little for one that is about to open.
    pub(super) async fn session(&self, kind: &str) -> Result<Session, Error> {
        let mut changes = self.0.sessions.changed.subscribe();
        let mut peers = self.0.realm.registry.peers();
        let begun = (self.0.realm.clock)();
        loop {
            changes.borrow_and_update();
            if let Some(session) = self.0.sessions.of_kind(kind) {
                return Ok(session);
            }
            let now = peers.borrow_and_update().clone();
            let patience = now.values().map(|peer| patience(peer, kind)).max().unwrap_or_default();
            let left = (begun + patience).saturating_sub((self.0.realm.clock)());
            if left.is_zero() {
                return Err(self.unserved(kind));
            }
            tokio::select! {
                _ = changes.changed() => {}
                _ = peers.changed() => {}
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    /// Why a kind has no session.
    fn unserved(&self, kind: &str) -> Error {
        let peers = self.0.realm.registry.peers().borrow().clone();
        let mut kinds = BTreeSet::new();
        for peer in peers.values() {
            let PeerState::Ready(handshake) = &peer.state else { continue };
            kinds.extend(handshake.kinds.iter().map(|kind| kind.name.clone()));
        }
        if let Some(plugin) = self.0.grants.plugin_of(kind) {
            let why = peers.get(&plugin).map_or("its socket is gone".to_owned(), |peer| why_not(&peer.state));
            return errors::unavailable(&plugin, &why);
        }
        if kinds.contains(kind) {
            return errors::unavailable(kind, "its session is not open yet");
        }
        let known = kinds.into_iter().collect::<Vec<_>>().join(", ");
        let hint = if known.is_empty() {
            "no plugin is found: start one, for example om-plugin-process".to_owned()
        } else {
            format!("the kinds that are served: {known}")
        };
        Error::new(Reason::UnknownKind, format!("no plugin serves the kind {kind:?}"))
            .hint(hint)
            .with("kind", kind)
    }
}

/// Why a peer has no session; empty if it could have one.
pub(crate) fn why_not(state: &PeerState) -> String {
    match state {
        PeerState::Ready(_) => String::new(),
        PeerState::Connecting => "not yet connected".to_owned(),
        PeerState::Refused(refusal) => refusal.to_string(),
        PeerState::Unreachable(why) => why.clone(),
    }
}

/// How long a session for this kind with this peer may be waited for.
fn patience(peer: &Peer, kind: &str) -> Duration {
    match &peer.state {
        PeerState::Connecting => OPENING_PATIENCE,
        PeerState::Ready(handshake) if handshake.kinds.iter().any(|served| served.name == kind) => {
            OPENING_PATIENCE
        }
        // Perhaps it is only about to start, or to come back; perhaps its socket is a dead one's.
        PeerState::Unreachable(_) => SILENT_PATIENCE,
        PeerState::Ready(_) | PeerState::Refused(_) => Duration::ZERO,
    }
}

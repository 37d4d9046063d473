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

use super::commit_stream::CommitStream;
use super::{PLUGIN_PATIENCE, Reign};
use crate::errors;
use crate::records::Stored;

/// How long a call waits for a session that is about to open.
const OPENING_PATIENCE: Duration = Duration::from_secs(3);
/// How long it waits for a plugin that does not answer.
const SILENT_PATIENCE: Duration = Duration::from_millis(500);

/// An open session with one plugin.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) plugin: String,
    /// Names of its kinds.
    pub(crate) kinds: Arc<BTreeSet<String>>,
    /// Its kinds, with their actions.
    pub(crate) manifest: Arc<[v1::Kind]>,
    pub(crate) upstream: Upstream,
    /// For commits.
    pub(crate) commit_stream: CommitStream,
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

/// The open sessions, and which plugin each kind is in the hands of.
#[derive(Default)]
pub(crate) struct Sessions {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    open: BTreeMap<String, Session>,
    /// Of two plugins that serve one kind, the first to come keeps it: never do both look after the same services.
    hands: BTreeMap<String, Hands>,
}

/// The plugin that a kind is in the hands of.
struct Hands {
    plugin: String,
    /// When its session was lost, if it was. It may act a while longer: nobody else gets the kind before.
    lost_at: Option<Duration>,
}

impl Sessions {
    /// Takes a session in. Returns the kinds that are in its plugin's hands now.
    pub(super) fn insert(&self, session: Session) -> BTreeSet<String> {
        let mut state = self.lock();
        let mut got = BTreeSet::new();
        for kind in session.kinds.iter() {
            let own = || Hands { plugin: session.plugin.clone(), lost_at: None };
            let hands = state.hands.entry(kind.clone()).or_insert_with(own);
            if hands.plugin == session.plugin {
                hands.lost_at = None;
                got.insert(kind.clone());
            }
        }
        state.open.insert(session.plugin.clone(), session);
        drop(state);
        self.changed.send_modify(|n| *n += 1);
        got
    }

    /// Lets a session go. Returns the kinds that were in its plugin's hands.
    pub(super) fn remove(&self, plugin: &str, now: Duration) -> BTreeSet<String> {
        let mut state = self.lock();
        state.open.remove(plugin);
        let mut lost = BTreeSet::new();
        for (kind, hands) in &mut state.hands {
            if hands.plugin == plugin && hands.lost_at.is_none() {
                hands.lost_at = Some(now);
                lost.insert(kind.clone());
            }
        }
        drop(state);
        self.changed.send_modify(|n| *n += 1);
        lost
    }

    /// Whether there is a kind whose plugin was lost.
    pub(super) fn has_lost(&self) -> bool {
        self.lock().hands.values().any(|hands| hands.lost_at.is_some())
    }

    /// Gives the kinds of plugins that were lost before `until` to others that are there. Returns those kinds.
    pub(super) fn pass_on(&self, until: Duration) -> BTreeSet<String> {
        let mut passed = BTreeSet::new();
        let mut state = self.lock();
        let State { open, hands } = &mut *state;
        for (kind, hands) in hands {
            if hands.lost_at.is_some_and(|lost_at| lost_at < until)
                && let Some(heir) = open.values().find(|session| session.kinds.contains(kind))
            {
                *hands = Hands { plugin: heir.plugin.clone(), lost_at: None };
                passed.insert(kind.clone());
            }
        }
        drop(state);
        if !passed.is_empty() {
            self.changed.send_modify(|n| *n += 1);
        }
        passed
    }

    /// The session for a kind.
    pub(crate) fn of_kind(&self, kind: &str) -> Option<Session> {
        let state = self.lock();
        let hands = state.hands.get(kind).filter(|hands| hands.lost_at.is_none())?;
        state.open.get(&hands.plugin).cloned()
    }

    /// Whether the session with this plugin stands.
    pub(crate) fn has(&self, plugin: &str) -> bool {
        self.lock().open.contains_key(plugin)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let declared = |stored: &Stored| stored.declaration.kind == kind;
        if kinds.contains(kind) || self.declared().is_ok_and(|all| all.values().any(declared)) {
            return errors::unavailable(kind, "no session with a plugin of this kind is open");
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

#[cfg(test)]
mod tests {
    use super::*;

    fn session(plugin: &str, kinds: &[&str]) -> Session {
        Session {
            plugin: plugin.to_owned(),
            kinds: Arc::new(kinds.iter().map(|kind| (*kind).to_owned()).collect()),
            manifest: Arc::new([]),
            upstream: Upstream::new(plugin),
            commit_stream: CommitStream::default(),
            manager: false,
            closed: CancellationToken::new(),
        }
    }

    fn hands(sessions: &Sessions, kind: &str) -> Option<String> {
        sessions.of_kind(kind).map(|session| session.plugin)
    }

    #[test]
    fn of_two_plugins_for_one_kind_the_first_to_come_keeps_it() {
        let sessions = Sessions::default();
        assert_eq!(sessions.insert(session("b", &["x", "y"])).len(), 2);
        assert_eq!(sessions.insert(session("a", &["x", "z"])), BTreeSet::from(["z".to_owned()]));
        assert_eq!(hands(&sessions, "x").as_deref(), Some("b"));
        assert_eq!(hands(&sessions, "z").as_deref(), Some("a"));
    }

    #[test]
    fn a_kind_is_passed_on_when_the_lost_plugin_can_no_longer_act() {
        let at = Duration::from_secs;
        let sessions = Sessions::default();
        sessions.insert(session("a", &["x"]));
        sessions.insert(session("b", &["x"]));
        assert_eq!(sessions.remove("a", at(10)), BTreeSet::from(["x".to_owned()]));
        assert_eq!(hands(&sessions, "x"), None, "it may still act");
        assert!(sessions.pass_on(at(10)).is_empty());
        assert_eq!(sessions.pass_on(at(11)), BTreeSet::from(["x".to_owned()]));
        assert_eq!(hands(&sessions, "x").as_deref(), Some("b"));
        assert!(sessions.insert(session("a", &["x"])).is_empty(), "who comes back finds it taken");
    }

    #[test]
    fn who_comes_back_in_time_keeps_its_kinds() {
        let sessions = Sessions::default();
        sessions.insert(session("a", &["x"]));
        sessions.remove("a", Duration::from_secs(10));
        assert_eq!(sessions.insert(session("a", &["x"])).len(), 1);
        assert!(sessions.pass_on(Duration::from_secs(60)).is_empty());
        assert_eq!(hands(&sessions, "x").as_deref(), Some("a"));
    }
}

//! One session with one plugin: it lends the plugin authority, keeps what the plugin must remember, and hears how the
//! services are.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use om_api::clock::wall_unix_ms;
use om_api::v1::{self, attend_request as to, attend_response as from};
use om_proxy::discovery::{Peer, PeerState, Peers};
use om_store::{Change, Expect};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Streaming};
use tracing::{debug, info};

use super::commit_stream::CommitStream;
use super::{RELEASE_PATIENCE, Reign, Session};
use crate::board;
use crate::errors;
use crate::records::{SERVICES, STATES, ServiceRecord, key};
use crate::wills::Heirs;

/// How long a plugin may take to open a session.
const OPEN_PATIENCE: Duration = Duration::from_secs(5);
/// Services that are looked through at a time for those of a kind.
const PAGE: usize = 256;
/// Answers that may wait for a plugin that reads slowly.
const OUTBOX: usize = 256;
/// Why nothing can be said to a plugin any more.
const CLOSED: &str = "the session's stream is closed";

/// How a session ended.
pub(super) enum Ended {
    /// By us: the reign is over.
    Released,
    /// It was open, and broke.
    Lost(String),
    /// It never opened.
    NotOpened(String),
}

type Outbox = mpsc::Sender<v1::AttendRequest>;

/// Opens a session and keeps it until it breaks or the reign is over.
pub(super) async fn session(reign: &Reign, peer: Peer) -> Ended {
    let PeerState::Ready(handshake) = &peer.state else { return Ended::NotOpened("not ready".into()) };
    let over = reign.0.over.clone();
    let session = Session {
        plugin: peer.name.clone(),
        kinds: Arc::new(handshake.kinds.iter().map(|kind| kind.name.clone()).collect()),
        manifest: handshake.kinds.clone().into(),
        upstream: peer.upstream.clone(),
        commit_stream: CommitStream::default(),
        manager: handshake.role() == v1::Role::Manager,
        closed: CancellationToken::new(),
    };
    let socket = peer.socket.to_string_lossy();
    let opened = over.run_until_cancelled(open(reign, &session, &socket)).await;
    let (outbox, inbox, granted) = match opened {
        None => return Ended::Released,
        Some(Err(why)) => return Ended::NotOpened(why),
        Some(Ok(open)) => open,
    };
    info!(plugin = %session.plugin, term = reign.term(), "attending");
    let successor = successor(reign, &session.plugin, handshake);
    let ended = tokio::select! {
        ended = tend(reign, &session, outbox, inbox, granted) => ended,
        () = successor => Ended::Lost("another has taken its place, or its kinds have changed".into()),
    };
    session.closed.cancel();
    let lost = reign.0.sessions.remove(&session.plugin, (reign.0.realm.clock)());
    if let Ended::Lost(why) = &ended {
        let why = format!("plugin {} is away: {why}", session.plugin);
        let names: Vec<_> = reign.names_of(lost).collect().await;
        reign.0.board.unattended(names.iter().map(String::as_str), &why);
    }
    ended
}

/// Returns when another process serves at the plugin's socket, or the same one has other kinds than at the handshake,
/// as a manager that found one more plugin.
async fn successor(reign: &Reign, plugin: &str, greeted: &v1::HandshakeResponse) {
    let mut peers = reign.0.realm.registry.peers();
    let same = |now: &Peers| match now.get(plugin).map(|peer| &peer.state) {
        Some(PeerState::Ready(handshake)) => {
            handshake.kinds == greeted.kinds && handshake.instance == greeted.instance
        }
        // What it may be then shows when it is ready again.
        _ => true,
    };
    // An error means that nobody looks any more: nothing can change.
    if peers.wait_for(|now| !same(now)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn open(
    reign: &Reign,
    session: &Session,
    socket: &str,
) -> Result<(Outbox, Streaming<v1::AttendResponse>, Lent), String> {
    let realm = &reign.0.realm;
    let granted = reign.grant(&session.plugin, socket, &session.kinds).await;
    let (grant, secret) = granted.map_err(|error| error.to_string())?;
    let mut lent = Lent { grant, secret, heirs: None };
    let (outbox, requests) = mpsc::channel(OUTBOX);
    let open = to::Open {
        term: reign.term(),
        cluster: reign.cluster().to_owned(),
        manager: realm.name.clone(),
        authority_ms: u32::try_from(realm.authority.as_millis()).unwrap_or(u32::MAX),
        will: lent.will(reign),
    };
    send(&outbox, to::Message::Open(open)).await?;
    let mut request = Request::new(ReceiverStream::new(requests));
    om_api::metadata::stamp(&mut request, reign.term(), reign.cluster());
    let mut client = session.client();
    let opening = async {
        let mut inbox =
            client.attend(request).await.map_err(|status| status.message().to_owned())?.into_inner();
        match inbox.message().await.map_err(|status| status.message().to_owned())? {
            Some(v1::AttendResponse { message: Some(from::Message::Opened(opened)) }) => {
                debug!(plugin = %session.plugin, instance = opened.instance, "opened");
                Ok(inbox)
            }
            _ => Err("it did not say `opened` first".to_owned()),
        }
    };
    let opened = tokio::time::timeout(OPEN_PATIENCE, opening).await;
    Ok((outbox, opened.map_err(|_| format!("no answer within {OPEN_PATIENCE:?}"))??, lent))
}

/// The authority that a session lends.
struct Lent {
    /// The key of its grant.
    grant: String,
    /// The secret of its will.
    secret: Vec<u8>,
    /// Whom the plugin was last said to tell.
    heirs: Option<Heirs>,
}

impl Lent {
    /// Whom the plugin is to tell that it has stopped, should this leader die, if that is news to it.
    fn will(&mut self, reign: &Reign) -> Option<to::Will> {
        let heirs = reign.0.realm.heirs.as_ref()?();
        if self.heirs.as_ref() == Some(&heirs) {
            return None;
        }
        let Heirs { endpoints, ca_pem } = self.heirs.insert(heirs).clone();
        let (grant, token) = (self.grant.clone(), self.secret.clone().into());
        Some(to::Will { grant, token, endpoints, ca_pem: ca_pem.into() })
    }
}

async fn send(outbox: &Outbox, message: to::Message) -> Result<(), String> {
    let sent = outbox.send(v1::AttendRequest { message: Some(message) }).await;
    sent.map_err(|_| CLOSED.to_owned())
}

/// How much authority there is, counted from when the plugin's last ask came: it was sent before that.
fn renewed(reign: &Reign, (ask, came): (u64, Duration)) -> v1::AttendRequest {
    let left = reign.0.mandate.remaining_from(came).unwrap_or_default();
    let remaining_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
    v1::AttendRequest { message: Some(to::Message::Renewed(to::Renewed { ask, remaining_ms })) }
}

/// The session while it stands.
async fn tend(
    reign: &Reign,
    session: &Session,
    outbox: Outbox,
    mut inbox: Streaming<v1::AttendResponse>,
    mut lent: Lent,
) -> Ended {
    let grant = lent.grant.clone();
    let silence = reign.0.realm.authority * 2;
    let mut heard_at = Instant::now();
    // What it asked last, and when that came.
    let mut asked: Option<(u64, Duration)> = None;
    let mut confirmed = reign.0.mandate.deadline();
    let mut saves: JoinSet<to::StateSaved> = JoinSet::new();
    let start = start(reign.clone(), session.clone(), grant.clone());
    let mut start = std::pin::pin!(start);
    let mut started = false;
    loop {
        let heard = tokio::select! {
            biased;
            () = reign.0.over.cancelled() => return release(reign, &outbox, &mut inbox, &grant).await,
            () = session.closed.cancelled() => return Ended::Lost("the session was broken off".into()),
            heard = tokio::time::timeout_at(heard_at + silence, inbox.next()) => heard,
            Ok(()) = confirmed.changed(), if asked.is_some() => {
                if let Some(asked) = asked {
                    // One that does not read misses some.
                    let _ = outbox.try_send(renewed(reign, asked));
                }
                if let Some(will) = lent.will(reign)
                    && let Err(why) = send(&outbox, to::Message::Will(will)).await
                {
                    return Ended::Lost(why);
                }
                continue;
            }
            Some(saved) = saves.join_next() => {
                let Ok(saved) = saved else { continue };
                if let Err(why) = send(&outbox, to::Message::StateSaved(saved)).await {
                    return Ended::Lost(why);
                }
                continue;
            }
            () = &mut start, if !started => {
                started = true;
                continue;
            }
        };
        let message = match heard {
            Err(_) => return Ended::Lost(format!("it has said nothing for {silence:?}")),
            Ok(None) => return Ended::Lost("it closed the session".into()),
            Ok(Some(Err(status))) => return Ended::Lost(status.message().to_owned()),
            Ok(Some(Ok(v1::AttendResponse { message }))) => message,
        };
        heard_at = Instant::now();
        match message {
            Some(from::Message::Ask(ask)) => {
                let ask = *asked.insert((ask.ask, (reign.0.realm.clock)()));
                confirmed.mark_unchanged();
                if outbox.send(renewed(reign, ask)).await.is_err() {
                    return Ended::Lost(CLOSED.to_owned());
                }
            }
            Some(from::Message::SaveState(save)) => {
                saves.spawn(keep(reign.clone(), save));
            }
            Some(from::Message::Status(status)) => reign.heard(status),
            Some(from::Message::Stopped(_)) => reign.stopped(&grant),
            Some(from::Message::Released(_)) => {
                reign.returned(&grant);
                return Ended::Lost("it is stopping".into());
            }
            Some(from::Message::Opened(_)) | None => {
                debug!(plugin = %session.plugin, "an unknown message is ignored");
            }
        }
    }
}

/// Once no other plugin can act on these kinds: every service of them is committed, many at once.
async fn start(reign: Reign, session: Session, grant: String) {
    reign.others_stopped(&grant, &session.kinds).await;
    let got = reign.0.sessions.insert(session.clone());
    let names = reign.names_of(got);
    info!(plugin = %session.plugin, "committing every service");
    let committing = reign.clone();
    reign.spawn(async move {
        let closed = session.closed.clone();
        closed.run_until_cancelled(committing.look_after_all(names)).await;
    });
}

/// Asks the plugin to stop everything, and waits for its word.
async fn release(
    reign: &Reign,
    outbox: &Outbox,
    inbox: &mut Streaming<v1::AttendResponse>,
    grant: &str,
) -> Ended {
    let asked = async {
        send(outbox, to::Message::Release(to::Release {})).await.ok()?;
        while let Ok(message) = inbox.next().await? {
            if matches!(message.message, Some(from::Message::Released(_))) {
                return Some(());
            }
        }
        None
    };
    if tokio::time::timeout(RELEASE_PATIENCE, asked).await.ok().flatten().is_some() {
        reign.returned(grant);
    }
    Ended::Released
}

/// Stores what a plugin must remember, under the fence, if the service still is.
async fn keep(reign: Reign, save: from::SaveState) -> to::StateSaved {
    let from::SaveState { save, service, state } = save;
    if state.len() > om_api::MAX_STATE_BYTES {
        let error = format!("{} bytes of state; at most {} are kept", state.len(), om_api::MAX_STATE_BYTES);
        return to::StateSaved { save, error };
    }
    // A copy: what came is a piece of a buffer of 8 KiB or more, which would stay as long as the state does.
    let state = Bytes::copy_from_slice(&state);
    let change = Change::at(wall_unix_ms())
        .put(key(STATES, &service), state)
        .expect(key(SERVICES, &service), Expect::Present);
    let error = match reign.append(change).await {
        Ok(_) => String::new(),
        Err(om_store::Error::Conflict { .. }) => format!("{service} is no longer declared"),
        Err(error) => errors::of_store(&error).message,
    };
    to::StateSaved { save, error }
}

impl Reign {
    /// Takes in what a plugin says of a service.
    fn heard(&self, status: from::ServiceStatus) {
        let from::ServiceStatus { service, revision, phase, message } = status;
        let phase = v1::Phase::try_from(phase).unwrap_or(v1::Phase::Unspecified);
        // Only of what is declared: a late word on a destroyed service must not bring it back.
        let record = self.0.realm.store.view().get(&key(SERVICES, &service));
        match record.and_then(|record| ServiceRecord::decode(&*record.value).ok()) {
            Some(record) if !record.destroying || phase == v1::Phase::Destroying => {
                self.0.board.set(
                    &service,
                    board::Standing { revision, phase, message: message.into(), attended: true },
                );
            }
            _ => debug!(service, "a word on what is not declared is ignored"),
        }
    }

    /// The names of all services of these kinds, page by page: the first are at hand at once, however many there are. One
    /// that is declared meanwhile may be among them or not: who declares it brings it to its plugin.
    pub(super) fn names_of(&self, kinds: BTreeSet<String>) -> impl Stream<Item = String> + Send + use<> {
        let page = |(reign, kinds, after): (Self, BTreeSet<String>, Option<Arc<str>>)| async move {
            let (_, records) = reign.0.realm.store.view().scan(SERVICES, after.as_deref(), PAGE);
            let last = records.last()?.0.clone();
            let is_of_kinds = |record: &om_store::Record| {
                ServiceRecord::decode(&*record.value).is_ok_and(|read| kinds.contains(read.kind()))
            };
            let of_kinds = records.iter().filter(|(_, record)| is_of_kinds(record));
            let names: Vec<_> = of_kinds.map(|(key, _)| key[SERVICES.len()..].to_owned()).collect();
            Some((stream::iter(names), (reign, kinds, Some(last))))
        };
        stream::unfold((self.clone(), kinds, None), page).flatten()
    }
}

//! One peer: connected, greeted, kept, and tried again after a loss.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use om_api::v1::service_plugin_client::ServicePluginClient;
use om_api::v1::{HandshakeRequest, HandshakeResponse, Role};
use om_api::{MAX_MESSAGE_BYTES, PROTOCOL};
use tokio::sync::watch;
use tonic::{Code, Status};

use super::scan::Found;
use super::{HANDSHAKE_TIMEOUT, Peer, PeerState, Peers, Refusal, RegistryOptions};
use crate::Upstream;

const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// One that was refused is asked again when its socket changes, and now and then.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// A manager's kinds are those of the plugins that it finds, and come and go while it runs.
const MANAGER_AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Keeper {
    name: String,
    socket: PathBuf,
    upstream: Upstream,
    options: Arc<RegistryOptions>,
    publish: Arc<watch::Sender<Peers>>,
    file: watch::Receiver<Option<Found>>,
}

enum Greeting {
    Good { connection: u64, handshake: Arc<HandshakeResponse> },
    Refused(Refusal),
    None(String),
}

impl Keeper {
    pub(super) fn new(
        name: &str,
        upstream: Upstream,
        options: Arc<RegistryOptions>,
        publish: Arc<watch::Sender<Peers>>,
        file: watch::Receiver<Option<Found>>,
    ) -> Self {
        let socket = upstream.socket().to_owned();
        Self { name: name.to_owned(), socket, upstream, options, publish, file }
    }

    /// Ends, with the name, when the socket is gone and was not asked for by name.
    pub(super) async fn run(mut self) -> String {
        let mut backoff = BACKOFF_MIN;
        if self.file.borrow().is_some() {
            self.set(PeerState::Connecting);
        }
        loop {
            if self.file.borrow_and_update().is_none() {
                if !self.is_named() {
                    return self.forget();
                }
                self.set(PeerState::Unreachable(format!("no socket at {}", self.socket.display())));
                if self.file.changed().await.is_err() {
                    return self.name;
                }
                tracing::debug!("discovered plugin at {}", self.socket.display());
                backoff = BACKOFF_MIN;
                continue;
            }
            match self.greet().await {
                Greeting::Good { connection, handshake } => {
                    backoff = BACKOFF_MIN;
                    let manager = handshake.role() == Role::Manager;
                    self.welcome(handshake);
                    self.stay(connection, manager).await;
                }
                Greeting::Refused(why) => {
                    backoff = BACKOFF_MIN;
                    self.set(PeerState::Refused(why));
                    self.upstream.reset();
                    self.pause(ASK_AGAIN).await;
                }
                Greeting::None(why) => {
                    self.set(PeerState::Unreachable(why));
                    backoff =
                        if self.pause(backoff).await { BACKOFF_MIN } else { (backoff * 2).min(BACKOFF_MAX) };
                }
            }
        }
    }

    fn is_named(&self) -> bool {
        self.options.only.as_ref().is_some_and(|only| only.contains(&self.name))
    }

    /// While the connection stands and no other socket takes its place.
    async fn stay(&mut self, connection: u64, manager: bool) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(MANAGER_AGAIN), if manager => {
                    if let Greeting::Good { handshake, .. } = self.greet().await {
                        self.set(PeerState::Ready(handshake));
                    }
                }
                () = self.upstream.closed(connection) => {
                    tracing::info!("lost plugin {} at {}", self.name, self.socket.display());
                    let why = format!("the connection to {} was lost", self.socket.display());
                    return self.set(PeerState::Unreachable(why));
                }
                changed = self.file.changed() => {
                    let another = self.file.borrow().is_some();
                    if another || changed.is_err() {
                        // A successor is there already; what the predecessor is still doing may come to its end.
                        self.upstream.reset();
                        return;
                    }
                }
            }
        }
    }

    /// Whether the socket has changed meanwhile.
    async fn pause(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.file.changed()).await.is_ok()
    }

    async fn greet(&self) -> Greeting {
        let connection = match self.upstream.connect().await {
            Ok(connection) => connection,
            Err(status) => return Greeting::None(status.message().to_owned()),
        };
        let mut client =
            ServicePluginClient::new(self.upstream.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let request = HandshakeRequest { caller: self.options.caller.clone() };
        let answer = match tokio::time::timeout(HANDSHAKE_TIMEOUT, client.handshake(request)).await {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => return self.unanswered(&status),
            Err(_) => {
                self.upstream.reset();
                let socket = self.socket.display();
                return Greeting::None(format!(
                    "no answer from {socket} to the handshake within {HANDSHAKE_TIMEOUT:?}"
                ));
            }
        };
        match self.judge(&answer) {
            Ok(()) => Greeting::Good { connection, handshake: Arc::new(answer) },
            Err(refusal) => Greeting::Refused(refusal),
        }
    }

    fn unanswered(&self, status: &Status) -> Greeting {
        if status.code() == Code::Unimplemented {
            return Greeting::Refused(Refusal::Protocol { found: String::new() });
        }
        self.upstream.reset();
        Greeting::None(format!("no good answer to the handshake: {}", status.message()))
    }

    fn judge(&self, answer: &HandshakeResponse) -> Result<(), Refusal> {
        if answer.protocol != PROTOCOL {
            return Err(Refusal::Protocol { found: answer.protocol.clone() });
        }
        if answer.name.is_empty() {
            return Err(Refusal::Incomplete("name"));
        }
        if answer.name != self.name {
            return Err(Refusal::Name { found: answer.name.clone() });
        }
        if answer.instance.is_empty() {
            return Err(Refusal::Incomplete("instance"));
        }
        match answer.role() {
            Role::Unspecified => Err(Refusal::Incomplete("role")),
            Role::Manager if !self.is_named() => Err(Refusal::Manager),
            Role::Plugin | Role::Manager => Ok(()),
        }
    }

    fn welcome(&self, handshake: Arc<HandshakeResponse>) {
        let (name, version) = (&self.name, &handshake.version);
        tracing::info!("plugin {name} {version} at {} is ready", self.socket.display());
        self.set(PeerState::Ready(handshake));
    }

    fn set(&self, state: PeerState) {
        if matches!(state, PeerState::Connecting) {
            tracing::debug!("discovered plugin at {}", self.socket.display());
        }
        self.publish.send_if_modified(|peers| {
            if peers.get(&self.name).is_some_and(|peer| peer.state == state) {
                return false;
            }
            if let PeerState::Refused(why) = &state {
                tracing::debug!("not used: {} {why}", self.socket.display());
            }
            let (name, socket, upstream) = (self.name.clone(), self.socket.clone(), self.upstream.clone());
            Arc::make_mut(peers).insert(name.clone(), Peer { name, socket, upstream, state });
            true
        });
    }

    fn forget(self) -> String {
        self.publish.send_if_modified(|peers| Arc::make_mut(peers).remove(&self.name).is_some());
        self.name
    }
}

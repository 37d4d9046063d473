//! The addresses at which a replica answers, each with both interfaces, health and reflection.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use om_api::clock::since_boot;
use om_api::socket::{self, BoundSocket, KnownCallers, ServerTls, TcpIncoming};
use om_api::v1::manager_server::ManagerServer;
use om_api::v1::peer_server::PeerServer;
use om_api::v1::service_plugin_server::ServicePluginServer;
use om_proxy::{Aside, Drain, Gathered, PassThroughLayer};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic_health::server::HealthReporter;
use tracing::{debug, warn};

use crate::front::{Front, ManagerRouter};
use crate::ground::Incoming;
use crate::peers::PeerFront;
use crate::reflection;
use crate::reign::Reign;
use crate::replica::Replica;

/// A host that is gone says nothing. So often it is asked for a sign of life, and so long it may take to give one.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// How often a failed handshake is worth a warning.
const WARNING: Duration = Duration::from_secs(1);

/// Where connections come from.
pub(crate) enum Listener {
    Socket(BoundSocket),
    Port(TcpListener),
    /// Somebody else takes them.
    Given(Incoming),
}

/// What answers at every address.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) replica: Replica,
    pub(crate) peers: Option<PeerFront>,
    pub(crate) drain: Drain,
    pub(crate) close: CancellationToken,
}

/// Serves both interfaces, health and reflection at every address: unix sockets, at which programs may ask often, on the
/// lane; TCP by TLS, if there are certificates for it.
pub(crate) fn serve(
    service: &Service,
    listeners: Vec<Listener>,
    lane: &Handle,
    tls: Option<&ServerTls>,
) -> JoinSet<Result<(), tonic::transport::Error>> {
    let mut servers = JoinSet::new();
    let of_network = || {
        socket::server()
            .http2_keepalive_interval(Some(SIGN_OF_LIFE))
            .http2_keepalive_timeout(Some(SIGN_OF_LIFE))
    };
    for listener in listeners {
        let (service, pass_through) = (service.clone(), service.pass_through());
        match listener {
            Listener::Socket(socket) => {
                let incoming = socket.map(|connection| connection.map(Gathered::new));
                let server = one_server(socket::server(), service, pass_through.apart(), incoming);
                servers.spawn_on(server, lane);
            }
            Listener::Port(port) => {
                let incoming = TcpIncoming::new(port, tls.cloned(), say_who_fails());
                servers.spawn(one_server(of_network(), service, pass_through, incoming));
            }
            Listener::Given(incoming) => {
                servers.spawn(one_server(of_network(), service, pass_through, incoming));
            }
        }
    }
    servers
}

impl Service {
    fn pass_through(&self) -> PassThroughLayer {
        PassThroughLayer::new(Arc::new(ManagerRouter(self.replica.clone())))
    }
}

/// Says which connections failed, and why, but not a thousand times. Who only looks whether the port is open is no news.
fn say_who_fails() -> impl Fn(SocketAddr, &io::Error) + Send + Sync + 'static {
    let last = Mutex::new(None);
    move |remote, error| {
        let now = since_boot();
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = error.kind() != io::ErrorKind::ConnectionAborted
            && last.is_none_or(|last| now.saturating_sub(last) >= WARNING);
        if is_news {
            *last = Some(now);
            warn!(%remote, %error, "a TLS connection failed");
        } else {
            debug!(%remote, %error, "a TLS connection failed");
        }
    }
}

fn one_server<I, C>(
    server: Server,
    service: Service,
    pass_through: PassThroughLayer,
    incoming: I,
) -> impl Future<Output = Result<(), tonic::transport::Error>> + Send
where
    I: tokio_stream::Stream<Item = io::Result<C>> + Send + 'static,
    C: tokio::io::AsyncRead
        + tokio::io::AsyncWrite
        + tonic::transport::server::Connected
        + Unpin
        + Send
        + 'static,
    C::ConnectInfo: Clone + Send + Sync + 'static,
{
    let Service { replica, peers, drain, close } = service;
    let front = Front::new(replica.clone());
    let plugin = ServicePluginServer::new(front.clone())
        .max_decoding_message_size(om_api::MAX_MESSAGE_BYTES)
        .max_encoding_message_size(om_api::MAX_MESSAGE_BYTES);
    let manager = ManagerServer::new(front)
        .max_decoding_message_size(om_api::MAX_MESSAGE_BYTES)
        .max_encoding_message_size(om_api::MAX_MESSAGE_BYTES);
    let aside = Aside::to(Handle::current());
    async move {
        let (reporter, health) = tonic_health::server::health_reporter();
        let told = tell_health(reporter, replica.reign);
        let mut server = server.layer(KnownCallers).layer(drain.layer()).layer(pass_through).layer(aside);
        let router = server.add_service(health).add_service(plugin).add_service(manager);
        let router = peers.into_iter().map(PeerServer::new).fold(router, Router::add_service);
        let router = router.add_service(reflection::service());
        tokio::select! {
            served = router.serve_with_incoming_shutdown(incoming, close.cancelled_owned()) => served,
            never = told => match never {},
        }
    }
}

/// The process is healthy as a whole, always, and so is the interface of the manager, which every replica answers; the
/// plugin interface serves while this replica leads. So a load balancer
/// or an orchestrator may look for the leader, and restarts nobody for following.
async fn tell_health(reporter: HealthReporter, mut reign: watch::Receiver<Option<Reign>>) -> Infallible {
    reporter.set_serving::<ManagerServer<Front>>().await;
    loop {
        if reign.borrow_and_update().is_some() {
            reporter.set_serving::<ServicePluginServer<Front>>().await;
        } else {
            reporter.set_not_serving::<ServicePluginServer<Front>>().await;
        }
        if reign.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

//! Channels to endpoints.
//!
//! What must hold: a unix socket is spoken to in the clear, whatever is said; nothing is sent over a network in the
//! clear unless somebody said so; with TLS the other side is known by the host of its address.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::local::LocalStream;
use super::stream::{ClientStream, Connection};
use super::tls::{ClientTls, TlsProblem};
use super::{Address, MAX_FRAME};

/// How long one attempt to connect may take, with the TLS handshake, where nobody gives a shorter time.
const ATTEMPT: Duration = Duration::from_secs(10);
/// A host that is gone says nothing. So often it is asked for a sign of life while a call is under way, and so long it
/// may take to give one.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// How TCP is spoken. Unix sockets are always in the clear: their rights say who may connect.
#[derive(Clone, Debug, Default)]
pub enum Security {
    /// In the clear, and so only on this machine: another host is refused.
    #[default]
    Clear,
    /// In the clear, to other hosts too, because somebody said so.
    Insecure,
    /// By TLS, always.
    Tls(ClientTls),
}

/// Why an endpoint cannot be reached.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to {address}: {why}")]
pub struct ConnectError {
    /// The endpoint.
    pub address: Address,
    /// What kind of failure it is: `TimedOut` when the time was up, `Unsupported` when the network was not to be
    /// used in the clear, `InvalidData` when the two sides do not agree about TLS or certificates.
    pub kind: io::ErrorKind,
    /// What TLS did not like, if it was that.
    pub tls: Option<TlsProblem>,
    why: String,
}

impl ConnectError {
    fn new(address: &Address, cause: &(dyn std::error::Error + 'static)) -> Self {
        let mut causes = std::iter::successors(Some(cause), |cause| cause.source());
        let io = causes.find_map(|cause| cause.downcast_ref::<io::Error>());
        let kind = io.map_or(io::ErrorKind::Other, io::Error::kind);
        let tls = io.and_then(TlsProblem::within).cloned();
        let text =
            || std::iter::successors(Some(cause), |cause| cause.source()).last().map(ToString::to_string);
        let why = match (kind, address) {
            (io::ErrorKind::NotFound, Address::Unix(_)) => {
                "there is no such socket; is the program running?".to_owned()
            }
            (io::ErrorKind::ConnectionRefused, Address::Unix(_)) => {
                "nobody serves this socket; the program behind it has ended".to_owned()
            }
            _ => io.map(ToString::to_string).or_else(text).unwrap_or_default(),
        };
        Self { address: address.clone(), kind, tls, why }
    }
}

/// A connection that is being opened.
pub type Dialling = Pin<Box<dyn Future<Output = io::Result<Box<dyn Connection>>> + Send>>;

/// Opens connections. A unix socket that is not there is `NotFound`, one that nobody serves `ConnectionRefused`.
///
/// Passed to whoever connects to others, so that a test or a simulation can supply its own.
pub type Dialer = Arc<dyn Fn(&Address, &Security) -> Dialling + Send + Sync>;

/// The machine's own way to others.
#[must_use]
pub fn system() -> Dialer {
    Arc::new(|address, security| {
        let (address, security) = (address.clone(), security.clone());
        Box::pin(async move { open(&address, &security).await })
    })
}

/// A channel that connects at the first call, and again after every loss. Clones share the connection. Certificates
/// that were renewed count from the next connection on.
#[must_use]
pub fn channel(address: &Address, security: &Security) -> Channel {
    endpoint(address).connect_with_connector_lazy(connector(system(), address.clone(), security.clone()))
}

/// A channel that is connected, within `timeout`.
///
/// # Errors
/// [`ConnectError`], whose `kind` is `TimedOut` when the time was up.
pub async fn connect(
    address: &Address,
    security: &Security,
    timeout: Duration,
) -> Result<Channel, ConnectError> {
    connect_by(&system(), address, security, timeout).await
}

/// The same, by a way of the caller's.
///
/// # Errors
/// As [`connect`].
pub async fn connect_by(
    dialer: &Dialer,
    address: &Address,
    security: &Security,
    timeout: Duration,
) -> Result<Channel, ConnectError> {
    let endpoint = endpoint(address);
    let connector = connector(dialer.clone(), address.clone(), security.clone());
    let connecting = endpoint.connect_with_connector(connector);
    match tokio::time::timeout(timeout, connecting).await {
        Ok(connected) => connected.map_err(|cause| ConnectError::new(address, &cause)),
        Err(_) => {
            let why = format!("no answer within {timeout:?}");
            Err(ConnectError { address: address.clone(), kind: io::ErrorKind::TimedOut, tls: None, why })
        }
    }
}

fn endpoint(address: &Address) -> Endpoint {
    // The authority of every call; where it really goes is the connector's business.
    let endpoint = Endpoint::from_static("http://localhost").max_frame_size(MAX_FRAME);
    match address {
        Address::Unix(_) => endpoint,
        Address::Tcp { .. } => {
            endpoint.http2_keep_alive_interval(SIGN_OF_LIFE).keep_alive_timeout(SIGN_OF_LIFE)
        }
    }
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<TokioIo<Box<dyn Connection>>>> + Send>>;

fn connector(
    dialer: Dialer,
    address: Address,
    security: Security,
) -> impl tower::Service<
    http::Uri,
    Response = TokioIo<Box<dyn Connection>>,
    Error = io::Error,
    Future = Connecting,
> + Send
+ 'static {
    service_fn(move |_: http::Uri| -> Connecting {
        let opening = dialer(&address, &security);
        Box::pin(async move {
            let opened = tokio::time::timeout(ATTEMPT, opening).await;
            let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {ATTEMPT:?}"));
            Ok(TokioIo::new(opened.map_err(|_| late())??))
        })
    })
}

async fn open(address: &Address, security: &Security) -> io::Result<Box<dyn Connection>> {
    let (host, port) = match address {
        Address::Unix(path) => return Ok(Box::new(LocalStream::new(UnixStream::connect(path).await?)?)),
        Address::Tcp { host, port } => (host.as_str(), *port),
    };
    if matches!(security, Security::Clear) && !address.is_local() {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "nothing is sent to another host in the clear; give --tls-ca FILE, --tls-cert FILE and --tls-key FILE, \
             or say --insecure",
        ));
    }
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    match security {
        Security::Clear | Security::Insecure => Ok(Box::new(ClientStream::clear(stream))),
        Security::Tls(tls) => Ok(Box::new(ClientStream::encrypted(tls.connect(host, stream).await?))),
    }
}

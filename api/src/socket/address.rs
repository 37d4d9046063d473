//! Endpoint URLs, and channels to them.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// Where something serves: `unix:///path` or `tcp://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP port. Connected in the clear, therefore only on this machine.
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
}

/// Why a text is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the endpoint {url:?} {why}; an endpoint is unix:///path/of/socket or tcp://host:port")]
pub struct AddressError {
    /// As given.
    pub url: String,
    why: &'static str,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(url: &str) -> Result<Self, AddressError> {
        let refuse = |why| AddressError { url: url.to_owned(), why };
        match url.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(PathBuf::from(path))),
            Some(("unix", _)) => Err(refuse("has no absolute path")),
            Some(("tcp", authority)) => {
                let (host, port) = authority.rsplit_once(':').ok_or_else(|| refuse("has no port"))?;
                let port = port.parse().map_err(|_| refuse("has no port between 0 and 65535"))?;
                let bare = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
                let host = bare.unwrap_or(host);
                if host.is_empty() || host.contains(['/', '@', '[', ']']) {
                    return Err(refuse("has no host"));
                }
                if bare.is_none() && host.contains(':') {
                    return Err(refuse("has an IPv6 address without brackets"));
                }
                Ok(Self::Tcp { host: host.to_owned(), port })
            }
            Some(_) => Err(refuse("has a scheme that is not known")),
            None => Err(refuse("has no scheme")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

impl From<&Path> for Address {
    fn from(path: &Path) -> Self {
        Self::Unix(path.to_owned())
    }
}

impl Address {
    /// Refuses what would send the conversation over a network in the clear.
    fn check(&self) -> io::Result<()> {
        let Self::Tcp { host, .. } = self else { return Ok(()) };
        if host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()) {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "tcp endpoints are not encrypted yet, so only those on this machine are connected to",
        ))
    }
}

/// Why an endpoint cannot be reached.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to {address}: {why}")]
pub struct ConnectError {
    /// The endpoint.
    pub address: Address,
    /// What kind of failure it is; `TimedOut` when the time was up.
    pub kind: io::ErrorKind,
    why: String,
}

impl ConnectError {
    fn new(address: &Address, cause: &(dyn std::error::Error + 'static)) -> Self {
        let mut causes = std::iter::successors(Some(cause), |cause| cause.source());
        let io = causes.find_map(|cause| cause.downcast_ref::<io::Error>());
        let kind = io.map_or(io::ErrorKind::Other, io::Error::kind);
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
        Self { address: address.clone(), kind, why }
    }
}

/// A channel that connects at the first call, and again after every loss. Clones share the connection.
#[must_use]
pub fn channel(address: &Address) -> Channel {
    endpoint().connect_with_connector_lazy(connector(address.clone()))
}

/// A channel that is connected, within `timeout`.
///
/// # Errors
/// [`ConnectError`], whose `kind` is `TimedOut` when the time was up.
pub async fn connect(address: &Address, timeout: Duration) -> Result<Channel, ConnectError> {
    let endpoint = endpoint();
    let connecting = endpoint.connect_with_connector(connector(address.clone()));
    match tokio::time::timeout(timeout, connecting).await {
        Ok(connected) => connected.map_err(|cause| ConnectError::new(address, &cause)),
        Err(_) => {
            let why = format!("no answer within {timeout:?}");
            Err(ConnectError { address: address.clone(), kind: io::ErrorKind::TimedOut, why })
        }
    }
}

fn endpoint() -> Endpoint {
    // The authority of every call; where it really goes is the connector's business.
    Endpoint::from_static("http://localhost")
}

/// A unix or TCP connection.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

type Connecting = Pin<Box<dyn Future<Output = io::Result<TokioIo<Box<dyn Connection>>>> + Send>>;

fn connector(
    address: Address,
) -> impl tower::Service<
    http::Uri,
    Response = TokioIo<Box<dyn Connection>>,
    Error = io::Error,
    Future = Connecting,
> + Send
+ 'static {
    service_fn(move |_: http::Uri| -> Connecting {
        let address = address.clone();
        Box::pin(async move { Ok(TokioIo::new(open(&address).await?)) })
    })
}

async fn open(address: &Address) -> io::Result<Box<dyn Connection>> {
    address.check()?;
    match address {
        Address::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        Address::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream))
        }
    }
}

//! Endpoint URLs.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where something serves: `unix:///path` or `tcp://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP port.
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
    /// Whether what is sent there stays on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp { host, .. } => {
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
        }
    }
}

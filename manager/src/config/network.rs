//! How TCP is served and spoken.
//!
//! What must hold: nothing is served to another host in the clear, and nothing is said to one, unless somebody said so.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use om_api::socket::{Address, CredentialFiles, Credentials, Security};

/// One more address to serve at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP port.
    Tcp {
        /// An address of this host, or a name of one.
        host: String,
        /// 0: any that is free.
        port: u16,
    },
}

/// How TCP is served and spoken.
#[derive(Debug, Clone)]
pub enum Network {
    /// In the clear, and so only on this machine.
    Clear,
    /// In the clear, because somebody said so.
    Insecure,
    /// By TLS, with these certificates: on the loopback too.
    Tls(Credentials),
}

impl Network {
    /// How other replicas are dialled.
    #[must_use]
    pub fn security(&self) -> Security {
        match self {
            Self::Clear => Security::Clear,
            Self::Insecure => Security::Insecure,
            Self::Tls(credentials) => Security::Tls(credentials.client()),
        }
    }

    /// Refuses an address at which everybody would refuse the certificate.
    pub(super) fn can_be_named(&self, advertised: &Address) -> Result<(), String> {
        match (self, advertised) {
            (Self::Tls(credentials), Address::Tcp { host, .. }) => {
                credentials.check_host(host).map_err(|error| error.to_string())
            }
            _ => Ok(()),
        }
    }

    /// The certificates, if TLS is spoken.
    #[must_use]
    pub fn credentials(&self) -> Option<&Credentials> {
        match self {
            Self::Tls(credentials) => Some(credentials),
            Self::Clear | Self::Insecure => None,
        }
    }
}

/// What was said about it.
pub(super) struct Flags {
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) ca: Option<PathBuf>,
    pub(super) insecure: bool,
}

const CERTIFICATES: &str = "--tls-cert FILE, --tls-key FILE and --tls-ca FILE";

impl Flags {
    /// Reads the certificates, and sees whether all listeners may be served.
    pub(super) fn resolve(self, listen: &[Listen]) -> Result<Network, String> {
        let network = match (self.cert, self.key, self.ca) {
            (None, None, None) if self.insecure => Network::Insecure,
            (None, None, None) => Network::Clear,
            (Some(_), Some(_), Some(_)) if self.insecure => {
                return Err("--insecure and certificates are both given: leave out one of them".to_owned());
            }
            (Some(cert), Some(key), Some(ca)) => {
                let read = Credentials::read(CredentialFiles { cert, key, ca });
                Network::Tls(read.map_err(|error| error.to_string())?)
            }
            (cert, key, ca) => {
                let missing = [("--tls-cert", cert), ("--tls-key", key), ("--tls-ca", ca)];
                let missing: Vec<_> =
                    missing.iter().filter(|(_, given)| given.is_none()).map(|(flag, _)| *flag).collect();
                return Err(format!("TLS needs {CERTIFICATES}; not given: {}", missing.join(", ")));
            }
        };
        if matches!(network, Network::Clear)
            && let Some(listen) = listen.iter().find(|listen| !listen.is_local())
        {
            return Err(format!(
                "--listen {}: other hosts can reach it, and nothing is served to them in the clear; give {CERTIFICATES} \
                 (docs/tls.md shows how to make them), or say --insecure",
                listen.url()
            ));
        }
        Ok(network)
    }
}

impl Listen {
    fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Unix(_) => None,
            Self::Tcp { host, .. } => host.parse().ok(),
        }
    }

    fn is_local(&self) -> bool {
        matches!(self, Self::Unix(_)) || self.ip().is_some_and(|ip| ip.is_loopback())
    }

    fn url(&self) -> String {
        match self {
            Self::Unix(path) => Address::Unix(path.clone()).to_string(),
            Self::Tcp { host, port } => Address::Tcp { host: host.clone(), port: *port }.to_string(),
        }
    }
}

/// Reads one address.
pub(super) fn listening(url: &str) -> Result<Listen, String> {
    match url.parse::<Address>().map_err(|why| format!("--listen: {why}"))? {
        Address::Unix(path) => Ok(Listen::Unix(path)),
        Address::Tcp { host, port } if host == "localhost" => {
            Ok(Listen::Tcp { host: Ipv4Addr::LOCALHOST.to_string(), port })
        }
        Address::Tcp { host, port } => Ok(Listen::Tcp { host, port }),
    }
}

/// Where others find this replica, if nobody says: at TCP, if it serves there, and rather where other hosts can reach.
/// `None`: at its socket.
pub(super) fn advertised(listen: &[Listen]) -> Result<Option<String>, String> {
    let ports = || listen.iter().filter(|listen| matches!(listen, Listen::Tcp { .. }));
    let Some(first) = ports().find(|listen| !listen.is_local()).or_else(|| ports().next()) else {
        return Ok(None);
    };
    let url = first.url();
    let unclear = match first {
        Listen::Tcp { port: 0, .. } => Some("has no fixed port"),
        _ if first.ip().is_some_and(|ip| ip.is_unspecified()) => Some("is every address of this host"),
        _ => None,
    };
    match unclear {
        Some(why) => Err(format!(
            "--listen {url} {why}, so nobody can be sent there: say with --advertise tcp://HOST:PORT where others find \
             this replica"
        )),
        None => Ok(Some(url)),
    }
}

//! Where an engine is, by the conventions of the `docker` command.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Where an engine is if nobody says.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// The files of TLS, as `docker` names them.
const FILES: [&str; 3] = ["ca.pem", "cert.pem", "key.pem"];

/// What a user says of an engine: flags, or the environment that the `docker` command reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineOptions {
    /// `unix:///PATH` or `tcp://HOST:PORT` (`DOCKER_HOST`); empty: [`DEFAULT_HOST`].
    pub host: String,
    /// Whether a `tcp://` engine is spoken to by TLS (`DOCKER_TLS_VERIFY` is not empty); `https://` always is.
    pub tls: bool,
    /// The directory with ca.pem, cert.pem and key.pem (`DOCKER_CERT_PATH`, else `~/.docker`).
    pub certificates: Option<PathBuf>,
}

/// Options that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// No such address.
    #[error(
        "--docker-host {0}: an engine is unix:///PATH or tcp://HOST:PORT (with --docker-tls-verify: by TLS)"
    )]
    Host(String),
    /// TLS without certificates.
    #[error(
        "TLS to the engine needs certificates: --docker-cert-path DIR, with ca.pem, cert.pem and key.pem"
    )]
    NoCertificates,
    /// A certificate or a key that cannot be used.
    #[error("cannot use {file} for TLS to the engine: {why}")]
    Certificate {
        /// Which file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// How to reach an engine.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
    /// `host:port`, and whom its certificate must name.
    Tls(String, ServerName<'static>, Arc<ClientConfig>),
}

impl EngineOptions {
    /// As it was given.
    pub(crate) fn url(&self) -> &str {
        if self.host.is_empty() { DEFAULT_HOST } else { &self.host }
    }

    pub(crate) fn way(&self) -> Result<Way, OptionsError> {
        let url = self.url();
        let bad = || OptionsError::Host(url.to_owned());
        let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Way::Unix(rest.into())),
            "tcp" | "http" | "https" if !rest.is_empty() => {
                let tls = scheme == "https" || (scheme == "tcp" && self.tls);
                let (host, port) = split(rest, if tls { 2376 } else { 2375 }).ok_or_else(bad)?;
                let at = format!("{host}:{port}");
                if !tls {
                    return Ok(Way::Tcp(at));
                }
                let bare = host.trim_matches(['[', ']']).to_owned();
                let name = ServerName::try_from(bare).map_err(|_| bad())?;
                Ok(Way::Tls(at, name, Arc::new(self.client_config()?)))
            }
            _ => Err(bad()),
        }
    }

    fn client_config(&self) -> Result<ClientConfig, OptionsError> {
        let dir = self.certificates.as_ref().ok_or(OptionsError::NoCertificates)?;
        let [ca, cert, key] = FILES.map(|name| dir.join(name));
        let unusable = |file: &PathBuf, why: String| OptionsError::Certificate { file: file.clone(), why };
        let certificates = |file: &PathBuf| -> Result<Vec<CertificateDer<'static>>, OptionsError> {
            let read =
                CertificateDer::pem_file_iter(file).map_err(|error| unusable(file, error.to_string()))?;
            read.collect::<Result<_, _>>().map_err(|error| unusable(file, error.to_string()))
        };
        let mut roots = RootCertStore::empty();
        for root in certificates(&ca)? {
            roots.add(root).map_err(|error| unusable(&ca, error.to_string()))?;
        }
        let private =
            PrivateKeyDer::from_pem_file(&key).map_err(|error| unusable(&key, error.to_string()))?;
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&ca, error.to_string()))?
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates(&cert)?, private);
        config.map_err(|error| unusable(&cert, error.to_string()))
    }
}

/// Host and port of `host`, `host:port`, `[::1]`, `[::1]:port`.
fn split(rest: &str, usual: u16) -> Option<(&str, u16)> {
    let colon = rest.rfind(':').filter(|at| !rest[*at..].contains(']'));
    let Some(at) = colon else { return Some((rest, usual)) };
    let port = rest[at + 1..].parse().ok()?;
    (at > 0).then_some((&rest[..at], port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(host: &str) -> Result<String, OptionsError> {
        let options = EngineOptions { host: host.to_owned(), ..EngineOptions::default() };
        options.way().map(|way| match way {
            Way::Unix(path) => path.display().to_string(),
            Way::Tcp(at) | Way::Tls(at, ..) => at,
        })
    }

    #[test]
    fn an_engine_is_found_as_the_docker_command_finds_it() {
        assert_eq!(way("").as_deref(), Ok("/var/run/docker.sock"));
        assert_eq!(way("unix:///tmp/s").as_deref(), Ok("/tmp/s"));
        assert_eq!(way("tcp://engine:1234").as_deref(), Ok("engine:1234"));
        assert_eq!(way("tcp://engine").as_deref(), Ok("engine:2375"));
        assert_eq!(way("tcp://[::1]:2").as_deref(), Ok("[::1]:2"));
        assert_eq!(way("tcp://[::1]/").as_deref(), Ok("[::1]:2375"));
        for bad in ["engine:2375", "unix://relative", "ssh://engine", "tcp://", "tcp://:1", "tcp://a:b"] {
            assert_eq!(way(bad), Err(OptionsError::Host(bad.to_owned())));
        }
    }

    #[test]
    fn tls_needs_certificates_that_can_be_read() {
        let mut options =
            EngineOptions { host: "tcp://engine".to_owned(), tls: true, ..EngineOptions::default() };
        assert_eq!(options.way().err(), Some(OptionsError::NoCertificates));
        let dir = tempfile::tempdir().unwrap();
        options.certificates = Some(dir.path().to_owned());
        let missing = options.way().unwrap_err().to_string();
        assert!(missing.contains("ca.pem"), "{missing}");
    }
}

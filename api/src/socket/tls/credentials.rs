//! Certificates and keys, made ready for connections. Clones share them, so that what is renewed is renewed for all.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::ServerCertVerifier as _;
use tokio_rustls::rustls::client::{Resumption, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, Error as RustlsError, InconsistentKeys, RootCertStore, ServerConfig,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::TlsProblem;

/// All that is spoken: HTTP/2.
const ALPN: &[u8] = b"h2";

/// Why certificates or keys cannot be used. Names the file, where they come from one.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("cannot read {what}: {cause}")]
    Unreadable {
        /// Which.
        what: String,
        /// Why.
        cause: io::Error,
    },
    /// There is nothing of the kind in it.
    #[error("{what} cannot be used: {why}")]
    Unusable {
        /// Which.
        what: String,
        /// Why, and what to do.
        why: String,
    },
}

impl CredentialsError {
    fn unusable(what: &str, why: impl Into<String>) -> Self {
        Self::Unusable { what: what.to_owned(), why: why.into() }
    }
}

/// PEM, and what to call it in an error.
pub(super) struct Pem {
    what: String,
    bytes: Vec<u8>,
}

impl Pem {
    fn new(what: &str, bytes: &[u8]) -> Self {
        Self { what: what.to_owned(), bytes: bytes.to_owned() }
    }

    pub(super) fn read(what: &str, path: &Path) -> Result<Self, CredentialsError> {
        let what = format!("{what} {}", path.display());
        match std::fs::read(path) {
            Ok(bytes) => Ok(Self { what, bytes }),
            Err(cause) => Err(CredentialsError::Unreadable { what, cause }),
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.bytes).collect();
        let certificates = read.map_err(|error| CredentialsError::unusable(&self.what, broken(&error)))?;
        if certificates.is_empty() {
            return Err(CredentialsError::unusable(
                &self.what,
                "there is no certificate in it (PEM, -----BEGIN CERTIFICATE-----)",
            ));
        }
        Ok(certificates)
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, CredentialsError> {
        PrivateKeyDer::from_pem_slice(&self.bytes).map_err(|error| match error {
            PemError::NoItemsFound => CredentialsError::unusable(
                &self.what,
                "there is no unencrypted private key in it (PEM, -----BEGIN PRIVATE KEY-----)",
            ),
            other => CredentialsError::unusable(&self.what, broken(&other)),
        })
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, CredentialsError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots
                .add(certificate)
                .map_err(|error| CredentialsError::unusable(&self.what, error.to_string()))?;
        }
        Ok(Arc::new(roots))
    }
}

fn broken(error: &PemError) -> String {
    format!("it is no PEM file: {error}")
}

/// A certificate with its key.
pub(super) struct Identity {
    cert: Pem,
    key: Pem,
}

impl Identity {
    pub(super) fn read(cert: &Path, key: &Path) -> Result<Self, CredentialsError> {
        Ok(Self { cert: Pem::read("the certificate", cert)?, key: Pem::read("the key", key)? })
    }

    fn new(cert: &[u8], key: &[u8]) -> Self {
        Self { cert: Pem::new("the certificate", cert), key: Pem::new("the key", key) }
    }

    fn refused(&self, error: &RustlsError) -> CredentialsError {
        match error {
            RustlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => CredentialsError::unusable(
                &self.key.what,
                format!("it does not belong to {}", self.cert.what),
            ),
            RustlsError::InvalidCertificate(why) => {
                CredentialsError::unusable(&self.cert.what, why.to_string())
            }
            other => CredentialsError::unusable(&self.key.what, other.to_string()),
        }
    }

    /// Refuses a certificate by which nobody would take this side for `host`.
    pub(super) fn check_host(&self, ca: &Pem, host: &str) -> Result<(), CredentialsError> {
        let broken = |why: String| CredentialsError::unusable(&self.cert.what, why);
        let name = ServerName::try_from(host).map_err(|_| broken(format!("{host:?} is no name")))?;
        let chain = self.cert.certificates()?;
        let Some((own, others)) = chain.split_first() else { return Ok(()) };
        let verifier = WebPkiServerVerifier::builder_with_provider(ca.roots()?, provider())
            .build()
            .map_err(|error| CredentialsError::unusable(&ca.what, error.to_string()))?;
        match verifier.verify_server_cert(own, others, &name, &[], UnixTime::now()) {
            Ok(_) => Ok(()),
            Err(RustlsError::InvalidCertificate(CertificateError::NotValidForNameContext {
                presented, ..
            })) => Err(broken(format!(
                "it is not for {host}, where others are told to find this replica, but for {}; sign one with {host} \
                 among its subject alternative names, or say another --advertise",
                presented.join(", ")
            ))),
            Err(RustlsError::InvalidCertificate(
                CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
            )) => Err(broken(
                "it is not allowed for server authentication; give it extendedKeyUsage serverAuth and clientAuth"
                    .to_owned(),
            )),
            Err(error) => Err(broken(error.to_string())),
        }
    }

    /// Refuses a certificate that everybody else would refuse: better at the start than at each connection.
    fn check(&self, ca: &Pem, verifier: &dyn ClientCertVerifier) -> Result<(), CredentialsError> {
        let chain = self.cert.certificates()?;
        let Some((own, others)) = chain.split_first() else { return Ok(()) };
        let Err(error) = verifier.verify_client_cert(own, others, UnixTime::now()) else { return Ok(()) };
        let RustlsError::InvalidCertificate(why) = &error else {
            return Err(CredentialsError::unusable(&self.cert.what, error.to_string()));
        };
        Err(CredentialsError::unusable(
            &self.cert.what,
            match why {
                CertificateError::ExpiredContext { time, not_after } => {
                    let ago = time.as_secs().saturating_sub(not_after.as_secs());
                    format!("it has expired {} hours ago; renew it (or is the clock wrong?)", ago / 3600)
                }
                CertificateError::NotValidYetContext { time, not_before } => {
                    let ahead = not_before.as_secs().saturating_sub(time.as_secs());
                    format!("it is not valid yet, for {} hours; is the clock right?", ahead / 3600)
                }
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    format!("it is not signed by {}", ca.what)
                }
                CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                    "it is not allowed for client authentication, and a replica is a client of the others; \
                     give it extendedKeyUsage serverAuth and clientAuth"
                        .to_owned()
                }
                other => other.to_string(),
            },
        ))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// What a client needs: whom it trusts, and who it is.
#[derive(Clone)]
pub struct ClientTls(Arc<RwLock<Arc<ClientConfig>>>);

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientTls")
    }
}

impl ClientTls {
    /// From PEM: the certificates of the CAs to trust, and the client's own certificate (with what stands between it
    /// and the CA) and key.
    ///
    /// # Errors
    /// What cannot be used, and why.
    pub fn new(ca_pem: &[u8], identity: Option<(&[u8], &[u8])>) -> Result<Self, CredentialsError> {
        let ca = Pem::new("the CA certificate", ca_pem);
        let identity = identity.map(|(cert, key)| Identity::new(cert, key));
        Ok(Self(Arc::new(RwLock::new(client_config(&ca, identity.as_ref())?))))
    }

    /// The same from files.
    ///
    /// # Errors
    /// What cannot be used, by its file, and why.
    pub fn read(ca: &Path, identity: Option<(&Path, &Path)>) -> Result<Self, CredentialsError> {
        let ca = Pem::read("the CA certificate", ca)?;
        let identity = identity.map(|(cert, key)| Identity::read(cert, key)).transpose()?;
        Ok(Self(Arc::new(RwLock::new(client_config(&ca, identity.as_ref())?))))
    }

    pub(super) fn of(config: Arc<ClientConfig>) -> Self {
        Self(Arc::new(RwLock::new(config)))
    }

    pub(super) fn replace(&self, config: Arc<ClientConfig>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// Makes the handshake.
    pub(in crate::socket) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{host:?} is neither a DNS name nor an address, so no certificate can be for it"),
            )
        })?;
        let config = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        TlsConnector::from(config).connect(name, stream).await.map_err(TlsProblem::of_handshake)
    }
}

/// What a server needs: who it is, and whose clients it trusts.
#[derive(Clone)]
pub struct ServerTls(Arc<RwLock<Arc<ServerConfig>>>);

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls")
    }
}

impl ServerTls {
    /// From PEM: the server's certificate (with what stands between it and the CA) and key, and the certificates of
    /// the CAs whose clients are let in.
    ///
    /// # Errors
    /// What cannot be used, and why.
    pub fn new(cert_pem: &[u8], key_pem: &[u8], client_ca_pem: &[u8]) -> Result<Self, CredentialsError> {
        let ca = Pem::new("the CA certificate", client_ca_pem);
        Ok(Self::of(server_config(&ca, &Identity::new(cert_pem, key_pem))?))
    }

    pub(super) fn of(config: Arc<ServerConfig>) -> Self {
        Self(Arc::new(RwLock::new(config)))
    }

    pub(super) fn replace(&self, config: Arc<ServerConfig>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// What the next handshake goes by.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

pub(super) fn client_config(
    ca: &Pem,
    identity: Option<&Identity>,
) -> Result<Arc<ClientConfig>, CredentialsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| CredentialsError::unusable("TLS 1.3", error.to_string()))?
        .with_root_certificates(ca.roots()?);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder
            .with_client_auth_cert(identity.cert.certificates()?, identity.key.key()?)
            .map_err(|error| identity.refused(&error))?,
    };
    config.alpn_protocols = vec![ALPN.to_owned()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

pub(super) fn server_config(ca: &Pem, identity: &Identity) -> Result<Arc<ServerConfig>, CredentialsError> {
    let verifier = verifier(ca)?;
    let config = unchecked(&verifier, identity)?;
    identity.check(ca, &*verifier)?;
    Ok(config)
}

fn verifier(ca: &Pem) -> Result<Arc<dyn ClientCertVerifier>, CredentialsError> {
    WebPkiClientVerifier::builder_with_provider(ca.roots()?, provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| CredentialsError::unusable(&ca.what, error.to_string()))
}

fn unchecked(
    verifier: &Arc<dyn ClientCertVerifier>,
    identity: &Identity,
) -> Result<Arc<ServerConfig>, CredentialsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| CredentialsError::unusable("TLS 1.3", error.to_string()))?
        .with_client_cert_verifier(verifier.clone());
    let mut config = builder
        .with_single_cert(identity.cert.certificates()?, identity.key.key()?)
        .map_err(|error| identity.refused(&error))?;
    config.alpn_protocols = vec![ALPN.to_owned()];
    // A session that is resumed would not look at the client's certificate again.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// A server whose certificate has expired since it started.
#[cfg(test)]
pub(super) fn unchecked_server_config(ca: &str, cert: &str, key: &str) -> Arc<ServerConfig> {
    let ca = Pem::new("the CA certificate", ca.as_bytes());
    unchecked(&verifier(&ca).unwrap(), &Identity::new(cert.as_bytes(), key.as_bytes())).unwrap()
}

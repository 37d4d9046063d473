//! What two sides did not agree on, and what to do about it.

use std::io;

use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{AlertDescription, CertificateError, InvalidMessage};

/// What TLS did not like about a connection. The text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsProblem {
    /// The other side's certificate is of another CA.
    #[error(
        "the other side's certificate is not signed by the CA that this side trusts; give the CA that signed it with --tls-ca"
    )]
    NotTrusted,
    /// The other side's certificate is too old.
    #[error("the other side's certificate has expired; renew it there (and is the clock right here?)")]
    Expired,
    /// The other side's certificate is of the future.
    #[error("the other side's certificate is not valid yet; are the clocks right?")]
    NotYetValid,
    /// The other side's certificate is for somebody else.
    #[error(
        "the other side's certificate is not for {host}, but for {}; connect by a name that it has, or give it one with \
         this name or address among its subject alternative names",
        names(.presented)
    )]
    WrongName {
        /// Whom it should have been for.
        host: String,
        /// Whom it is for.
        presented: Vec<String>,
    },
    /// The other side's certificate may not be used like this, or is none.
    #[error("the other side's certificate cannot be used: {0}")]
    BadCertificate(String),
    /// The other side does not accept this side's certificate.
    #[error(
        "the other side refuses this side's certificate: {0}; give one with --tls-cert and --tls-key that is signed by \
         the CA it trusts and has not expired"
    )]
    OwnRefused(&'static str),
    /// The other side wants a certificate.
    #[error("the other side wants a client certificate; give one with --tls-cert and --tls-key")]
    OwnMissing,
    /// The other side does not speak TLS.
    #[error(
        "the other side does not speak TLS; start it with --tls-cert, --tls-key and --tls-ca, or leave them out here"
    )]
    Plaintext,
    /// The other side speaks TLS, and this side did not.
    #[error("the other side speaks TLS; give --tls-ca, --tls-cert and --tls-key")]
    Encrypted,
    /// The other side hung up during the handshake.
    #[error(
        "the other side closed the connection during the TLS handshake; does it speak TLS, and does it run?"
    )]
    Closed,
    /// Anything else, in the words of the protocol.
    #[error("TLS failed: {0}")]
    Other(String),
}

fn names(presented: &[String]) -> String {
    if presented.is_empty() { "nobody".to_owned() } else { presented.join(", ") }
}

impl TlsProblem {
    /// The problem inside an error of a connection, if that is what it is about.
    #[must_use]
    pub fn within(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// The same error in words that help, if it is one of TLS.
    pub(in crate::socket) fn translate(error: io::Error) -> io::Error {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => Self::from(tls).into(),
            None => error,
        }
    }

    /// Why a handshake failed.
    pub(super) fn of_handshake(error: io::Error) -> io::Error {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                Self::Closed.into()
            }
            _ => Self::translate(error),
        }
    }
}

impl From<&rustls::Error> for TlsProblem {
    fn from(error: &rustls::Error) -> Self {
        use rustls::Error;
        match error {
            Error::InvalidCertificate(why) => of_certificate(why),
            Error::AlertReceived(alert) => of_alert(*alert),
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::Plaintext,
            Error::NoCertificatesPresented => Self::OwnMissing,
            other => Self::Other(other.to_string()),
        }
    }
}

fn of_certificate(why: &CertificateError) -> TlsProblem {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsProblem::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            TlsProblem::NotYetValid
        }
        // A CA of the same name with another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsProblem::NotTrusted,
        CertificateError::NotValidForNameContext { expected, presented } => {
            let host = match expected {
                ServerName::DnsName(name) => name.as_ref().to_owned(),
                ServerName::IpAddress(ip) => std::net::IpAddr::from(*ip).to_string(),
                other => format!("{other:?}"),
            };
            TlsProblem::WrongName { host, presented: presented.clone() }
        }
        other => TlsProblem::BadCertificate(other.to_string()),
    }
}

fn of_alert(alert: AlertDescription) -> TlsProblem {
    match alert {
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            TlsProblem::OwnRefused("it is not signed by a CA that is trusted there")
        }
        AlertDescription::CertificateExpired => {
            TlsProblem::OwnRefused("it has expired, or is not valid yet by the clock there")
        }
        AlertDescription::CertificateRevoked => TlsProblem::OwnRefused("it was revoked"),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => TlsProblem::OwnRefused("it cannot be used there"),
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => TlsProblem::OwnMissing,
        AlertDescription::ProtocolVersion => {
            TlsProblem::Other("the other side does not know TLS 1.3".to_owned())
        }
        AlertDescription::NoApplicationProtocol => {
            TlsProblem::Other("the other side does not speak HTTP/2, so it is no manager".to_owned())
        }
        other => TlsProblem::Other(format!("the other side sent the alert {other:?}")),
    }
}

impl From<TlsProblem> for io::Error {
    fn from(problem: TlsProblem) -> Self {
        let kind = match problem {
            // A program that has just been killed looks like this; it may be back soon.
            TlsProblem::Closed => io::ErrorKind::ConnectionAborted,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, problem)
    }
}

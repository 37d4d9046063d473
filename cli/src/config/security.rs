//! How TCP is spoken: by TLS, in the clear on this machine, or in the clear everywhere because somebody said so.

use std::path::PathBuf;

use om_api::socket::{ClientTls, Security};

use crate::args::Global;
use crate::failure::{Failure, Result};

/// What was said about it in one place.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) ca: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) insecure: bool,
}

impl Said {
    pub(super) fn by_flags(flags: &Global) -> Self {
        Self {
            ca: flags.tls_ca.clone(),
            cert: flags.tls_cert.clone(),
            key: flags.tls_key.clone(),
            insecure: flags.insecure,
        }
    }

    fn tls(&self) -> bool {
        self.ca.is_some() || self.cert.is_some() || self.key.is_some()
    }
}

/// Resolves it; the strongest place comes first. TLS or not is one question: whichever place answers it first.
pub(super) fn resolve(said: [Said; 3]) -> Result<Security> {
    for place in &said {
        match (place.insecure, place.tls()) {
            (true, true) => {
                return Err(Failure::usage("certificates are given, and to talk in the clear: --insecure")
                    .hint("leave out one of them"));
            }
            (true, false) => return Ok(Security::Insecure),
            (false, true) => break,
            (false, false) => {}
        }
    }
    let [flags, environment, file] = said;
    let ca = flags.ca.or(environment.ca).or(file.ca);
    let cert = flags.cert.or(environment.cert).or(file.cert);
    let key = flags.key.or(environment.key).or(file.key);
    let Some(ca) = ca else {
        return match (cert, key) {
            (None, None) => Ok(Security::Clear),
            _ => Err(Failure::usage("a certificate or a key is given without a CA")
                .hint("--tls-ca FILE says whose managers are trusted")),
        };
    };
    let identity = match (&cert, &key) {
        (Some(cert), Some(key)) => Some((cert.as_path(), key.as_path())),
        (None, None) => None,
        _ => {
            return Err(Failure::usage(
                "a certificate is given without its key, or a key without its certificate",
            )
            .hint("--tls-cert FILE and --tls-key FILE belong together"));
        }
    };
    let tls = ClientTls::read(&ca, identity).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(Security::Tls(tls))
}

//! Certificates for tests, made on the spot. With the feature `testing`.
#![expect(clippy::expect_used, reason = "only tests use this: what fails here fails them")]

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use crate::socket::{ClientTls, CredentialFiles, ServerTls};

/// An authority that lives as long as the test.
pub struct Ca(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
#[derive(Clone)]
pub struct Issued {
    /// The certificate, PEM.
    pub cert: String,
    /// Its key, PEM.
    pub key: String,
    /// Of the authority, PEM.
    pub ca: String,
}

impl Default for Ca {
    fn default() -> Self {
        Self::new()
    }
}

impl Ca {
    /// A new one: others do not trust it, though it has their name.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "OpenManage test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a CA"))
    }

    /// Its certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these names and addresses.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_as(names, |_| ())
    }

    /// The same, but it expired long ago.
    #[must_use]
    pub fn issue_expired(&self, names: &[&str]) -> Issued {
        self.issue_as(names, |params| {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        })
    }

    /// The same, but nobody may be a client with it.
    #[must_use]
    pub fn issue_for_servers_only(&self, names: &[&str]) -> Issued {
        self.issue_as(names, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        })
    }

    /// The same, but nobody may be a server with it.
    #[must_use]
    pub fn issue_for_clients_only(&self, names: &[&str]) -> Issued {
        self.issue_as(names, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    }

    fn issue_as(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.0).expect("signed");
        Issued { cert: cert.pem(), key: key.serialize_pem(), ca: self.pem() }
    }
}

impl Issued {
    /// Writes `cert.pem`, `key.pem` and `ca.pem`.
    pub fn write(&self, dir: &Path) -> CredentialFiles {
        let files =
            CredentialFiles { cert: dir.join("cert.pem"), key: dir.join("key.pem"), ca: dir.join("ca.pem") };
        std::fs::create_dir_all(dir).expect("a directory");
        for (path, text) in [(&files.cert, &self.cert), (&files.key, &self.key), (&files.ca, &self.ca)] {
            std::fs::write(path, text).expect("written");
        }
        files
    }

    /// For a client.
    #[must_use]
    pub fn client(&self) -> ClientTls {
        let identity = (self.cert.as_bytes(), self.key.as_bytes());
        ClientTls::new(self.ca.as_bytes(), Some(identity)).expect("a client")
    }

    /// For a server.
    #[must_use]
    pub fn server(&self) -> ServerTls {
        ServerTls::new(self.cert.as_bytes(), self.key.as_bytes(), self.ca.as_bytes()).expect("a server")
    }
}

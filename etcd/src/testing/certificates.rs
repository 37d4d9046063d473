//! Certificates for a cluster: an authority, the members', and a client's.

use std::net::Ipv4Addr;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};

use crate::Tls;

pub(super) struct Certificates {
    issuer: CertifiedIssuer<'static, KeyPair>,
    client: (String, String),
}

impl Certificates {
    /// Made, and written to `dir` for etcd and etcdctl.
    pub(super) fn new(dir: &Path, members: &[Ipv4Addr]) -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        // etcd is a client of itself, too.
        let uses = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let sign = |addresses: &[Ipv4Addr], uses: &[ExtendedKeyUsagePurpose]| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::default();
            params.subject_alt_names =
                addresses.iter().map(|&address| SanType::IpAddress(address.into())).collect();
            params.extended_key_usages = uses.to_vec();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            (certificate.pem(), key.serialize_pem())
        };
        let (member, client) = (sign(members, &uses), sign(&[], &uses[1..]));
        for (name, pem) in [
            ("ca.pem", &issuer.pem()),
            ("member.pem", &member.0),
            ("member-key.pem", &member.1),
            ("client.pem", &client.0),
            ("client-key.pem", &client.1),
        ] {
            std::fs::write(dir.join(name), pem).unwrap();
        }
        Self { issuer, client }
    }

    pub(super) fn tls(&self) -> Tls {
        let identity = (self.client.0.clone().into_bytes(), self.client.1.clone().into_bytes());
        Tls { ca: self.issuer.pem().into_bytes(), identity: Some(identity), domain: None }
    }
}

//! `om-manager etcd`: where etcd is, and how to speak to it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use om_etcd::{EtcdOptions, Tls};

use super::args::Etcd;
use super::duration;
use super::file::File;
use super::resolve::{Sources, shown};

const DEFAULT_LEASE: Duration = Duration::from_secs(5);
/// etcd's own floor is one and a half of its election timeouts, in whole seconds.
const SHORTEST_LEASE: Duration = Duration::from_secs(2);
const LONGEST_LEASE: Duration = Duration::from_secs(60);

/// What the mode `etcd` is told.
#[derive(Clone)]
pub struct EtcdMode {
    /// The way to etcd.
    pub etcd: EtcdOptions,
    /// The group of replicas.
    pub cluster: String,
    /// The time of a replica's lease.
    pub lease_ttl: Duration,
}

impl std::fmt::Debug for EtcdMode {
    // Without what is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdMode")
            .field("endpoints", &self.etcd.endpoints)
            .field("cluster", &self.cluster)
            .field("lease_ttl", &self.lease_ttl)
            .finish_non_exhaustive()
    }
}

/// A watch that has heard nothing for so long asks whether its member lives.
const SILENCE: Duration = Duration::from_secs(2);

/// Reads the mode's own flags.
pub(super) fn resolve(args: Etcd, file: &File, sources: &mut Sources<'_>) -> Result<EtcdMode, String> {
    let Etcd { endpoints, cluster, lease_ttl, cacert, cert, key, user, password_file, common: _ } = args;
    let given = (!endpoints.is_empty()).then_some(endpoints);
    let endpoints = sources.pick_some("endpoints", given, file.endpoints.clone()).ok_or(
        "no endpoints are given: --endpoints URL[,URL…] says where etcd is, such as http://127.0.0.1:2379",
    )?;
    let cluster = sources.pick("cluster", cluster, file.cluster.clone(), "default".to_owned());
    om_api::names::check_service(&cluster).map_err(|why| format!("--cluster: {why}"))?;
    let ttl = sources.pick("lease_ttl", lease_ttl, file.lease_ttl.clone(), shown(DEFAULT_LEASE));
    let lease_ttl = duration(&ttl).map_err(|why| format!("--lease-ttl: {why}"))?;
    if !(SHORTEST_LEASE..=LONGEST_LEASE).contains(&lease_ttl) {
        return Err(format!("--lease-ttl: {ttl} is not between {SHORTEST_LEASE:?} and {LONGEST_LEASE:?}"));
    }
    let ca = sources.pick_some("cacert", cacert, file.cacert.clone());
    let cert = sources.pick_some("cert", cert, file.cert.clone());
    let key = sources.pick_some("key", key, file.key.clone());
    let user = sources.pick_some("user", user, file.user.clone());
    let password_file = sources.pick_some("password_file", password_file, file.password_file.clone());

    let mut etcd = EtcdOptions::new(endpoints);
    etcd.silence = SILENCE;
    etcd.tls = tls(ca, cert, key)?;
    etcd.user = match (user, password_file) {
        (None, None) => None,
        (Some(user), Some(file)) => Some((user, password(&file)?)),
        (Some(_), None) => return Err("--user needs --password-file FILE".to_owned()),
        (None, Some(_)) => return Err("--password-file needs --user NAME".to_owned()),
    };
    om_etcd::Etcd::new(&etcd).map_err(|error| format!("--endpoints: {error}"))?;
    Ok(EtcdMode { etcd, cluster, lease_ttl })
}

fn tls(ca: Option<PathBuf>, cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<Tls>, String> {
    let identity = match (cert, key) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some((read("--cert", &cert)?, read("--key", &key)?)),
        (Some(_), None) => return Err("--cert needs --key FILE".to_owned()),
        (None, Some(_)) => return Err("--key needs --cert FILE".to_owned()),
    };
    let Some(ca) = ca else {
        let why = "--cert and --key need --cacert FILE: the CA that signed etcd's certificates";
        return if identity.is_some() { Err(why.to_owned()) } else { Ok(None) };
    };
    Ok(Some(Tls { ca: read("--cacert", &ca)?, identity, domain: None }))
}

fn read(flag: &str, file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|cause| format!("{flag} {}: {cause}", file.display()))
}

/// The file's first line.
fn password(file: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|cause| format!("--password-file {}: {cause}", file.display()))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(format!("--password-file {}: its first line is empty", file.display())),
    }
}

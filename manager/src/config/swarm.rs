//! `om-manager swarm`: where the engine is, and how to go about its Swarm.

use std::path::PathBuf;
use std::time::Duration;

use om_api::places;
use om_swarm::{DEFAULT_HOST, Engine, EngineOptions};

use super::args::Swarm;
use super::duration;
use super::file::File;
use super::resolve::{Sources, shown};

/// Longer than etcd's: keeping it alive costs the Swarm a write, and its elections take longer.
const DEFAULT_LEASE: Duration = Duration::from_secs(10);
const SHORTEST_LEASE: Duration = Duration::from_secs(2);
const LONGEST_LEASE: Duration = Duration::from_secs(60);
const DEFAULT_POLL: Duration = Duration::from_secs(1);
/// Who has looked in vain for 4 s counts as blind.
const LONGEST_POLL: Duration = Duration::from_secs(3);
const SHORTEST_POLL: Duration = Duration::from_millis(50);

/// What the mode `swarm` is told.
#[derive(Clone, Debug)]
pub struct SwarmMode {
    /// The way to this host's engine.
    pub engine: EngineOptions,
    /// How often the Swarm is looked at in any case.
    pub poll: Duration,
    /// The group of replicas.
    pub cluster: String,
    /// The time of a replica's lease.
    pub lease_ttl: Duration,
}

/// Reads the mode's own flags.
pub(super) fn resolve(args: Swarm, file: &File, sources: &mut Sources<'_>) -> Result<SwarmMode, String> {
    let Swarm { docker_host, docker_tls_verify, docker_cert_path, poll, cluster, lease_ttl, common: _ } =
        args;
    // An empty variable counts as not set, as it does for the `docker` command.
    let docker_host = docker_host.filter(|url| !url.is_empty());
    let host = sources.pick("docker_host", docker_host, file.docker_host.clone(), DEFAULT_HOST.to_owned());
    let tls = sources.pick_some("docker_tls_verify", docker_tls_verify, file.docker_tls_verify.clone());
    let given = docker_cert_path.filter(|dir| !dir.as_os_str().is_empty());
    let given = sources.pick_some("docker_cert_path", given, file.docker_cert_path.clone());
    let usual = || -> Option<PathBuf> { Some(places::Env::from_process().home?.join(".docker")) };
    let engine = EngineOptions {
        host,
        tls: tls.is_some_and(|yes| !yes.is_empty()),
        certificates: given.or_else(usual),
    };
    Engine::new(&engine).map_err(|error| error.to_string())?;
    let poll = time("--poll", &sources.pick("poll", poll, file.poll.clone(), shown(DEFAULT_POLL)))?;
    if !(SHORTEST_POLL..=LONGEST_POLL).contains(&poll) {
        return Err(format!("--poll: {poll:?} is not between {SHORTEST_POLL:?} and {LONGEST_POLL:?}"));
    }
    let cluster = sources.pick("cluster", cluster, file.cluster.clone(), "default".to_owned());
    om_api::names::check_service(&cluster).map_err(|why| format!("--cluster: {why}"))?;
    let ttl = sources.pick("lease_ttl", lease_ttl, file.lease_ttl.clone(), shown(DEFAULT_LEASE));
    let lease_ttl = time("--lease-ttl", &ttl)?;
    if !(SHORTEST_LEASE..=LONGEST_LEASE).contains(&lease_ttl) {
        return Err(format!("--lease-ttl: {ttl} is not between {SHORTEST_LEASE:?} and {LONGEST_LEASE:?}"));
    }
    Ok(SwarmMode { engine, poll, cluster, lease_ttl })
}

fn time(flag: &str, text: &str) -> Result<Duration, String> {
    duration(text).map_err(|why| format!("{flag}: {why}"))
}

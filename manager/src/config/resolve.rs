//! From what was written to what holds.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, ValueEnum};
use om_api::places;
use om_api::socket::Address;
use om_leadership::Timing;
use om_plugin_sdk::log::{Format, Level};

use super::args::{Common, Dev, Os};
use super::etcd::{self, EtcdMode};
use super::file::File;
use super::network::{self, Listen, Network};
use super::swarm::{self, SwarmMode};
use super::{Command, duration};

const DEFAULT_AUTHORITY: Duration = Duration::from_secs(2);
/// So a leader that hangs is replaced within 300 ms, with an eighth for clocks that run apart; and no machine of ours was
/// late for a confirmation while it had nothing else to do.
const ELECTED_AUTHORITY: Duration = Duration::from_millis(250);
const DEFAULT_POLL: Duration = Duration::from_secs(5);

/// How the leader is found.
#[derive(Debug, Clone)]
pub enum Mode {
    /// By a shared file.
    Os {
        /// The file.
        leader_file: PathBuf,
        /// How often it is read in any case.
        poll: Duration,
    },
    /// By an election through etcd.
    Etcd(EtcdMode),
    /// By an election through a Docker Swarm.
    Swarm(SwarmMode),
    /// Not at all: this replica always leads.
    Dev {
        /// Where members have their directories.
        process_dir: PathBuf,
    },
}

impl Mode {
    /// As `om status` shows it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Os { .. } => "os",
            Self::Etcd(_) => "etcd",
            Self::Swarm(_) => "swarm",
            Self::Dev { .. } => "dev",
        }
    }
}

/// Everything that a manager is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// How the leader is found.
    pub mode: Mode,
    /// This replica's name.
    pub name: String,
    /// The plugins to stand before; `None`: all that are found.
    pub proxy_for: Option<Vec<String>>,
    /// Where sockets are.
    pub plugins_dir: PathBuf,
    /// Where the state is.
    pub state_dir: PathBuf,
    /// The URL that followers name.
    pub advertise: String,
    /// More addresses to serve at.
    pub listen: Vec<Listen>,
    /// How TCP is served and spoken.
    pub network: Network,
    /// How long leadership lasts without news.
    pub timing: Timing,
    /// Rights of the socket.
    pub socket_mode: u32,
    /// Its group.
    pub socket_group: Option<String>,
    /// This host.
    pub host: String,
    /// How much to log.
    pub log: Level,
    /// How.
    pub log_format: Format,
    /// Print this and exit.
    pub print: Option<String>,
}

/// Collects values and remembers where each came from.
pub(super) struct Sources<'a> {
    matches: &'a ArgMatches,
    file: Option<&'a Path>,
    shown: String,
}

impl Sources<'_> {
    fn of(&self, id: &str, given: bool, in_file: bool) -> String {
        let source = given.then(|| self.matches.value_source(id)).flatten();
        match (source, self.file) {
            (Some(ValueSource::CommandLine), _) => format!("flag --{}", id.replace('_', "-")),
            // What the `docker` command reads has its own names.
            (Some(ValueSource::EnvVariable), _) if id.starts_with("docker_") => {
                format!("environment {}", id.to_uppercase())
            }
            (Some(ValueSource::EnvVariable), _) => format!("environment OM_{}", id.to_uppercase()),
            (_, Some(file)) if in_file => format!("file {}", file.display()),
            _ => "default".to_owned(),
        }
    }

    /// The value that wins, shown with its source.
    pub(super) fn pick<T: serde::Serialize>(
        &mut self,
        id: &str,
        given: Option<T>,
        file: Option<T>,
        default: T,
    ) -> T {
        let source = self.of(id, given.is_some(), file.is_some());
        let value = given.or(file).unwrap_or(default);
        let text =
            toml::Value::try_from(&value).map_or_else(|_| "\"?\"".to_owned(), |value| value.to_string());
        // Writing to a string cannot fail.
        let _ = writeln!(self.shown, "{} = {text}  # {source}", id.replace('_', "-"));
        value
    }

    pub(super) fn pick_some<T: serde::Serialize>(
        &mut self,
        id: &str,
        given: Option<T>,
        file: Option<T>,
    ) -> Option<T> {
        if given.is_none() && file.is_none() {
            let _ = writeln!(self.shown, "# {} is not set", id.replace('_', "-"));
            return None;
        }
        let source = self.of(id, given.is_some(), file.is_some());
        let value = given.or(file)?;
        let text =
            toml::Value::try_from(&value).map_or_else(|_| "\"?\"".to_owned(), |value| value.to_string());
        let _ = writeln!(self.shown, "{} = {text}  # {source}", id.replace('_', "-"));
        Some(value)
    }
}

/// Resolves a command that runs a manager. `matches` are those of the subcommand.
///
/// # Errors
/// What is wrong with the usage, for people.
pub fn resolve(command: Command, matches: &ArgMatches) -> Result<Config, String> {
    match command {
        Command::Os(Os { leader_file, poll, common }) => {
            let file = read(&common)?;
            let mut sources = sources(matches, &common);
            let leader_file = sources
                .pick_some("leader_file", leader_file, file.leader_file.clone())
                .ok_or("no leader file is given: --leader-file FILE names the file in which the leader's name stands")?;
            let poll = sources.pick("poll", poll, file.poll.clone(), shown(DEFAULT_POLL));
            let poll = duration(&poll).map_err(|why| format!("--poll: {why}"))?;
            if poll < Duration::from_millis(10) {
                return Err(format!("--poll: {poll:?} is too often; at least 10ms"));
            }
            let mode =
                |_: &mut Sources<'_>, _: &Path| Ok(Mode::Os { leader_file: absolute(leader_file)?, poll });
            rest(common, file, sources, DEFAULT_AUTHORITY, mode)
        }
        Command::Etcd(args) => {
            let common = args.common.clone();
            let file = read(&common)?;
            let mut sources = sources(matches, &common);
            let mode = etcd::resolve(args, &file, &mut sources)?;
            let lease_ttl = mode.lease_ttl;
            let config = rest(common, file, sources, ELECTED_AUTHORITY, |_, _| Ok(Mode::Etcd(mode)))?;
            fits_lease(config, lease_ttl)
        }
        Command::Swarm(args) => {
            let common = args.common.clone();
            let file = read(&common)?;
            let mut sources = sources(matches, &common);
            let mode = swarm::resolve(args, &file, &mut sources)?;
            let lease_ttl = mode.lease_ttl;
            let config = rest(common, file, sources, ELECTED_AUTHORITY, |_, _| Ok(Mode::Swarm(mode)))?;
            fits_lease(config, lease_ttl)
        }
        Command::Dev(Dev { process_dir, common }) => {
            let file = read(&common)?;
            let sources = sources(matches, &common);
            let in_file = file.process_dir.clone();
            rest(common, file, sources, DEFAULT_AUTHORITY, |sources, state_dir| {
                let process_dir =
                    sources.pick("process_dir", process_dir, in_file, state_dir.join("process"));
                Ok(Mode::Dev { process_dir: absolute(process_dir)? })
            })
        }
        Command::Version | Command::Completions { .. } => Err("this command has no configuration".into()),
    }
}

/// Where replicas elect, the authority must fit into the lease.
fn fits_lease(config: Config, lease_ttl: Duration) -> Result<Config, String> {
    let given = config.timing.ttl();
    if given * 2 > lease_ttl {
        return Err(format!("--authority: {given:?} is more than half of the lease's time, {lease_ttl:?}"));
    }
    Ok(config)
}

fn sources<'a>(matches: &'a ArgMatches, common: &Common) -> Sources<'a> {
    // The path lives as long as the process; there is one configuration.
    let file = matches.get_one::<PathBuf>("config").filter(|_| common.config.is_some());
    Sources { matches, file: file.map(PathBuf::as_path), shown: String::new() }
}

fn read(common: &Common) -> Result<File, String> {
    common.config.as_deref().map_or_else(|| Ok(File::default()), File::read)
}

fn rest(
    common: Common,
    file: File,
    mut sources: Sources<'_>,
    authority: Duration,
    mode: impl FnOnce(&mut Sources<'_>, &Path) -> Result<Mode, String>,
) -> Result<Config, String> {
    let env = places::Env::from_process();
    let name = sources.pick("name", common.name, file.name, "service".to_owned());
    om_api::names::check_socket(&name).map_err(|why| format!("--name: {why}"))?;
    let many = |given: Vec<String>| (!given.is_empty()).then_some(given);
    let proxy_for = sources.pick_some("proxy_for", many(common.proxy_for), file.proxy_for);
    if proxy_for.iter().flatten().any(|plugin| *plugin == name) {
        return Err(format!("--proxy-for {name}: a manager cannot stand before itself"));
    }
    let set = common.plugins_dir.is_some() || file.plugins_dir.is_some();
    let default = if set { PathBuf::new() } else { places::plugins_dir(&env)? };
    let plugins_dir = absolute(sources.pick("plugins_dir", common.plugins_dir, file.plugins_dir, default))?;
    let set = common.state_dir.is_some() || file.state_dir.is_some();
    let default = if set { PathBuf::new() } else { places::state_dir(&env)? };
    let state_dir = absolute(sources.pick("state_dir", common.state_dir, file.state_dir, default))?;
    let security = network::Flags {
        cert: sources.pick_some("tls_cert", common.tls_cert, file.tls_cert),
        key: sources.pick_some("tls_key", common.tls_key, file.tls_key),
        ca: sources.pick_some("tls_ca", common.tls_ca, file.tls_ca),
        insecure: sources.pick("insecure", common.insecure.then_some(true), file.insecure, false),
    };
    let listen = sources.pick("listen", many(common.listen), file.listen, Vec::new());
    let listen = listen.iter().map(|url| network::listening(url)).collect::<Result<Vec<_>, _>>()?;
    let network = security.resolve(&listen)?;
    let set = common.advertise.is_some() || file.advertise.is_some();
    let own = || format!("unix://{}", places::socket(&plugins_dir, &name).display());
    let default = if set { String::new() } else { network::advertised(&listen)?.unwrap_or_else(own) };
    let advertise = sources.pick("advertise", common.advertise, file.advertise, default);
    let address: Address = advertise.parse().map_err(|why| format!("--advertise: {why}"))?;
    network.can_be_named(&address)?;
    let authority = sources.pick("authority", common.authority, file.authority, shown(authority));
    let authority = duration(&authority).map_err(|why| format!("--authority: {why}"))?;
    let timing = Timing::from_ttl(authority).map_err(|why| format!("--authority: {why}"))?;
    let mode_text = sources.pick("socket_mode", common.socket_mode, file.socket_mode, "600".to_owned());
    let socket_mode = u32::from_str_radix(&mode_text, 8).ok().filter(|mode| *mode <= 0o777);
    let socket_mode =
        socket_mode.ok_or_else(|| format!("--socket-mode: {mode_text:?} is no mode such as 660"))?;
    let socket_group = sources.pick_some("socket_group", common.socket_group, file.socket_group);
    let host = sources.pick("host", common.host, file.host, places::host_id());
    let log = sources.pick("log", common.log, file.log, Level::DEFAULT.to_owned());
    let log = log.parse().map_err(|why| format!("--log: {why}"))?;
    let log_format = sources.pick("log_format", common.log_format, file.log_format, "text".to_owned());
    let log_format = Format::from_str(&log_format, false)
        .map_err(|_| format!("--log-format: text or json, not {log_format:?}"))?;
    let mode = mode(&mut sources, &state_dir)?;
    Ok(Config {
        mode,
        name,
        proxy_for,
        plugins_dir,
        state_dir,
        advertise,
        listen,
        network,
        timing,
        socket_mode,
        socket_group,
        host,
        log,
        log_format,
        print: common.print_config.then_some(sources.shown),
    })
}

fn absolute(path: PathBuf) -> Result<PathBuf, String> {
    std::path::absolute(&path).map_err(|cause| format!("{}: {cause}", path.display()))
}

pub(super) fn shown(duration: Duration) -> String {
    format!("{duration:?}")
}

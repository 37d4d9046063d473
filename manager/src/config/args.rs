//! The command line, as it is written.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// The HA manager proxy: several replicas, one leader; services declared once stay looked after.
#[derive(Parser, Debug)]
#[command(name = "om-manager", version, subcommand_required = true, arg_required_else_help = true)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `om-manager` does.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Lead when this replica's name stands in a shared file; keep the state in a shared directory
    Os(Os),
    /// Elect a leader among replicas through etcd; keep the state there
    Etcd(Etcd),
    /// Elect a leader among replicas on the managers of a Docker Swarm; keep the state in the Swarm
    Swarm(Swarm),
    /// All in one process: a manager that always leads, the file store and the process plugin
    Dev(Dev),
    /// Print version information
    Version,
    /// Print a completion script for a shell
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// `om-manager os`.
#[derive(clap::Args, Debug)]
pub struct Os {
    /// The file that names the leader [required]
    #[arg(long, value_name = "FILE", env = "OM_LEADER_FILE")]
    pub leader_file: Option<PathBuf>,
    /// How often the leader file is read even if nothing tells of a change [default: 5s]
    #[arg(long, value_name = "TIME", env = "OM_POLL")]
    pub poll: Option<String>,
    /// Everything else.
    #[command(flatten)]
    pub common: Common,
}

/// `om-manager etcd`.
#[derive(clap::Args, Debug)]
pub struct Etcd {
    /// The client URLs of etcd's members [required]
    #[arg(long, value_name = "URL", env = "OM_ENDPOINTS", value_delimiter = ',')]
    pub endpoints: Vec<String>,
    /// The group of replicas that elect among themselves and share one state [default: default]
    #[arg(long, value_name = "NAME", env = "OM_CLUSTER")]
    pub cluster: Option<String>,
    /// The time of a replica's lease; also how long a leader goes on while etcd does not answer [default: 5s]
    #[arg(long, value_name = "TIME", env = "OM_LEASE_TTL")]
    pub lease_ttl: Option<String>,
    /// The CA that signed etcd's certificates, PEM
    #[arg(long, value_name = "FILE", env = "OM_CACERT")]
    pub cacert: Option<PathBuf>,
    /// The certificate to show to etcd, PEM
    #[arg(long, value_name = "FILE", env = "OM_CERT")]
    pub cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", env = "OM_KEY")]
    pub key: Option<PathBuf>,
    /// etcd's user
    #[arg(long, value_name = "NAME", env = "OM_USER")]
    pub user: Option<String>,
    /// The file whose first line is the user's password
    #[arg(long, value_name = "FILE", env = "OM_PASSWORD_FILE")]
    pub password_file: Option<PathBuf>,
    /// Everything else.
    #[command(flatten)]
    pub common: Common,
}

/// `om-manager swarm`.
#[derive(clap::Args, Debug)]
pub struct Swarm {
    /// The engine of this host, a manager of the Swarm: unix:///PATH or tcp://HOST:PORT [default: unix:///var/run/docker.sock]
    #[arg(long, value_name = "URL", env = "DOCKER_HOST")]
    pub docker_host: Option<String>,
    /// Speak TLS to a tcp:// engine, with certificates both ways; anything but empty means yes
    #[arg(long, value_name = "1", env = "DOCKER_TLS_VERIFY", num_args = 0..=1, default_missing_value = "1")]
    pub docker_tls_verify: Option<String>,
    /// Directory with ca.pem, cert.pem and key.pem [default: ~/.docker]
    #[arg(long, value_name = "DIR", env = "DOCKER_CERT_PATH")]
    pub docker_cert_path: Option<PathBuf>,
    /// How often the Swarm is looked at even if nothing tells of a change [default: 1s]
    #[arg(long, value_name = "TIME", env = "OM_POLL")]
    pub poll: Option<String>,
    /// The group of replicas that elect among themselves and share one state [default: default]
    #[arg(long, value_name = "NAME", env = "OM_CLUSTER")]
    pub cluster: Option<String>,
    /// The time of a replica's lease; also how long a leader goes on while the Swarm has no leader [default: 10s]
    #[arg(long, value_name = "TIME", env = "OM_LEASE_TTL")]
    pub lease_ttl: Option<String>,
    /// Everything else.
    #[command(flatten)]
    pub common: Common,
}

/// `om-manager dev`.
#[derive(clap::Args, Debug)]
pub struct Dev {
    /// Where the members of kind `process` have their directories and logs [default: <state dir>/process]
    #[arg(long, value_name = "DIR", env = "OM_PROCESS_DIR")]
    pub process_dir: Option<PathBuf>,
    /// Everything else.
    #[command(flatten)]
    pub common: Common,
}

/// What every mode knows.
#[derive(clap::Args, Clone, Debug)]
pub struct Common {
    /// This replica's name, and its socket's [default: service]
    #[arg(long, value_name = "NAME", env = "OM_NAME")]
    pub name: Option<String>,
    /// A plugin to stand before, by its socket's name; repeatable [default: every plugin found]
    #[arg(long, value_name = "NAME", env = "OM_PROXY_FOR", value_delimiter = ',')]
    pub proxy_for: Vec<String>,
    /// Where the plugins' sockets are, and this replica's [default: see the documentation]
    #[arg(long, value_name = "DIR", env = "OM_PLUGINS_DIR")]
    pub plugins_dir: Option<PathBuf>,
    /// Where the state is kept, but in modes etcd and swarm; shared by all replicas [default: see the documentation]
    #[arg(long, value_name = "DIR", env = "OM_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// The URL that followers name when this replica leads [default: its TCP address, else its socket]
    #[arg(long, value_name = "URL", env = "OM_ADVERTISE")]
    pub advertise: Option<String>,
    /// One more address to serve at: unix:///PATH or tcp://HOST:PORT; repeatable
    #[arg(long, value_name = "URL", env = "OM_LISTEN", value_delimiter = ',')]
    pub listen: Vec<String>,
    /// This replica's certificate, PEM: to serve TCP by TLS, and to show to other replicas
    #[arg(long, value_name = "FILE", env = "OM_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", env = "OM_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// The CA that signed the certificates of replicas and clients, PEM
    #[arg(long, value_name = "FILE", env = "OM_TLS_CA")]
    pub tls_ca: Option<PathBuf>,
    /// Serve other hosts, and talk to them, in the clear: whoever reaches the port may do everything
    #[arg(long, env = "OM_INSECURE", value_parser = clap::builder::FalseyValueParser::new())]
    pub insecure: bool,
    /// How long a plugin may act without hearing that its leader still leads; in modes etcd and swarm the shortest such
    /// time, and how long a silent leader is waited for [default: 2s; etcd, swarm: 250ms]
    #[arg(long, value_name = "TIME", env = "OM_AUTHORITY")]
    pub authority: Option<String>,
    /// Rights of the socket, octal [default: 600]
    #[arg(long, value_name = "MODE", env = "OM_SOCKET_MODE")]
    pub socket_mode: Option<String>,
    /// Group that owns the socket [default: the process's own]
    #[arg(long, value_name = "GROUP", env = "OM_SOCKET_GROUP")]
    pub socket_group: Option<String>,
    /// This host's identity [default: the machine id]
    #[arg(long, value_name = "HOST", env = "OM_HOST")]
    pub host: Option<String>,
    /// Configuration file, TOML; its keys are the long flags
    #[arg(long, value_name = "FILE", env = "OM_CONFIG")]
    pub config: Option<PathBuf>,
    /// Print the configuration and where each value comes from, and exit
    #[arg(long)]
    pub print_config: bool,
    /// How much to log: 0 to 5, or a filter such as om=debug [default: 3]
    #[arg(long, value_name = "LEVEL", env = "OM_LOG")]
    pub log: Option<String>,
    /// How to log: text or json [default: text]
    #[arg(long, value_name = "FORMAT", env = "OM_LOG_FORMAT")]
    pub log_format: Option<String>,
}

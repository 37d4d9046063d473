//! The command line.
//!
//! No default stands here and no variable is read: [`crate::config`] resolves flags, environment, file and defaults in
//! one place.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// om, the client of OpenManage.
#[derive(Debug, Parser)]
#[command(name = "om", version, propagate_version = false, disable_version_flag = false)]
#[command(about = "Declares services to an OpenManage manager, and shows what became of them")]
#[command(after_help = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 not the leader or no leader known, 4 no such service,
            5 conflict, 6 cannot connect or timed out, 7 the spec is invalid")]
pub(crate) struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Global {
    /// The manager's name: its socket in the plugins directory [default: service] [env: OM_NAME]
    #[arg(long = "name", value_name = "MANAGER", global = true, id = "manager", conflicts_with = "endpoint")]
    pub(crate) name: Option<String>,
    /// A manager's endpoint: unix:///path or tcp://host:port; of several, whichever answers [env: OM_ENDPOINT]
    #[arg(long, value_name = "URL", global = true, value_delimiter = ',')]
    pub(crate) endpoint: Vec<String>,
    /// How to print [default: table] [env: OM_OUTPUT]
    #[arg(short, long, value_name = "FORMAT", global = true)]
    pub(crate) output: Option<Format>,
    /// When to give up, for all of the command [default: 30s] [env: OM_TIMEOUT]
    #[arg(long, value_name = "DURATION", global = true)]
    pub(crate) timeout: Option<String>,
    /// Do not go to the leader when a follower answers
    #[arg(long, global = true)]
    pub(crate) no_redirect: bool,
    /// Where the sockets are [env: OM_PLUGINS_DIR]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) plugins_dir: Option<PathBuf>,
    /// The CA that signed the managers' certificates, PEM: TCP is spoken by TLS [env: OM_TLS_CA]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Your certificate, PEM [env: OM_TLS_CERT]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its key, PEM [env: OM_TLS_KEY]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) tls_key: Option<PathBuf>,
    /// Talk to other hosts in the clear [env: OM_INSECURE]
    #[arg(long, global = true)]
    pub(crate) insecure: bool,
    /// A TOML file with defaults for these options [env: OM_CONFIG]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
}

/// How to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// JSON.
    Json,
    /// The same object as JSON, written as YAML.
    Yaml,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Declare the services in files, in order
    Commit(Commit),
    /// Stop looking after services, and leave them running
    Free(Free),
    /// Tear services down
    Destroy(Destroy),
    /// List the services
    #[command(visible_alias = "list")]
    Ls(Ls),
    /// Print what was declared, as it could be committed again
    Get {
        /// The service's name
        #[arg(value_name = "NAME")]
        service: String,
    },
    /// Show a service with its members and its spec
    Describe {
        /// The service's name
        #[arg(value_name = "NAME")]
        service: String,
    },
    /// Follow what happens to services
    Watch(Watch),
    /// Run an action of a service's kind
    Run(Run),
    /// List the runs of changing actions, newest first
    Operations {
        /// Only of this service
        #[arg(value_name = "NAME")]
        service: Option<String>,
    },
    /// List the plugins with their kinds and actions
    Plugins,
    /// Show the manager, who leads, and what it stands before
    Status,
    /// List what happened, oldest first, as far as it is kept
    History {
        /// Only of this service
        #[arg(value_name = "NAME")]
        service: Option<String>,
    },
    /// Hand the leadership over to another replica, in order, and print who leads then
    Handover {
        /// The replica that is to lead [default: any other]
        #[arg(value_name = "TO")]
        to: Option<String>,
    },
    /// Save, show and restore the whole declared state
    #[command(subcommand)]
    Snapshot(Snapshot),
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the version
    Version,
}

/// `om commit`.
#[derive(Args, Debug)]
pub(crate) struct Commit {
    /// YAML or JSON files with one or more services each; - is standard input
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Only check, and say what would be done
    #[arg(long, conflicts_with = "wait")]
    pub(crate) pretend: bool,
    /// Only if the service stands at this revision; 0: only if it does not exist
    #[arg(long, value_name = "N")]
    pub(crate) if_revision: Option<u64>,
    /// Wait until each service is ready
    #[arg(long)]
    pub(crate) wait: bool,
}

/// `om free`.
#[derive(Args, Debug)]
pub(crate) struct Free {
    /// The services' names
    #[arg(value_name = "NAME", required = true)]
    pub(crate) services: Vec<String>,
    /// Only if the service stands at this revision
    #[arg(long, value_name = "N")]
    pub(crate) if_revision: Option<u64>,
}

/// `om destroy`.
#[derive(Args, Debug)]
pub(crate) struct Destroy {
    /// The services' names
    #[arg(value_name = "NAME", required = true)]
    pub(crate) services: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Only if the service stands at this revision
    #[arg(long, value_name = "N")]
    pub(crate) if_revision: Option<u64>,
}

/// `om ls`.
#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// Only services of this kind
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// Only services with all these labels; repeatable
    #[arg(short = 'l', long, value_name = "K=V", value_delimiter = ',', value_parser = key_value)]
    pub(crate) selector: Vec<(String, String)>,
}

/// `om watch`.
#[derive(Args, Debug)]
pub(crate) struct Watch {
    /// Only this service
    #[arg(value_name = "NAME")]
    pub(crate) service: Option<String>,
    /// Every event later than this revision, then what comes; without it: from now on
    #[arg(long, value_name = "REV")]
    pub(crate) from: Option<u64>,
}

/// `om run`.
#[derive(Args, Debug)]
pub(crate) struct Run {
    /// The service's name
    #[arg(value_name = "NAME")]
    pub(crate) service: String,
    /// The action; `om plugins` lists them
    #[arg(value_name = "ACTION")]
    pub(crate) action: String,
    /// An argument of the action; repeatable
    #[arg(long = "arg", value_name = "K=V", value_parser = key_value)]
    pub(crate) args: Vec<(String, String)>,
}

/// `om snapshot`.
#[derive(Debug, Subcommand)]
pub(crate) enum Snapshot {
    /// Write the whole declared state to a file
    Save {
        /// The file, replaced in one step; - is standard output
        file: PathBuf,
    },
    /// List the services in a file; asks no manager
    Show {
        /// The file; - is standard input
        file: PathBuf,
    },
    /// Make the declared state that of a file, in one write
    Restore {
        /// The file; - is standard input
        file: PathBuf,
        /// Also where services exist: those that are not in the file are freed
        #[arg(long)]
        replace: bool,
    },
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as key=value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}

//! The program around a plugin: flags, log, signals, exit code.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell as CompletionShell;
use om_api::clock::{self, Clock};
use om_api::{names, places};
use sd_notify::NotifyState;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{Options, Plugin, bind_apart, log};

/// Exit codes, as every program of OpenManage has them.
const FAILED: u8 = 1;
const USAGE: u8 = 2;

/// What a plugin may want to know when it is built.
#[derive(Clone)]
pub struct Context {
    /// The plugin's name, as given.
    pub name: String,
    /// Where its socket will be.
    pub plugins_dir: PathBuf,
    /// Identity of this host.
    pub host: String,
    /// What deadlines are read from.
    pub clock: Clock,
}

/// A plugin that has no flags of its own.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct NoFlags {}

// No group: a plugin's own struct of flags may have any name.
#[derive(Parser)]
#[group(skip)]
#[command(disable_help_subcommand = true, args_conflicts_with_subcommands = true)]
struct Flags<F: Args> {
    #[command(subcommand)]
    command: Option<Command>,
    /// This plugin's name and its socket's [default: the kind]
    // Not from the environment: OM_NAME there is the manager's.
    #[arg(long, value_parser = socket_name)]
    name: Option<String>,
    /// Directory of the sockets [default: where the manager looks for it]
    #[arg(long, env = "OM_PLUGINS_DIR", value_name = "DIR")]
    plugins_dir: Option<PathBuf>,
    /// 0 to 5, or a filter such as om=debug
    #[arg(long, env = "OM_LOG", value_name = "LEVEL", default_value = log::Level::DEFAULT)]
    log: log::Level,
    /// How a line of log looks
    #[arg(long, env = "OM_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    log_format: log::Format,
    /// Permission bits of the socket, octal
    #[arg(long, env = "OM_SOCKET_MODE", value_name = "MODE", default_value = "600", value_parser = octal)]
    socket_mode: u32,
    /// Group of the socket, by name or number
    #[arg(long, env = "OM_SOCKET_GROUP", value_name = "GROUP")]
    socket_group: Option<String>,
    /// Identity of this host; members belong to it [default: the machine's own]
    #[arg(long, env = "OM_HOST")]
    host: Option<String>,
    #[command(flatten)]
    own: F,
}

#[derive(Subcommand)]
enum Command {
    /// Write a completion script for a shell to standard output
    Completions {
        /// The shell
        shell: CompletionShell,
    },
}

fn socket_name(text: &str) -> Result<String, String> {
    names::check_socket(text).map(|()| text.to_owned())
}

fn octal(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| "permission bits are octal, up to 777".to_owned())
}

/// The whole `main` of a plugin: reads the flags, serves the plugin until SIGTERM or SIGINT, and stops within 10 s; a
/// second signal stops at once. Tells systemd when it serves. `default_name` is the kind, as a rule.
pub fn main(
    default_name: &'static str,
    version: &'static str,
    build: impl FnOnce(&Context) -> Arc<dyn Plugin>,
) -> ExitCode {
    main_with::<NoFlags>(default_name, version, |context, _| build(context))
}

/// The same for a plugin with flags of its own beside the common ones.
pub fn main_with<F: Args>(
    default_name: &'static str,
    version: &'static str,
    build: impl FnOnce(&Context, F) -> Arc<dyn Plugin>,
) -> ExitCode {
    let program = format!("om-plugin-{default_name}");
    let command = Flags::<F>::command()
        .display_name(program.clone())
        .bin_name(program.clone())
        .version(version)
        .about(format!("The plugin {default_name} of OpenManage"));
    let read = command.clone().try_get_matches();
    let flags = match read.and_then(|matches| Flags::<F>::from_arg_matches(&matches)) {
        Ok(flags) => flags,
        Err(error) => {
            // Help and version are answers, not errors. A broken pipe is none either.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    if let Some(Command::Completions { shell }) = flags.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut { command }, program, &mut script);
        let _ = std::io::stdout().write_all(&script);
        return ExitCode::SUCCESS;
    }
    log::init(&flags.log, flags.log_format);
    match start(default_name, version, flags, build) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // Not through the log, which may be turned off.
            let _ = writeln!(std::io::stderr(), "{program}: {why}");
            ExitCode::from(FAILED)
        }
    }
}

fn start<F: Args>(
    default_name: &'static str,
    version: &'static str,
    flags: Flags<F>,
    build: impl FnOnce(&Context, F) -> Arc<dyn Plugin>,
) -> Result<(), String> {
    let plugins_dir = match flags.plugins_dir {
        Some(dir) => dir,
        None => places::plugins_dir(&places::Env::from_process())?,
    };
    let context = Context {
        name: flags.name.unwrap_or_else(|| default_name.to_owned()),
        plugins_dir,
        host: flags.host.unwrap_or_else(places::host_id),
        clock: clock::boot(),
    };
    let plugin = build(&context, flags.own);
    let options = Options {
        name: context.name,
        version: version.to_owned(),
        plugins_dir: context.plugins_dir,
        socket_mode: flags.socket_mode,
        socket_group: flags.socket_group,
        host: context.host,
        clock: context.clock,
    };
    let cannot = |cause| format!("cannot start: {cause}");
    let works = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(cannot)?;
    // A thread of its own for the manager: see `bind_apart`.
    let front = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    let served = front.block_on(run(plugin, &options, works.handle().clone()));
    // A task that blocks its thread must not hold up the exit.
    works.shutdown_background();
    front.shutdown_background();
    served
}

async fn run(plugin: Arc<dyn Plugin>, options: &Options, works: Handle) -> Result<(), String> {
    let listen = |kind| signal(kind).map_err(|cause| format!("cannot listen for signals: {cause}"));
    let (mut term, mut int) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let serving = bind_apart(plugin, options, works).map_err(|cause| cause.to_string())?;
    tracing::info!(version = options.version, "serving {}", serving.path().display());
    let shutdown = CancellationToken::new();
    let signals = async {
        let mut next = async || {
            tokio::select! {
                _ = term.recv() => "SIGTERM",
                _ = int.recv() => "SIGINT",
            }
        };
        // Not within the macro: a log that leaves this out would not wait for it.
        let signal = next().await;
        tracing::info!("{signal}: stopping; what was started keeps running");
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        shutdown.cancel();
        next().await
    };
    let serving = serving.run(shutdown.clone());
    // Where no supervisor waits for it, this does nothing.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    tokio::select! {
        served = serving => served.map_err(|cause| cause.to_string()),
        signal = signals => Err(format!("{signal} again: stopped at once")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Flags::<NoFlags>::command().debug_assert();
    }

    #[test]
    fn a_name_that_no_socket_can_have_is_wrong_usage() {
        let read = |name| Flags::<NoFlags>::command().try_get_matches_from(["plugin", "--name", name]);
        assert!(read("process-2").is_ok());
        for bad in ["a/b", "", ".hidden"] {
            let error = read(bad).expect_err(bad);
            assert_eq!(error.exit_code(), i32::from(USAGE), "{bad:?}");
        }
    }

    #[test]
    fn a_socket_mode_is_octal() {
        assert_eq!(octal("660"), Ok(0o660));
        assert!(octal("1777").is_err() && octal("rw").is_err() && octal("8").is_err());
    }
}

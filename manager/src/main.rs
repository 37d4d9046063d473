//! `om-manager`: parse, resolve, run, and stop in order.

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use om_manager::app::App;
use om_manager::config::{self, Args, Command, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

const USAGE: u8 = 2;

fn main() -> ExitCode {
    // In `dev` mode this program is its own gate for members of kind `process`.
    om_plugin_process::gate::main_if_asked();
    let matches = Args::command().get_matches();
    let args = Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match args.command {
        Command::Version => show(format!("om-manager {}\n", om_manager::VERSION).as_bytes()),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "om-manager", &mut script);
            show(&script)
        }
        command => {
            let Some((_, matches)) = matches.subcommand() else { return ExitCode::from(USAGE) };
            match config::resolve(command, matches) {
                Ok(Config { print: Some(shown), .. }) => show(shown.as_bytes()),
                Ok(config) => run(config),
                Err(why) => {
                    eprintln!("error: {why}\n  hint: om-manager --help");
                    ExitCode::from(USAGE)
                }
            }
        }
    }
}

/// Data for standard output. A reader that has seen enough is no error.
fn show(data: &[u8]) -> ExitCode {
    let mut out = std::io::stdout();
    match out.write_all(data).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("error: cannot write to standard output: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn run(config: Config) -> ExitCode {
    om_plugin_sdk::log::init(&config.log, config.log_format);
    die_of_panics();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let outcome = runtime.block_on(serve(config));
            // What hangs in the store or in a file system is not waited for.
            runtime.shutdown_background();
            outcome
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A core is left to the lane. Threads that wake each other up for every message cost more than they do, the more so on two cores.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() - 1).max(1)
}

/// A mistake in one task ends the process. Else a leader could lead on without its store's writer, say, and nobody would take
/// over from it; so somebody does within milliseconds, and whoever supervises this one starts it anew.
fn die_of_panics() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let app = App::bind(config).await?;
    let mut running = std::pin::pin!(app.run(stop.clone()));
    loop {
        tokio::select! {
            done = &mut running => return done,
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        if stop.is_cancelled() {
            anyhow::bail!("stopped at once, as asked a second time");
        }
        stop.cancel();
    }
}

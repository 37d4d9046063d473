//! `om-manager`: parse, resolve, run, and stop in order.

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
        Command::Version => println!("om-manager {}", om_manager::VERSION),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "om-manager", &mut std::io::stdout());
        }
        command => {
            let Some((_, matches)) = matches.subcommand() else { return ExitCode::from(USAGE) };
            return match config::resolve(command, matches) {
                Ok(Config { print: Some(shown), .. }) => {
                    print!("{shown}");
                    ExitCode::SUCCESS
                }
                Ok(config) => run(config),
                Err(why) => {
                    eprintln!("error: {why}\n  hint: om-manager --help");
                    ExitCode::from(USAGE)
                }
            };
        }
    }
    ExitCode::SUCCESS
}

fn run(config: Config) -> ExitCode {
    om_plugin_sdk::log::init(&config.log, config.log_format);
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(serve(config)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
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

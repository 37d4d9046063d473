//! om, the client of OpenManage.

mod args;
mod commands;
mod config;
mod connect;
mod document;
mod failure;
mod output;
mod refused;
mod timeout;

use std::process::ExitCode;

use args::Cli;
use clap::Parser as _;
use failure::{Exit, Failure};

fn main() -> ExitCode {
    let (result, format) = match Cli::try_parse() {
        Ok(cli) => {
            let asked = cli.global.output.or_else(config::output_of_environment);
            (run(cli), asked.unwrap_or_default())
        }
        Err(error) => (refused::explain(&error), refused::asked_for()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::failure(&failure, format);
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn run(cli: Cli) -> failure::Result<()> {
    let settings = config::resolve(&cli.global)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| Failure::file(format!("cannot start: {cause}")))?;
    let result = runtime.block_on(async {
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => Err(Failure::silent(Exit::Interrupted)),
            result = commands::run(cli.command, settings) => result,
        }
    });
    // Somebody may still be asked on the terminal: that thread ends with the process.
    runtime.shutdown_background();
    result
}

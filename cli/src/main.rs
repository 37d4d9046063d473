//! om, the client of OpenManage.

mod args;
mod commands;
mod config;
mod connect;
mod deadline;
mod document;
mod failure;
mod output;

use std::process::ExitCode;

use args::{Cli, Format};
use clap::Parser as _;
use failure::{Exit, Failure};

fn main() -> ExitCode {
    let (result, format) = match Cli::try_parse() {
        Ok(cli) => {
            let asked = cli.global.output.or_else(config::output_of_environment);
            (run(cli), asked.unwrap_or_default())
        }
        Err(error) => (refused(&error), asked_for()),
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

/// The command line is not understood, or asks for help.
fn refused(error: &clap::Error) -> failure::Result<()> {
    if !error.use_stderr() {
        return output::write(error.render().to_string().as_bytes());
    }
    if asked_for() == Format::Table {
        let _ = error.print();
        return Err(Failure::silent(Exit::Usage));
    }
    let text = error.render().to_string();
    let (what, usage) = text.split_once("\n\n").unwrap_or((&text, ""));
    Err(Failure::usage(what.trim_start_matches("error: ").trim()).hint(output::text::one_line(usage)))
}

/// The output format, looked for in a command line that is not understood.
fn asked_for() -> Format {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let is = |format: &str| {
        words.windows(2).any(|pair| matches!(pair[0].as_str(), "-o" | "--output") && pair[1] == format)
            || words
                .iter()
                .any(|word| *word == format!("-o{format}") || *word == format!("--output={format}"))
    };
    match (is("json"), is("yaml")) {
        (true, _) => Format::Json,
        (_, true) => Format::Yaml,
        _ => config::output_of_environment().unwrap_or_default(),
    }
}

//! The task runner: `cargo xtask COMMAND`. CI calls the same commands, so what is green here is green there.
//!
//! It knows no crate of the workspace, for it has to run before `protoc` is there to compile them.

mod bench;
mod check;
mod clock;
mod demo;
mod env;
mod house;
mod model;
mod nemesis;
mod run;
mod say;
mod setup;
mod sim;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What can be asked for.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The task runner of OpenManage")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what building and testing need and this machine lacks
    Setup(setup::Args),
    /// Everything that reads the code: fmt, clippy, documentation, dependencies, the rules of the house
    Check(check::Args),
    /// Install what is missing, build, and run every test
    Test(test::Args),
    /// Measure the real programs beside others: `bench failover`, `bench idle`, `bench failover --help`
    Bench(bench::Args),
    /// Go through every state of the model of claim, takeover, authority and handover: `model --only "one takeover"`
    Model(model::Args),
    /// Make real processes fail at random, and judge what they did: `nemesis --mode etcd --minutes 10`
    Nemesis(nemesis::Args),
    /// Worlds from seeds, with the real manager in them: `sim --seeds 1000`, `sim --seed 7 --trace`
    Sim(sim::Args),
    /// Watch a real web service survive the death of its manager
    Demo(demo::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Setup(args) => setup::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Model(args) => model::run(&args),
        Command::Nemesis(args) => nemesis::run(&args),
        Command::Sim(args) => sim::run(&args),
        Command::Demo(args) => demo::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::error(&error);
            ExitCode::FAILURE
        }
    }
}

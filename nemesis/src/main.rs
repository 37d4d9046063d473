//! `om-nemesis`, run by `cargo xtask nemesis`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use om_api::clock::wall_unix_ms;
use om_nemesis::{Mode, Orders, run};

/// Makes real processes fail at random, and judges what they did by the promises.
#[derive(Parser)]
#[command(name = "om-nemesis", about, version)]
struct Args {
    /// How long faults are made
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// What keeps the state
    #[arg(long, value_enum)]
    mode: Mode,
    /// Decides which faults come [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// How much managers log
    #[arg(long, default_value = "4")]
    log: String,
    /// Where the evidence of a run that failed goes [default: target/nemesis/MODE-SEED]
    #[arg(long)]
    evidence: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Args { minutes, mode, seed, log, evidence } = Args::parse();
    let (what, possible) = mode.needs();
    if !possible {
        eprintln!("error: mode {} needs {what}", mode.name());
        return ExitCode::FAILURE;
    }
    let seed = seed.unwrap_or_else(|| wall_unix_ms().unsigned_abs());
    let evidence = evidence.unwrap_or_else(|| format!("target/nemesis/{}-{seed}", mode.name()).into());
    let time = Duration::from_secs_f64(minutes.max(0.0) * 60.0);
    let outcome = run(&Orders { mode, time, seed, log, evidence });
    println!("{}", outcome.summary);
    for violation in outcome.violations.iter().take(10) {
        println!("\nVIOLATION: {violation}");
    }
    if let Some(failure) = &outcome.failure {
        println!("\nFAILED: {failure}");
    }
    if outcome.is_good() {
        return ExitCode::SUCCESS;
    }
    println!("\nagain: {}", outcome.again);
    ExitCode::FAILURE
}

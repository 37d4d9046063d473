//! `cargo xtask bench`: installs what is missing, builds, and runs the benchmarks' own program.

use std::process::Command;

use anyhow::Result;

use crate::run::{cargo, root, run as run_command, target_dir};
use crate::setup;
use crate::test::PROGRAMS;

/// The benchmark that has others' proxies beside ours.
const PASS: &str = "pass";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build with optimisations: what users run, and what is fair beside others
    #[arg(long)]
    release: bool,
    /// For `om-bench`: `pass`, `failover`, `failover --rounds 5 --only kill`, `idle --minutes 10`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    args: Vec<String>,
}

/// The command.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure()?;
    if args.args.first().is_some_and(|bench| bench == PASS) {
        setup::ensure_peers()?;
    }
    let profile = if args.release { ["--release"].as_slice() } else { &[] };
    run_command(cargo(PROGRAMS).args(profile))?;
    let bench = target_dir()?.join(if args.release { "release" } else { "debug" }).join("om-bench");
    run_command(Command::new(bench).args(&args.args).current_dir(root()))
}

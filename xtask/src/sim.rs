//! `cargo xtask sim`: installs what is missing, builds, and runs worlds from seeds.

use std::process::Command;

use anyhow::Result;

use crate::run::{cargo, root, run as run_command, target_dir};
use crate::setup;
use crate::test::PROGRAMS;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// For `om-sim`: `--seeds 1000`, `--seeds 1000 --seed 5000 --jobs 2`, `--seed 7 --trace`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// The command.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure()?;
    run_command(&mut cargo(PROGRAMS))?;
    run_command(Command::new(target_dir()?.join("debug/om-sim")).args(&args.args).current_dir(root()))
}

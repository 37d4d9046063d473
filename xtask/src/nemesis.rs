//! `cargo xtask nemesis`: installs what is missing, builds, and runs the nemesis's own program.

use std::process::Command;

use anyhow::Result;

use crate::run::{cargo, root, run as run_command, target_dir};
use crate::setup;
use crate::test::PROGRAMS;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// For `om-nemesis`: `--mode etcd --minutes 10`, `--mode os --minutes 1 --seed 7`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    args: Vec<String>,
}

/// The command.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure()?;
    run_command(&mut cargo(PROGRAMS))?;
    run_command(Command::new(target_dir()?.join("debug/om-nemesis")).args(&args.args).current_dir(root()))
}

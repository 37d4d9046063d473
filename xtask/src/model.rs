//! `cargo xtask model`: goes through every state of the model, in all its constellations.

use std::process::Command;

use anyhow::Result;

use crate::run::{cargo, root, run as run_command, target_dir};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// For `om-model`: `--only takeovers`, `--threads 1`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// The command.
pub(crate) fn run(args: &Args) -> Result<()> {
    run_command(&mut cargo(["build", "--locked", "--package", "om-model"]))?;
    run_command(Command::new(target_dir()?.join("debug/om-model")).args(&args.args).current_dir(root()))
}

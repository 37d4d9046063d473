//! `cargo xtask demo`: the main job, on this machine, with real parts.
//!
//! Three managers, a plugin, a web service of three members. The leader dies by `kill -9`, and nobody who asks the
//! service notices. Whatever happens, and if it is Ctrl-C, nothing of it stays behind.

mod cluster;
mod om;
mod prober;
mod processes;
mod story;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::run::{cargo, run as run_command, target_dir};
use crate::test::PROGRAMS;
use crate::{clock, say, setup};
use cluster::Cluster;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave everything running at the end, to play with it
    #[arg(long)]
    keep: bool,
    /// Show the programs in this directory, instead of building them
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// The command. Fails if anything that it promises to show was not true.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure()?;
    let programs = match &args.programs {
        Some(dir) => dir.canonicalize().with_context(|| format!("cannot find {}", dir.display()))?,
        None => {
            run_command(&mut cargo(PROGRAMS))?;
            target_dir()?.join("debug")
        }
    };

    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted)).context("cannot catch signals")?;
    }
    let begun = clock::now();
    let mut cluster = Cluster::new(&programs, interrupted)?;
    let told = story::tell(&mut cluster).and_then(|mut checks| {
        if !args.keep {
            story::end(&mut cluster, &mut checks)?;
        }
        Ok(checks)
    });
    let checks = match told {
        Ok(checks) => checks,
        Err(error) => {
            cluster.show_logs();
            cluster.sweep();
            println!("{}", say::dim("everything that ran here was stopped and removed"));
            return Err(error);
        }
    };

    println!("\n{}", say::bold("What you saw"));
    for (what, held) in &checks {
        println!("   {} {what}", if *held { say::green("✓") } else { say::red("✗") });
    }
    println!("   {}", say::dim(&format!("in {}", clock::show(clock::now().saturating_sub(begun)))));
    if args.keep {
        cluster.keep();
    }
    if checks.iter().any(|(_, held)| !held) {
        bail!("not everything held");
    }
    Ok(())
}

/// What was claimed, and whether it was so.
type Checks = Vec<(String, bool)>;

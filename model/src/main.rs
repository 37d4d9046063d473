//! `om-model`: explores the model, and says how many states it has and whether all promises are kept in each.

use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::Parser;
use om_model::{Constellation, SEEN, explore};

/// Explores every state of the model of claim, takeover, authority, last will and handover
#[derive(Parser)]
#[command(name = "om-model")]
struct Args {
    /// Only constellations with this in their name
    #[arg(long)]
    only: Option<String>,
    /// Threads; the processors by default
    #[arg(long)]
    threads: Option<NonZeroUsize>,
}

fn main() -> ExitCode {
    let Args { only, threads } = Args::parse();
    let threads = threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let wanted = |name: &&(&str, Constellation)| only.as_ref().is_none_or(|part| name.0.contains(part));
    let mut sound = true;
    for (name, bounds) in Constellation::ALL.iter().filter(wanted) {
        println!("{name}");
        let found = explore(*bounds, threads);
        println!("{found}");
        sound &= found.is_sound();
        for what in SEEN.iter().filter(|what| !found.seen.contains(what)) {
            println!("NOT SEEN: {what}");
            sound = false;
        }
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

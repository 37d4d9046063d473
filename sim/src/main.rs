//! `om-sim`: worlds from seeds. `cargo xtask sim` calls it.
//!
//! The real manager, stores, election and plugin SDK run in a simulated world: simulated are the network, the processes,
//! their clocks, and etcd; everything that happens, and everything that goes wrong, follows from the seed. What plugins
//! did and what clients saw is judged by `om-checker`.
//!
//! One seed is one process (see `fate`): this program starts itself for each.

mod client;
mod disk;
mod etcd;
mod fate;
mod hub;
mod many;
mod net;
mod places;
mod plant;
mod plugin;
mod process;
mod replica;
mod store;
mod trouble;
mod world;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;

#[derive(Parser)]
#[command(name = "om-sim", about = "Worlds from seeds: the real programs where everything goes wrong")]
struct Args {
    /// How many seeds
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many at a time
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// This seed, in this process, with its trace on standard output
    #[arg(long)]
    trace: bool,
    /// This seed, in this process
    #[arg(long, hide = true)]
    one: bool,
    /// With a mistake in it; ends at the first seed that shows it
    #[arg(long, value_enum)]
    plant: Option<plant::Plant>,
    /// With the programs' own log, as much as --log of theirs says
    #[arg(long)]
    log: Option<om_plugin_sdk::log::Level>,
}

/// Panics of whatever ran.
static PANICS: AtomicU64 = AtomicU64::new(0);

fn main() -> ExitCode {
    let args = Args::parse();
    if args.one || args.trace {
        return one(&args);
    }
    match many::run(args.seed, args.seeds, args.jobs, args.plant) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn one(args: &Args) -> ExitCode {
    if let Some(level) = &args.log {
        om_plugin_sdk::log::init(level, om_plugin_sdk::log::Format::Text);
    }
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        print(panic);
    }));
    let (seed, plant, trace) = (args.seed, args.plant, args.trace);
    // A thread of its own: its hash maps begin with the seed.
    let thread = std::thread::Builder::new().name(format!("seed {seed}")).stack_size(64 << 20);
    let ran = thread.spawn(move || {
        fate::begin(seed);
        world::run(seed, plant, trace)
    });
    let outcome = match ran.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(outcome))) => outcome,
        Ok(Ok(Err(error))) => {
            println!("{error:#}");
            return ExitCode::FAILURE;
        }
        Ok(Err(_)) | Err(_) => {
            println!("the world broke down");
            return ExitCode::FAILURE;
        }
    };
    print!("{}", outcome.trace);
    println!("{}", many::Tally::of(&outcome));
    let panics = PANICS.load(Ordering::Relaxed);
    let fine = outcome.violations.is_empty() && outcome.seen && panics == 0;
    for violation in &outcome.violations {
        println!("{violation}");
    }
    if !outcome.seen {
        println!("TakeoverIsComplete: nobody said at the end how the services stand");
    }
    if panics > 0 {
        println!("{panics} panics");
    }
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

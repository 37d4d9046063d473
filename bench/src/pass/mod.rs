//! `om-bench pass`: what a proxy adds to a call of a plugin, beside other proxies, round by round.
//!
//! The calls are real ones: `Describe` of a small service and of one of 16 KiB, and `Run` of an action that reads. The
//! others pass them on as they pass on any gRPC; our manager looks whose service it is, too.

pub(crate) mod backend;
pub(crate) mod load;
pub(crate) mod splice;
mod table;
mod ways;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use om_api::v1;
use om_system_tests::{Bed, SOON, Spec, wait_until};

use crate::cpu;
use crate::report::{self, Section};
use load::Question;
use ways::{LEADER, Way};

/// `om-bench pass`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each is measured, in processes of its own
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// How long, in milliseconds
    #[arg(long, default_value_t = 500)]
    lasting: u64,
    /// Only ways that have this in their name; repeatable
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// The file that the table of a whole run is written into, between its markers
    #[arg(long, value_name = "FILE", default_value = "docs/benchmarks.md")]
    into: PathBuf,
    /// The plot of a whole run
    #[arg(long, value_name = "FILE", default_value = "docs/plots/pass.svg")]
    plot: PathBuf,
    /// Only print the table; so it is with --only, too
    #[arg(long)]
    no_write: bool,
}

/// A load.
struct Load {
    what: &'static str,
    question: Question,
    connections: usize,
    /// Calls at a time on each.
    wide: usize,
    /// Whether the latency of one call counts, or how many there are.
    latency: bool,
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Microseconds.
    p50: f64,
    /// Messages a second.
    rate: f64,
    /// Microseconds of processor time in the proxy, a message.
    cpu: f64,
}

fn loads() -> Vec<Load> {
    let describe = |name: &str| {
        Question::new("/om.v1.ServicePlugin/Describe", &v1::DescribeRequest { name: name.to_owned() })
    };
    let args =
        [("messages", "10000"), ("bytes", "256")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let run = v1::RunRequest {
        name: SMALL.to_owned(),
        action: backend::FLOOD.to_owned(),
        args: args.into(),
        ..Default::default()
    };
    let load =
        |what, question, (connections, wide), latency| Load { what, question, connections, wide, latency };
    vec![
        load("one call at a time", describe(SMALL), (1, 1), true),
        load("64 at a time, 8 on each of 8 connections", describe(SMALL), (8, 8), false),
        load("64 at a time on one connection", describe(SMALL), (1, 64), false),
        load("16 KiB, 16 at a time, 4 on each of 4 connections", describe(LARGE), (4, 4), false),
        load(
            "streams of 256 B, 4 on 4 connections",
            Question::new("/om.v1.ServicePlugin/Run", &run),
            (4, 1),
            false,
        ),
    ]
}

const SMALL: &str = "small";
const LARGE: &str = "large";
const LARGE_BYTES: usize = 16 * 1024;

/// The command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let loads = loads();
    let mut samples: BTreeMap<(usize, &str), Vec<Sample>> = BTreeMap::new();
    let mut names = Vec::new();
    for round in 1..=args.rounds {
        // New processes each round: how the scheduler places them moves a figure more than a round of calls does.
        let bed = Bed::new();
        let mut ways = ways::start(&bed);
        for (name, ballast) in [(SMALL, 0), (LARGE, LARGE_BYTES)] {
            declare(&bed, name, ballast);
        }
        ways.retain(|way| args.only.is_empty() || args.only.iter().any(|only| way.name.contains(&**only)));
        names = ways.iter().map(|way| way.name).collect();
        for (which, load) in loads.iter().enumerate() {
            // Nobody is always the first, or behind the same other.
            ways.rotate_left(1);
            for way in &ways {
                let sample = measure(way, load, Duration::from_millis(args.lasting))
                    .with_context(|| format!("{}, {}", way.name, load.what))?;
                samples.entry((which, way.name)).or_default().push(sample);
            }
        }
        eprintln!("round {round} of {}", args.rounds);
    }
    let rows: Vec<_> = loads
        .iter()
        .enumerate()
        .map(|(which, load)| {
            let of_way = |name: &&'static str| (*name, table::median(&samples[&(which, *name)]));
            table::Block { load, ways: names.iter().map(of_way).collect() }
        })
        .collect();
    let text = table::table(&rows, args.rounds);
    println!("{text}");
    if args.only.is_empty() && !args.no_write {
        let section = Section::new("pass", "What a proxy adds to a call", "cargo xtask bench --release pass");
        report::write(&args.into, &section, &format!("{text}\n![the same as bars](plots/pass.svg)\n"))?;
        table::plot(&rows).write(&args.plot)?;
    }
    Ok(())
}

fn declare(bed: &Bed, name: &str, ballast: usize) {
    let spec = serde_json::json!({ "ballast": "x".repeat(ballast) });
    let spec = Spec { name: name.to_owned(), kind: backend::NAME.to_owned(), labels: BTreeMap::new(), spec };
    let client = bed.client(LEADER);
    client.commit(spec.commit()).unwrap_or_else(|failure| panic!("{failure:?}"));
    wait_until("the plugin to look after it", SOON, || {
        let described = client.describe(name).ok().and_then(|service| service.summary);
        described.is_some_and(|summary| summary.phase() == v1::Phase::Ready)
    });
}

fn measure(way: &Way, load: &Load, lasting: Duration) -> Result<Sample> {
    let used = || way.proxy.as_ref().map_or(Duration::ZERO, |proxy| cpu::used(proxy.pid()));
    let mut before = Duration::ZERO;
    let answered = load::ask(&way.socket, load, lasting, || before = used())?;
    let cpu = used().saturating_sub(before);
    let mut latencies = answered.latencies;
    latencies.sort_unstable();
    let p50 = latencies.get(latencies.len() / 2).copied().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    let (messages, p50) = (answered.messages as f64, p50 as f64 / 1e3);
    Ok(Sample { p50, rate: messages / answered.took.as_secs_f64(), cpu: cpu.as_secs_f64() * 1e6 / messages })
}

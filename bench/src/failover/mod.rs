//! `om-bench failover`: from a fault to the first commit that the new leader accepts *and forwards*, beside etcd's own
//! election in the same run.
//!
//! A figure ends at the moment that the recording plugin wrote down for the first commit that was accepted under the
//! new term: its revision is younger than the term itself. It begins before the fault was made.

mod cases;
mod gap;
mod round;
mod swarm;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use anyhow::{Result, ensure};
use om_system_tests::{Bed, Group, NAMES, Pace, record};

use crate::figures::{Figures, millis};
use crate::keeper::Keeper;
use crate::report::{self, Row, Section};
use cases::{CASES, Case};

/// `om-bench failover`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each is measured
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Only where this keeps the state [default: each, one after the other]
    #[arg(long)]
    mode: Option<Keeper>,
    /// Only what has this in its name; repeatable. `--list` has the names
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// List the names and end
    #[arg(long)]
    list: bool,
    /// The file that the table of a whole run is written into, between its markers
    #[arg(long, value_name = "FILE", default_value = "docs/benchmarks.md")]
    into: PathBuf,
    /// Only print the table; so it is with --only, too
    #[arg(long)]
    no_write: bool,
    /// How much the replicas log
    #[arg(long, default_value = "3")]
    log: String,
}

/// Where a case is measured. Made again after a round that broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Three replicas and etcd, as it comes, on one host.
    OneHost,
    /// Three replicas on three hosts, each beside a member of a fast etcd.
    Hosts,
    /// The same with etcd as it comes.
    HostsSlowEtcd,
    /// Three replicas on three hosts, each beside a manager of a Swarm.
    Swarm,
}

const PLACES: [(Keeper, &[Place]); 2] =
    [(Keeper::Etcd, &[Place::OneHost, Place::Hosts, Place::HostsSlowEtcd]), (Keeper::Swarm, &[Place::Swarm])];

struct World<'a> {
    bed: &'a Bed,
    group: Group<'a>,
    steering: record::Tail,
}

impl<'a> World<'a> {
    fn new(bed: &'a Bed, place: Place, log: &str) -> Self {
        let more = ["--log", log];
        let group = match place {
            Place::OneHost => Group::on_one_host(bed, Pace::DEFAULT, &more),
            Place::Hosts => Group::beside_etcd(bed, Pace::FAST, &more),
            Place::HostsSlowEtcd => Group::beside_etcd(bed, Pace::DEFAULT, &more),
            Place::Swarm => Group::beside_swarm(bed, &more),
        };
        group.steer_something();
        Self { bed, group, steering: record::Tail::of(bed.steering_record()) }
    }
}

impl World<'_> {
    fn show_logs(&self) {
        for (number, name) in NAMES.iter().enumerate() {
            eprintln!("---- log of {name} (end)\n{}", self.group.manager(number).log_tail());
        }
    }
}

/// What a case measures goes here, under the name of a row.
#[derive(Default)]
struct Results(Vec<Row>);

impl Results {
    fn of(&mut self, what: &str) -> &mut Figures {
        let at = self.0.iter().position(|(row, _)| row == what).unwrap_or_else(|| {
            self.0.push((what.to_owned(), Figures::default()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }
}

/// The command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| name.contains(&**only));
    let cases: Vec<_> = CASES.iter().filter(|case| wanted(case.name)).collect();
    ensure!(!cases.is_empty(), "nothing is named {:?}: see --list", args.only);
    if args.list {
        cases.iter().for_each(|case| println!("{:24} {}", case.name, case.what));
        return Ok(());
    }
    let mut whole = true;
    for (keeper, places) in PLACES.iter().filter(|(keeper, _)| args.mode.is_none_or(|mode| mode == *keeper)) {
        let mut results = Results::default();
        for place in *places {
            let cases: Vec<_> = cases.iter().copied().filter(|case| case.place == *place).collect();
            if !cases.is_empty() {
                measure(*place, &cases, args, &mut results);
            }
        }
        whole &= told(*keeper, &results, args)?;
    }
    ensure!(whole, "some rounds could not be measured");
    Ok(())
}

/// Prints the table of one mode, and writes it where it belongs. Whether all rounds could be measured.
fn told(keeper: Keeper, results: &Results, args: &Args) -> Result<bool> {
    if results.0.is_empty() {
        return Ok(true);
    }
    let table = report::table(&results.0, args.rounds);
    println!("\n{table}");
    for (what, figures) in &results.0 {
        figures.broken.iter().for_each(|why| println!("broken: {what}: {why}"));
    }
    if args.only.is_empty() && !args.no_write {
        let command = format!("cargo xtask bench failover --mode {keeper}");
        let section =
            Section::new(&format!("failover {keeper}"), &format!("Failover, mode `{keeper}`"), &command);
        report::write(&args.into, &section, &table)?;
    }
    Ok(results.0.iter().all(|(_, figures)| figures.broken.is_empty()))
}

/// All rounds of the cases of one place, interleaved: what the other places need does not run beside them.
fn measure(place: Place, cases: &[&Case], args: &Args, results: &mut Results) {
    let bed = Bed::new();
    let mut world: Option<World<'_>> = None;
    for round in 1..=args.rounds {
        for case in cases {
            let before = results.of(case.what).rounds.len();
            let measured = catch_unwind(AssertUnwindSafe(|| {
                let world = world.get_or_insert_with(|| World::new(&bed, place, &args.log));
                (case.measure)(world, case.what, results);
            }));
            if let Err(why) = measured {
                world.iter().for_each(World::show_logs);
                world = None;
                results.of(case.what).broken.push(said(&*why));
            }
            let figure =
                results.of(case.what).rounds.get(before).map_or("broken".to_owned(), |it| millis(*it));
            println!("round {round}: {:24} {figure:>8} ms", case.name);
        }
    }
    // Figures of a run in which two terms steered at once would be worth nothing.
    if world.is_some() {
        record::check_one_term_steers(&bed.steering_record());
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
    text.unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

//! `om-bench scale`: whether a write and a takeover get dearer as the state grows.

use std::time::Duration;

use anyhow::{Result, ensure};
use om_api::clock::since_boot;
use om_system_tests::{Bed, Group, NAMES, Pace, Spec, recorded, wait_for, wait_until};

use crate::figures::{Figures, millis};
use crate::keeper::Keeper;

/// `om-bench scale`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What keeps the state
    #[arg(long, default_value = "swarm")]
    mode: Keeper,
    /// How many services of a kilobyte
    #[arg(long, default_value_t = 20_000)]
    services: usize,
}

/// Commits one after another that a figure is of.
const SAMPLE: usize = 50;
/// The sample after the first ones ends here.
const EARLY: usize = 1000;
/// Commits at once while the state is filled.
const WIDE: usize = 256;
/// However much there is: longer than this, something is broken.
const PATIENCE: Duration = Duration::from_secs(600);

/// Fills the state, and compares what a commit takes on the way; then kills the leader.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(args.services >= EARLY + SAMPLE, "at least {} services", EARLY + SAMPLE);
    let bed = Bed::new();
    // The machine is full for minutes: that is no reason for a leader to change.
    let calm = ["--authority", "2s", "--log", "3"];
    let group = match args.mode {
        Keeper::Swarm => Group::beside_swarm(&bed, &calm),
        Keeper::Etcd => Group::beside_etcd(&bed, Pace::DEFAULT, &calm),
    };
    let (leader, term) = group.settle();
    let filled = Filled { group: &group, bed: &bed, leader };
    let first = filled.one_by_one(0..SAMPLE);
    filled.at_once(SAMPLE..EARLY - SAMPLE);
    let thousandth = filled.one_by_one(EARLY - SAMPLE..EARLY);
    filled.at_once(EARLY..args.services - SAMPLE);
    let last = filled.one_by_one(args.services - SAMPLE..args.services);
    println!("mode {}, {} services of 1 kB; a commit, p50, one after another:", args.mode, args.services);
    tell("the first", &first, &first);
    tell("up to the thousandth", &thousandth, &first);
    tell("the last", &last, &first);

    let killed = group.manager(leader).kill();
    let (now, _) = wait_for("another leader", PATIENCE, || group.leader().filter(|(_, now)| *now > term));
    println!("the leader killed: another leads after {} ms", millis(since_boot() - killed));
    let count = group.status(now).map(|status| status.services);
    ensure!(count == Some(args.services as u64), "it has {count:?} of {} services", args.services);
    let client = group.bed(now).client(NAMES[now]);
    wait_until("all of them to be ready", PATIENCE, || {
        client.list().is_ok_and(|all| all.iter().all(|service| service.phase() == om_api::v1::Phase::Ready))
    });
    println!("all of them are ready again after {} ms", millis(since_boot() - killed));

    group.restart(leader);
    let begun = since_boot();
    wait_until("the one that begins with nothing", PATIENCE, || {
        group.status(leader).is_some_and(|status| status.services == args.services as u64)
    });
    println!("a replica that begins with nothing has read them after {} ms", millis(since_boot() - begun));
    Ok(())
}

struct Filled<'a> {
    group: &'a Group<'a>,
    bed: &'a Bed,
    leader: usize,
}

impl Filled<'_> {
    fn service(&self, number: usize) -> Spec {
        let name = format!("s-{number:06}");
        recorded(self.bed, &name).with("every_ms", 0).with("ballast", "x".repeat(900))
    }

    fn one_by_one(&self, numbers: std::ops::Range<usize>) -> Figures {
        let client = self.group.bed(self.leader).client(NAMES[self.leader]).patience(PATIENCE);
        let mut figures = Figures::default();
        for number in numbers {
            let request = self.service(number).commit();
            let begun = since_boot();
            client.commit(request).unwrap_or_else(|failure| panic!("{failure:?}"));
            figures.rounds.push(since_boot() - begun);
        }
        figures
    }

    fn at_once(&self, numbers: std::ops::Range<usize>) {
        let client = self.group.bed(self.leader).client(NAMES[self.leader]).patience(PATIENCE);
        let requests = numbers.map(|number| self.service(number).commit()).collect();
        for answer in client.commit_all(requests, WIDE) {
            answer.unwrap_or_else(|failure| panic!("{failure:?}"));
        }
    }
}

fn tell(what: &str, figures: &Figures, first: &Figures) {
    let (Some(own), Some(first)) = (figures.quantile(0.5), first.quantile(0.5)) else { return };
    let ratio = own.as_secs_f64() / first.as_secs_f64();
    println!("  {what:22} {:>7} ms  {ratio:.2} x the first", millis(own));
}

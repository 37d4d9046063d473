//! The nemesis: real managers, plugins and keepers of the state, each host a network namespace, made to fail at random
//! from a seed, while clients commit, read, free, destroy and watch. What plugins did and what clients were told is one
//! history, and [`om_checker`] judges it by the promises.
//!
//! A seed decides which faults come, in which order, for how long, and what clients ask for. It does not decide when the
//! machine runs which process: the same seed is the same plan, not the same run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "as the tests' harness: what cannot be set up or mended ends the run, with a reason"
)]

mod attempt;
mod clients;
mod effects;
mod ending;
mod evidence;
mod fault;
mod hand;
mod history;
mod plan;
mod summary;
mod watchers;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

use om_api::clock::since_boot;
use om_checker::{Event, Rules, Violation};
use om_system_tests::{Bed, EtcdCluster, Net, Swarm};

pub use summary::Summary;

use clients::Load;
use hand::Hand;
use history::History;
use plan::Plan;
use world::World;

/// What keeps the state and names the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// A leader file and a state directory that three replicas share.
    Os,
    /// Three members of etcd, each beside a replica.
    Etcd,
    /// Three managers of a Swarm, each beside a replica.
    Swarm,
}

impl Mode {
    /// As on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Os => "os",
            Self::Etcd => "etcd",
            Self::Swarm => "swarm",
        }
    }

    /// What the machine must have for it, and whether it has.
    #[must_use]
    pub fn needs(self) -> (&'static str, bool) {
        match self {
            Self::Os => ("mounts (root)", Net::possible()),
            Self::Etcd => {
                ("etcd, etcdctl and network namespaces (root)", Net::possible() && EtcdCluster::possible())
            }
            Self::Swarm => ("dockerd, docker, busybox and network namespaces (root)", Swarm::possible()),
        }
    }
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Orders {
    /// Where.
    pub mode: Mode,
    /// How long faults are made; the end comes after that.
    pub time: Duration,
    /// Decides everything that is decided.
    pub seed: u64,
    /// How much managers log.
    pub log: String,
    /// Where the evidence of a run that failed goes.
    pub evidence: PathBuf,
}

/// What came of it.
pub struct Outcome {
    /// What was done.
    pub summary: Summary,
    /// Everything that happened, as it was judged.
    pub history: Vec<Event>,
    /// By which rules.
    pub rules: Rules,
    /// What contradicts a promise.
    pub violations: Vec<Violation>,
    /// Why the run could not go on, or did not end well; it may be the harness's fault.
    pub failure: Option<String>,
    /// The command that makes the same plan again.
    pub again: String,
}

impl Outcome {
    /// Whether everything was as it should be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violations.is_empty() && self.failure.is_none()
    }
}

/// One run. Evidence of one that is not good is left in the directory of the orders.
///
/// # Panics
/// If the programs are missing, or the world cannot be made.
#[must_use]
pub fn run(orders: &Orders) -> Outcome {
    let bed = Bed::new();
    let world = world::new(orders, &bed);
    let history = History::new();
    let mut summary = Summary::new(orders);
    let mut load = Load::start(&*world, &bed, &history, orders.seed);
    let whole = catch_unwind(AssertUnwindSafe(|| {
        let mut hand = Hand::new(&*world, &history, orders.seed);
        rounds(orders, &*world, &mut hand, &load, &mut summary)?;
        ending::end(&*world, &mut load, &history)
    }));
    load.stop();
    let failure = match whole {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(why),
        Err(panic) => Some(format!("the harness gave up: {}", said(&*panic))),
    };
    effects::add(&world.steering_record(), &history);
    let events = history.take();
    summary.count(&events, load.tried());
    let rules = Rules::new(world.authority());
    let violations = om_checker::check(&events, &rules);
    summary.violations = violations.len();
    let again = evidence::replay(orders);
    let outcome = Outcome { summary, history: events, rules, violations, failure, again };
    if !outcome.is_good() {
        evidence::write(orders, &*world, &outcome);
    }
    outcome
}

fn rounds(
    orders: &Orders,
    world: &dyn World,
    hand: &mut Hand<'_>,
    load: &Load,
    summary: &mut Summary,
) -> Result<(), String> {
    world.settled().map_err(|why| format!("the world did not come about: {why}"))?;
    load.wait_progress(world.patience()).map_err(|why| format!("before any fault, {why}"))?;
    let plan = Plan { menu: world.menu(), seed: orders.seed };
    let end = since_boot() + orders.time;
    for number in 0.. {
        if since_boot() >= end {
            break;
        }
        let round = plan.round(number);
        let struck = hand.round(&round);
        summary.rounds += 1;
        struck.iter().for_each(|fault| *summary.faults.entry(fault.name()).or_default() += 1);
        let after = |why| format!("after round {number} ({struck:?}), {why}");
        load.wait_progress(world.patience()).map_err(after)?;
        if round.settle {
            world.settled().map_err(|why| format!("after round {number} ({struck:?}), {why}"))?;
        }
    }
    Ok(())
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_default()
}

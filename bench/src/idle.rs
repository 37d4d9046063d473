//! Replicas that are left alone: takeovers, what they write to etcd, and what they take of the machine.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use om_api::clock::since_boot;
use om_system_tests::{Bed, Group, NAMES, Pace, record};

use crate::cpu;
use crate::report::{self, ETCD, Section, environment};

/// How often it is looked who leads under which term: terms only grow, so no takeover is missed.
const LOOK: Duration = Duration::from_secs(10);

/// `om-bench idle`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// For so long
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// The file that the table is written into, between its markers
    #[arg(long, value_name = "FILE", default_value = "docs/benchmarks.md")]
    into: PathBuf,
    /// Only print the table
    #[arg(long)]
    no_write: bool,
}

/// Three replicas on three hosts are left alone; fails if leadership moved.
pub(crate) fn run(args: &Args) -> Result<()> {
    let bed = Bed::new();
    let group = Group::beside_etcd(&bed, Pace::DEFAULT, &["--log", "3"]);
    group.steer_something();
    let (leader, term) = group.settle();
    let used = || [0, 1, 2].map(|number| cpu::used(group.manager(number).pid()));
    let (begun, written, before) = (since_boot(), group.etcd().revision(), used());
    let end = begun + Duration::from_secs(args.minutes * 60);
    let mut terms = BTreeSet::from([term]);
    println!("{} leads under term {term}", NAMES[leader]);
    while since_boot() < end {
        // sleeps: they are left alone; to ask them costs them, too
        std::thread::sleep(LOOK.min(end.saturating_sub(since_boot())));
        if let Some((leader, term)) = group.leader().filter(|(_, term)| terms.insert(*term)) {
            let at = (since_boot() - begun).as_secs();
            println!("after {at} s: {} leads under term {term}", NAMES[leader]);
        }
    }
    let (lasted, writes) = (since_boot() - begun, group.etcd().revision() - written);
    let after = used();
    record::check_one_term_steers(&bed.steering_record());

    let mut text = format!(
        "{} {} minutes, three replicas, one service.\n\n| what | |\n| --- | --- |\n",
        environment(&[ETCD]),
        args.minutes
    );
    text += &format!("| takeovers | {} |\n| writes to etcd | {writes} |\n", terms.len() - 1);
    for number in [0, 1, 2] {
        let role = if number == leader { "leader" } else { "follower" };
        let share = after[number].saturating_sub(before[number]).as_secs_f64() / lasted.as_secs_f64();
        let resident = cpu::resident_mib(group.manager(number).pid());
        text += &format!("| {role}: processor time, % of a core | {:.2} |\n", share * 100.0);
        text += &format!("| {role}: resident, MiB | {resident:.1} |\n");
    }
    println!("{text}");
    if !args.no_write {
        let section = Section::new("idle", "Left alone, mode `etcd`", "cargo xtask bench --release idle");
        report::write(&args.into, &section, &text)?;
    }
    ensure!(terms.len() == 1, "leadership moved though nothing failed");
    Ok(())
}

//! Takeovers while nothing fails.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use om_api::clock::since_boot;
use om_system_tests::{Bed, Group, Pace, record};

/// `om-bench idle`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// For so long
    #[arg(long, default_value_t = 10)]
    minutes: u64,
}

/// Three replicas on three hosts are left alone; fails if leadership moved.
pub(crate) fn run(args: &Args) -> Result<()> {
    let bed = Bed::new();
    let group = Group::beside_etcd(&bed, Pace::DEFAULT, &["--log", "3"]);
    group.steer_something();
    let (leader, term) = group.settle();
    let begun = since_boot();
    let end = begun + Duration::from_secs(args.minutes * 60);
    let mut terms = BTreeSet::from([term]);
    println!("{} leads under term {term}", om_system_tests::NAMES[leader]);
    while since_boot() < end {
        if let Some((leader, term)) = group.leader().filter(|(_, term)| terms.insert(*term)) {
            let at = (since_boot() - begun).as_secs();
            println!("after {at} s: {} leads under term {term}", om_system_tests::NAMES[leader]);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    record::check_one_term_steers(&bed.steering_record());
    println!("{} takeovers in {} minutes", terms.len() - 1, args.minutes);
    ensure!(terms.len() == 1, "leadership moved though nothing failed");
    Ok(())
}

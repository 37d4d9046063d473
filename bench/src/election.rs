//! etcd's own election, as its users have it: campaign under a lease that is kept alive.
//!
//! The same calls as `etcdctl elect`, whose lease is fixed to 60 s: here its time can be chosen.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use etcd_client::{Client, ResignOptions};
use om_api::clock::since_boot;
use om_system_tests::{Bed, EtcdCluster, Program, SOON, wait_for, wait_until};
use tokio::signal::unix::{SignalKind, signal};

const WON: &str = "won at ";

/// `om-bench contend`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// etcd's URLs
    #[arg(long, value_delimiter = ',')]
    endpoints: Vec<String>,
    /// Time of the lease, seconds
    #[arg(long)]
    ttl: i64,
    /// Name of the election
    #[arg(long)]
    election: String,
}

/// Campaigns, says when it has won, and resigns at SIGTERM.
pub(crate) fn contend(args: &Args) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut client = Client::connect(&args.endpoints, None).await?;
        let lease = client.lease_grant(args.ttl, None).await?.id();
        let (mut keeper, mut kept) = client.lease_keep_alive(lease).await?;
        let mut pause = tokio::time::interval(Duration::from_millis(u64::try_from(args.ttl)? * 1000 / 3));
        let mut candidate = client.election_client();
        let own = std::process::id().to_string();
        let mut campaign = Box::pin(candidate.campaign(args.election.as_str(), own, lease));
        let mut won = None;
        loop {
            tokio::select! {
                _ = pause.tick() => {
                    keeper.keep_alive().await?;
                    kept.message().await?.context("the lease is not kept any more")?;
                }
                answer = &mut campaign, if won.is_none() => {
                    won = answer?.leader().cloned();
                    println!("{WON}{}", since_boot().as_micros());
                }
                _ = terminate.recv() => break,
            }
        }
        drop(campaign);
        if let Some(key) = won {
            candidate.resign(Some(ResignOptions::new().with_leader(key))).await?;
        }
        Ok(())
    })
}

/// Three contenders, of which one wins; that one is ended by `kill -9`, or asked to resign: how long until the next has
/// won. Nothing of earlier contests stands in the way.
pub(crate) fn contest(bed: &Bed, etcd: &EtcdCluster<'_>, ttl: i64, kill: bool) -> Duration {
    let election = format!("contest-{}", since_boot().as_micros());
    let contenders: Vec<_> = (0..3).map(|number| launch(bed, etcd, &election, ttl, number)).collect();
    let (holder, _) = wait_for("a contender to win", SOON, || winner(&contenders, None));
    wait_until("all contenders to stand", SOON, || {
        let keys = etcd.ctl_at(0, &["get", "--prefix", &election, "--keys-only"]);
        keys.stdout.matches(&election).count() == contenders.len()
    });
    let fault = if kill {
        contenders[holder].0.kill()
    } else {
        let before = since_boot();
        contenders[holder].0.terminate();
        before
    };
    let (_, at) = wait_for("the next contender to win", SOON, || winner(&contenders, Some(holder)));
    for (contender, _) in &contenders {
        contender.kill();
        contender.wait_exit(SOON);
    }
    at.saturating_sub(fault)
}

/// A contender, with the length of its log at its start.
type Contender = (Arc<Program>, usize);

fn launch(bed: &Bed, etcd: &EtcdCluster<'_>, election: &str, ttl: i64, number: usize) -> Contender {
    let name = format!("contender-{number}");
    let mut command = bed.command("om-bench", &["contend", "--endpoints", &etcd.endpoints()]);
    command.args(["--ttl", &ttl.to_string(), "--election", election]);
    let before = std::fs::metadata(bed.path(&format!("{name}.log"))).map_or(0, |file| file.len());
    (bed.start(&name, command), usize::try_from(before).unwrap_or(0))
}

fn winner(contenders: &[Contender], except: Option<usize>) -> Option<(usize, Duration)> {
    let won = contenders.iter().enumerate().filter_map(|(number, (program, from))| {
        let (line, _) = program.find(*from, &[WON])?;
        Some((number, Duration::from_micros(line.strip_prefix(WON)?.parse().ok()?)))
    });
    won.filter(|(number, _)| Some(*number) != except).max_by_key(|(_, at)| *at)
}

#[cfg(test)]
mod tests {
    use om_system_tests::{Pace, part};

    use super::*;

    #[test]
    fn a_contest_is_won_by_the_next_whether_the_holder_resigns_or_is_killed() {
        if !part("etcd and etcdctl", EtcdCluster::possible()) {
            return;
        }
        let bed = Bed::new();
        let etcd = EtcdCluster::local(&bed, 1, Pace::FAST);
        for kill in [false, true, false] {
            assert!(contest(&bed, &etcd, 1, kill) > Duration::ZERO);
        }
    }
}

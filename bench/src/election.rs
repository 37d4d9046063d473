//! etcd's own election, as its users have it: campaign under a lease that is kept alive.
//!
//! The same calls as `etcdctl elect`, whose lease is fixed to 60 s: here its time can be chosen.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use etcd_client::{Client, ResignOptions};
use om_api::clock::since_boot;
use om_system_tests::{Bed, EtcdCluster, Program, SOON, wait_for};
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

/// Three contenders, of which one has won.
pub(crate) struct Contest<'a> {
    bed: &'a Bed,
    endpoints: String,
    ttl: i64,
    // With the length of the log at their start.
    contenders: Vec<(Arc<Program>, usize)>,
    holder: usize,
}

impl<'a> Contest<'a> {
    pub(crate) fn new(bed: &'a Bed, etcd: &EtcdCluster<'_>, ttl: i64) -> Self {
        let endpoints = etcd.endpoints();
        let mut contest = Self { bed, endpoints, ttl, contenders: Vec::new(), holder: 0 };
        contest.contenders = (0..3).map(|number| contest.launch(number)).collect();
        contest.holder = wait_for("a contender to win", SOON, || contest.winner()).0;
        contest
    }

    /// One round: ends the holder, by `kill -9` or by asking it to resign; how long until the next has won.
    pub(crate) fn round(&mut self, kill: bool) -> Duration {
        let (holder, _) = &self.contenders[self.holder];
        let fault = if kill {
            holder.kill()
        } else {
            let before = since_boot();
            holder.terminate();
            before
        };
        let ended = self.holder;
        let (next, at) =
            wait_for("the next contender to win", SOON, || self.winner().filter(|(next, _)| *next != ended));
        self.contenders[ended].0.wait_exit(SOON);
        self.contenders[ended] = self.launch(ended);
        self.holder = next;
        at.saturating_sub(fault)
    }

    fn launch(&self, number: usize) -> (Arc<Program>, usize) {
        let name = format!("contender-{}-{number}", self.ttl);
        let mut command = self.bed.command("om-bench", &["contend", "--endpoints", &self.endpoints]);
        command.args(["--ttl", &self.ttl.to_string(), "--election", &format!("contest-{}", self.ttl)]);
        let before = std::fs::metadata(self.bed.path(&format!("{name}.log"))).map_or(0, |file| file.len());
        (self.bed.start(&name, command), usize::try_from(before).unwrap_or(0))
    }

    fn winner(&self) -> Option<(usize, Duration)> {
        let won = self.contenders.iter().enumerate().filter_map(|(number, (program, from))| {
            let (line, _) = program.find(*from, &[WON])?;
            Some((number, Duration::from_micros(line.strip_prefix(WON)?.parse().ok()?)))
        });
        won.max_by_key(|(_, at)| *at)
    }
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
        let mut contest = Contest::new(&bed, &etcd, 1);
        for kill in [false, true, false] {
            let before = contest.holder;
            contest.round(kill);
            assert_ne!(contest.holder, before);
        }
    }
}

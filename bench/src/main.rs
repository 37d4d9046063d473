//! `om-bench`, run by `cargo xtask bench`: what the real programs take, beside others in the same run.
//!
//! Figures drift from machine to machine and from day to day, so nothing is compared that was not measured side by side,
//! round by round. The moments of effects are those that the recording plugin wrote down itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "as the tests' harness: a benchmark that cannot measure says why and ends"
)]

mod cpu;
mod election;
mod failover;
mod figures;
mod idle;
mod keeper;
mod large;
mod pass;
mod plot;
mod report;
mod scale;
mod soak;
mod store;
mod watch;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use om_system_tests::{EtcdCluster, Net};

/// Benchmarks of OpenManage.
#[derive(Parser)]
#[command(name = "om-bench", about = "Benchmarks of OpenManage", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// From a fault to the first commit that the new leader accepts and forwards, beside etcd's own election
    Failover(failover::Args),
    /// Takeovers while nothing fails
    Idle(idle::Args),
    /// Whether a write and a takeover get dearer as the state grows
    Scale(scale::Args),
    /// What a proxy adds to a call, beside nginx, HAProxy and a splice of bytes
    Pass(pass::Args),
    /// What a durable commit takes, beside the bare disk and the bare etcd, and as the state grows
    Store(store::Args),
    /// Replicas with a large state: how they start, answer and take over, and how large they become
    Large(large::Args),
    /// The same load for a long time: whether memory, file descriptors and latency stay what they are
    Soak(soak::Args),
    /// Many who watch: whether each hears of everything, how late, and what each costs
    Watch(watch::Args),
    /// Serve the plugin that `pass` calls
    #[command(hide = true)]
    Backend(pass::backend::Args),
    /// Pass bytes from one socket to another
    #[command(hide = true)]
    Splice(pass::splice::Args),
    /// Stand for election by etcd's own means, and say when it is won
    #[command(hide = true)]
    Contend(election::Args),
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Contend(args) => election::contend(&args),
        Command::Backend(args) => pass::backend::run(&args),
        Command::Splice(args) => pass::splice::run(&args),
        Command::Store(args) => store::run(&args),
        Command::Large(args) => large::run(&args),
        Command::Pass(args) => pass::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Failover(args) => clustered().and_then(|()| failover::run(&args)),
        Command::Idle(args) => clustered().and_then(|()| idle::run(&args)),
        Command::Scale(args) => clustered().and_then(|()| scale::run(&args)),
    }
}

/// Whether there is what replicas on several hosts need.
fn clustered() -> Result<()> {
    ensure!(EtcdCluster::possible(), "etcd and etcdctl are missing: cargo xtask setup");
    ensure!(Net::possible(), "hosts are network namespaces, and only root may make them: run this as root");
    Ok(())
}

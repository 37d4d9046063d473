//! Several handles that claim, write, compact and release as they like, each through a network that breaks now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use om_etcd::testing::{Cluster, Gate};
use tokio::task::JoinSet;

use super::*;
use crate::Store;
use crate::testing::Dice;
use crate::testing::ledger::{Answer, Ledger, claim, verify};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_that_race_for_claims_and_writes_lose_nothing_and_write_nothing_twice() {
    if !Cluster::available() {
        return;
    }
    for seed in 0..4 {
        let cluster = Cluster::start(1, &[]);
        let ledger = Ledger::default();
        let number = Arc::new(AtomicU32::new(0));
        let mut replicas = JoinSet::new();
        for replica in 0..3 {
            let gate = Gate::before(&cluster.endpoints()[0]).await;
            let etcd = Etcd::new(&EtcdOptions::new([gate.url()])).unwrap();
            let handle = patient(etcd, Duration::from_millis(400));
            let (ledger, number) = (ledger.clone(), number.clone());
            replicas.spawn(race(handle, gate, ledger, number, Dice::new(seed * 10 + replica)));
        }
        replicas.join_all().await;
        let answers = ledger.now();
        let acknowledged =
            answers.values().filter(|answer| matches!(answer, Answer::Acknowledged(_))).count();
        assert!(acknowledged > 20, "seed {seed}: only {acknowledged}");
        verify(|| store(&cluster), &ledger).await.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

async fn race(handle: KvStore, gate: Gate, ledger: Ledger, number: Arc<AtomicU32>, mut dice: Dice) {
    for _ in 0..12 {
        let Ok(token) = claim(&handle, "racer").await else { continue };
        for _ in 0..=dice.roll(8) {
            let next = number.fetch_add(1, Ordering::SeqCst);
            let size = usize::try_from(dice.roll(400)).unwrap();
            let other = number.fetch_add(1, Ordering::SeqCst);
            let fate = dice.roll(12);
            let write = async {
                tokio::join!(
                    ledger.write(&handle, &token, next, size),
                    ledger.write(&handle, &token, other, 5)
                )
            };
            let fault = async {
                match fate {
                    0 => gate.sever(),
                    1 => gate.shut(),
                    _ => {}
                }
                // sleeps: the network is away for a while
                tokio::time::sleep(Duration::from_millis(fate * 40)).await;
                gate.open();
            };
            let ((written, _), ()) = tokio::join!(write, fault);
            if !written {
                break;
            }
        }
        match dice.roll(4) {
            // What becomes of these shows in what is loaded later.
            0 => drop(handle.compact(&token, dice.roll(5)).await),
            1 => drop(handle.release(token, None).await),
            _ => {}
        }
    }
    // What is unclear is settled, or fenced for good.
    drop(handle);
}

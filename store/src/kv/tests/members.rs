//! Members of etcd that die and freeze while entries are written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use om_etcd::testing::{Cluster, eventually};
use tokio::task::JoinSet;

use super::*;
use crate::Store;
use crate::testing::ledger::{Answer, Ledger, check, claim, verify};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_once_whichever_member_dies_or_freezes() {
    if !Cluster::available() {
        return;
    }
    let mut cluster = Cluster::start(3, &[]);
    let holder = Arc::new(store(&cluster));
    let follower = store(&cluster);
    let token = claim(&*holder, "holder").await.unwrap();
    let mut watch = follower.watch(0).await.unwrap();
    let ledger = Ledger::default();
    let (number, over) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let mut writers = JoinSet::new();
    for _ in 0..4 {
        let (holder, token, ledger) = (holder.clone(), token.clone(), ledger.clone());
        let (number, over) = (number.clone(), over.clone());
        writers.spawn(async move {
            while !over.load(Ordering::SeqCst) {
                let number = number.fetch_add(1, Ordering::SeqCst);
                ledger.write(&*holder, &token, number, 100).await;
            }
        });
    }
    let acknowledged = |ledger: &Ledger| {
        ledger.now().values().filter(|answer| matches!(answer, Answer::Acknowledged(_))).count()
    };
    for round in 0..6 {
        let before = acknowledged(&ledger);
        let leader = cluster.leader().unwrap_or(0);
        let victim = if round % 3 == 2 { (leader + 1) % 3 } else { leader };
        if round % 2 == 0 {
            cluster.kill(victim);
        } else {
            cluster.freeze(victim);
        }
        let went_on = async || (acknowledged(&ledger) > before + 20).then_some(());
        eventually("writes go on without that member", went_on).await;
        if round % 2 == 0 {
            cluster.restart(victim);
        } else {
            cluster.thaw(victim);
        }
        cluster.ready();
    }
    over.store(true, Ordering::SeqCst);
    writers.join_all().await;
    let answers = ledger.now();
    assert!(answers.values().all(|answer| matches!(answer, Answer::Acknowledged(_))), "{answers:?}");
    check(&*holder, &answers).unwrap();
    expect(&mut watch, 1..=holder.view().revision()).await;
    check(&follower, &answers).unwrap();
    verify(|| store(&cluster), &ledger).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_all_of_etcd_changes_nothing() {
    if !Cluster::available() {
        return;
    }
    let mut cluster = Cluster::start(1, &[]);
    let (holder, follower) = (store(&cluster), store(&cluster));
    let token = claim(&holder, "holder").await.unwrap();
    let mut watch = follower.watch(0).await.unwrap();
    for round in 1..=3 {
        assert_eq!(holder.append(&token, put("k", "v")).await.unwrap(), round);
        cluster.restart(0);
        cluster.ready();
        expect(&mut watch, round..=round).await;
        holder.confirm(&token).await.unwrap();
    }
}

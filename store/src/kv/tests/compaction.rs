//! Compactions that stop half way, and an etcd that is compacted by others.

use std::sync::Arc;

use om_etcd::EtcdOptions;
use om_etcd::testing::{Cluster, Gate};

use super::damage::noise;
use super::*;
use crate::kv::base::{Compaction, Step};
use crate::testing::ledger::claim;
use crate::{Error, Store, Token};

fn in_small_chunks(cluster: &Cluster) -> KvStore {
    KvStore::tuned(
        Arc::new(cluster.etcd()),
        &layout(),
        Tuning { chunk: 64, patience: PATIENCE, ..Tuning::default() },
    )
}

/// As an operator, or etcd by itself, does it.
async fn compact_etcd(cluster: &Cluster) {
    let newest = cluster.etcd().range(&Range::key("any"), PATIENCE).await.unwrap().header.revision;
    drop(cluster.etcdctl(&["compact", &newest.to_string()]));
}

async fn fill(holder: &KvStore, token: &Token, round: u64) {
    for number in 0..5 {
        holder.append(token, put(&format!("k{number}"), &noise(round * 100 + number, 50))).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_that_stops_after_any_step_loses_nothing_and_the_next_one_sweeps() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    let mut steps_seen = Vec::new();
    for stop in 0.. {
        let holder = in_small_chunks(&cluster);
        let token = claim(&holder, "holder").await.unwrap();
        fill(&holder, &token, stop).await;
        // A large entry that was given up before it was whole: parts that nobody names.
        let orphan = keys().parts_of(holder.view().revision(), "orphan");
        write(&cluster, om_kv::Op::put(format!("{orphan}000000"), "debris")).await;
        let shared: Arc<_> = holder.shared().clone();
        let mut compaction = Compaction::begin(shared, token.term(), 3).await.unwrap();
        let mut last = None;
        for _ in 0..stop {
            last = Some(compaction.step().await.unwrap());
        }
        drop(compaction);
        steps_seen.extend(last);
        let fresh = store(&cluster);
        fresh.load().await.unwrap();
        assert_eq!(fresh.view().scan("", None, 100), holder.view().scan("", None, 100), "{last:?}");
        assert_eq!(fresh.view().revision(), 5 * (stop + 1));
        if last == Some(Step::Done) {
            break;
        }
        holder.release(token, None).await.unwrap();
    }
    for step in [Step::Manifest, Step::Journal, Step::Bases, Step::Parts, Step::Done] {
        assert!(steps_seen.contains(&step), "{step:?}: {steps_seen:?}");
    }
    let holder = in_small_chunks(&cluster);
    let token = claim(&holder, "holder").await.unwrap();
    let revision = holder.compact(&token, 3).await.unwrap();
    let left = everything(&cluster).await;
    let under = |prefix: &str| left.iter().filter(|kv| kv.key.starts_with(prefix)).count();
    assert_eq!(under(&keys().journal), 3);
    assert_eq!(under(&keys().parts), 0);
    assert_eq!(under(&keys().bases), under(&keys().base(revision)));
    assert!(under(&keys().bases) > 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_of_a_deposed_holder_changes_nothing_at_any_step() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    for stop in 0.. {
        let old = in_small_chunks(&cluster);
        let token = claim(&old, "old").await.unwrap();
        fill(&old, &token, stop).await;
        let mut compaction = Compaction::begin(old.shared().clone(), token.term(), 0).await.unwrap();
        let mut last = None;
        for _ in 0..stop {
            last = Some(compaction.step().await.unwrap());
        }
        if last == Some(Step::Done) {
            break;
        }
        let new = store(&cluster);
        let token = claim(&new, "new").await.unwrap();
        let before = everything(&cluster).await;
        let step = compaction.step().await;
        // Between the last chunk and the manifest there is a step that writes nothing.
        let step = if matches!(step, Ok(Step::Manifest)) { compaction.step().await } else { step };
        assert!(matches!(step, Err(Error::Fenced { .. })), "{step:?} after {last:?}");
        assert_eq!(everything(&cluster).await, before);
        new.release(token, None).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_misses_nothing_when_etcd_is_compacted_under_it() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    let gate = Gate::before(&cluster.endpoints()[0]).await;
    let options =
        EtcdOptions { silence: std::time::Duration::from_millis(200), ..EtcdOptions::new([gate.url()]) };
    let follower = patient(Etcd::new(&options).unwrap(), PATIENCE);
    let holder = store(&cluster);
    let token = claim(&holder, "holder").await.unwrap();
    let mut watch = follower.watch(0).await.unwrap();
    for round in 0..3 {
        gate.sever();
        fill(&holder, &token, round).await;
        compact_etcd(&cluster).await;
        gate.open();
        expect(&mut watch, round * 5 + 1..=round * 5 + 5).await;
    }
    // Compacted by the holder while it was away: what is gone is told.
    gate.sever();
    fill(&holder, &token, 9).await;
    holder.compact(&token, 0).await.unwrap();
    compact_etcd(&cluster).await;
    gate.open();
    let error = next(&mut watch).await.unwrap_err();
    assert!(matches!(error, Error::Compacted { after: 15, oldest: 20 }), "{error}");
    follower.load().await.unwrap();
    assert_eq!(follower.view().scan("", None, 100), holder.view().scan("", None, 100));
    let mut again = follower.watch(20).await.unwrap();
    fill(&holder, &token, 10).await;
    expect(&mut again, 21..=25).await;
}

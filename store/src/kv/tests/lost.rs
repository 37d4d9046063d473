//! An etcd that is not what it was: wiped, restored from an older backup, or robbed of its keys.

use om_etcd::testing::{Cluster, Gate, eventually};
use om_etcd::{Etcd, EtcdOptions};
use om_kv::{Op, Range};

use super::*;
use crate::testing::candidate;
use crate::testing::ledger::claim;
use crate::{Error, Head, Store, Token};

fn went_back<T>(what: &str, result: Result<T>) {
    match result {
        Err(error @ Error::WentBack { .. }) => {
            assert!(error.to_string().contains("restart all managers and plugins"), "{error}");
        }
        Err(error) => panic!("{what}: {error}"),
        Ok(_) => panic!("{what} noticed nothing"),
    }
}

/// Somebody who has seen nothing of it leads, and writes so many entries.
async fn others_write(cluster: &Cluster, entries: usize) {
    let anew = store(cluster);
    let token = claim(&anew, "anew").await.unwrap();
    for _ in 0..entries {
        anew.append(&token, put("k", "other")).await.unwrap();
    }
}

/// Nothing that handles who know better try has any effect.
async fn nobody_who_knows_better_leads(
    cluster: &Cluster,
    (holder, token): (&KvStore, &Token),
    follower: &KvStore,
    mut watch: Watch,
) {
    let error = eventually("the watch ends", async || next(&mut watch).await.err()).await;
    assert!(matches!(error, Error::WentBack { .. }), "{error}");
    let before = everything(cluster).await;
    for (name, handle) in [("holder", holder), ("follower", follower)] {
        went_back("head", handle.head().await.map(|_: Head| ()));
        went_back("load", handle.load().await);
        let seen = token.term();
        went_back("claim", handle.claim(&candidate(name), seen).await);
        went_back("claim", handle.claim(&candidate(name), crate::Term(0)).await);
    }
    went_back("confirm", holder.confirm(token).await);
    assert!(follower.went_back().is_some_and(|why| why.contains("went back")), "who follows it tells");
    assert!(holder.append(token, put("k", "after")).await.is_err());
    assert!(holder.compact(token, 0).await.is_err());
    assert_eq!(everything(cluster).await, before, "something was written");
    assert_eq!(follower.view().revision(), 3, "what was known stays readable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_leads_on_an_etcd_that_was_wiped_or_restored_until_all_start_anew() {
    if !Cluster::available() {
        return;
    }
    for wipe in [true, false] {
        let mut cluster = Cluster::start(1, &[]);
        let (holder, follower) = (store(&cluster), store(&cluster));
        let token = claim(&holder, "holder").await.unwrap();
        let mut watch = follower.watch(0).await.unwrap();
        holder.append(&token, put("k", "1")).await.unwrap();
        let backup = cluster.save("backup");
        for value in ["2", "3"] {
            holder.append(&token, put("k", value)).await.unwrap();
        }
        expect(&mut watch, 1..=3).await;
        if wipe {
            cluster.wipe();
        } else {
            cluster.restore(&backup);
        }
        nobody_who_knows_better_leads(&cluster, (&holder, &token), &follower, watch).await;
        let anew = store(&cluster);
        let token = claim(&anew, "anew").await.unwrap();
        assert_eq!(anew.view().revision(), u64::from(!wipe));
        anew.append(&token, put("k", "4")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_etcd_that_others_wrote_on_is_noticed_too() {
    if !Cluster::available() {
        return;
    }
    let mut cluster = Cluster::start(1, &[]);
    let holder = store(&cluster);
    let token = claim(&holder, "holder").await.unwrap();
    let backup = cluster.save("backup");
    holder.append(&token, put("k", "lost")).await.unwrap();
    cluster.restore(&backup);
    // The same numbers, with another content; etcd's own revision is beyond what it was.
    others_write(&cluster, 5).await;
    went_back("load", holder.load().await);
    assert_eq!(&holder.view().get("k").unwrap().value[..], b"lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_read_a_base_alone_notices_it_as_well() {
    if !Cluster::available() {
        return;
    }
    let mut cluster = Cluster::start(1, &[]);
    let holder = store(&cluster);
    let token = claim(&holder, "holder").await.unwrap();
    let backup = cluster.save("backup");
    holder.append(&token, put("k", "lost")).await.unwrap();
    holder.compact(&token, 10).await.unwrap();
    let behind = store(&cluster);
    behind.load().await.unwrap();
    cluster.restore(&backup);
    others_write(&cluster, 20).await;
    went_back("load", behind.load().await);
    assert_eq!(&behind.view().get("k").unwrap().value[..], b"lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_cut_off_meanwhile_does_not_go_on_in_the_other_history() {
    if !Cluster::available() {
        return;
    }
    for begun in [true, false] {
        let mut cluster = Cluster::start(1, &[]);
        let gate = Gate::before(&cluster.endpoints()[0]).await;
        let etcd = Etcd::new(&EtcdOptions::new([gate.url()])).unwrap();
        etcd.range(&Range::key("calls are connected"), PATIENCE).await.unwrap();
        let behind = patient(etcd, PATIENCE);
        let holder = store(&cluster);
        let token = claim(&holder, "holder").await.unwrap();
        let backup = cluster.save("backup");
        holder.append(&token, put("k", "lost")).await.unwrap();
        if begun {
            behind.load().await.unwrap();
            // Not read, but heard by the watch: so it has begun.
            holder.append(&token, put("k", "lost")).await.unwrap();
            eventually("it follows", async || (behind.view().revision() == 2).then_some(())).await;
        } else {
            holder.append(&token, put("k", "lost")).await.unwrap();
            gate.bar();
            behind.load().await.unwrap();
            // What it has is read, and its watch, which is to go on from there, never begins.
            gate.knocked().await;
        }
        gate.shut();
        gate.sever();
        cluster.restore(&backup);
        // Its watch could go on with the third of these as if the first two were those it has.
        others_write(&cluster, 5).await;
        gate.open();
        let why = eventually("it tells", async || behind.went_back()).await;
        assert!(why.contains("written anew"), "begun: {begun}: {why}");
        assert_eq!(&behind.view().get("k").unwrap().value[..], b"lost", "begun: {begun}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_on_a_restored_etcd_that_still_has_its_claim_writes_nothing() {
    if !Cluster::available() {
        return;
    }
    let mut cluster = Cluster::start(1, &[]);
    let holder = store(&cluster);
    let token = claim(&holder, "holder").await.unwrap();
    let backup = cluster.save("backup");
    holder.append(&token, put("k", "lost")).await.unwrap();
    cluster.restore(&backup);
    let before = everything(&cluster).await;
    for _ in 0..2 {
        let error = holder.append(&token, put("k", "after")).await.unwrap_err();
        assert!(matches!(error, Error::Unclear(_) | Error::WentBack { .. }), "{error}");
        assert!(error.to_string().contains("went back"), "{error}");
    }
    assert_eq!(everything(&cluster).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_without_its_leader_key_is_led_by_nobody() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    let holder = store(&cluster);
    let token = claim(&holder, "holder").await.unwrap();
    holder.append(&token, put("k", "v")).await.unwrap();
    write(&cluster, Op::Delete(Range::key(keys().leader))).await;
    for handle in [&holder, &store(&cluster)] {
        let error = handle.claim(&candidate("next"), crate::Term(0)).await.unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains("election/leader"), "{error}");
    }
    assert!(holder.append(&token, put("k", "w")).await.is_err());
    assert!(everything(&cluster).await.iter().all(|kv| kv.key != keys().leader));
}

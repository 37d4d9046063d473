//! Calls while members of a real etcd die, freeze or are cut off.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a test's verdict")]

use std::time::Duration;

use om_etcd::testing::{Cluster, Gate, Setup, eventually};
use om_etcd::{Etcd, EtcdOptions};
use om_kv::{Answer, Error, Guard, Keyspace, Op, Range, Txn};

const PATIENCE: Duration = Duration::from_secs(20);

fn put(key: &str, value: &str) -> Txn {
    Txn::new().then(Op::put(key, value))
}

async fn read(etcd: &Etcd, key: &str) -> Option<String> {
    let found = etcd.range(&Range::key(key), PATIENCE).await.unwrap();
    found.one().map(|kv| String::from_utf8(kv.value.clone()).unwrap())
}

async fn before_each(cluster: &Cluster) -> Vec<Gate> {
    let mut gates = Vec::new();
    for endpoint in cluster.endpoints() {
        gates.push(Gate::before(&endpoint).await);
    }
    gates
}

#[tokio::test]
async fn a_transaction_compares_writes_reads_and_deletes() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    // What is counted here must be asked once.
    let etcd = Etcd::new(&EtcdOptions { attempt: PATIENCE, ..cluster.options() }).unwrap();
    let create = Txn::new().when(Guard::absent("a/1")).then(Op::put("a/1", "x")).otherwise(Op::get("a/1"));
    let first = etcd.txn(&create, PATIENCE).await.unwrap();
    assert!(first.succeeded && first.header.cluster != 0);
    let again = etcd.txn(&create, PATIENCE).await.unwrap();
    let there = &again.found(0)[0];
    assert!(!again.succeeded && there.modified == first.header.revision && there.value == b"x");
    let change = Txn::new()
        .when(Guard::modified("a/1", there.modified))
        .then(Op::put("a/1", "y"))
        .then(Op::put("a/2", "z"))
        .then(Op::Get(Range::prefix("b/")));
    assert!(etcd.txn(&change, PATIENCE).await.unwrap().succeeded);
    let all = etcd.range(&Range::prefix("a/"), PATIENCE).await.unwrap();
    let values: Vec<_> = all.kvs.iter().map(|kv| (kv.key.as_str(), kv.value.as_slice())).collect();
    assert_eq!(values, [("a/1", b"y".as_slice()), ("a/2", b"z")]);
    let old = etcd.range(&Range::prefix("a/").at(first.header.revision), PATIENCE).await.unwrap();
    assert_eq!((old.count, old.kvs[0].value.as_slice()), (1, b"x".as_slice()));
    let page = etcd.range(&Range::between("a/1", "a/9").limit(1).keys_only(), PATIENCE).await.unwrap();
    assert!(page.more && page.count == 2 && page.kvs.len() == 1 && page.kvs[0].value.is_empty());
    let delete = Txn::new().then(Op::Delete(Range::prefix("a/")));
    assert_eq!(etcd.txn(&delete, PATIENCE).await.unwrap().answers, [Answer::Delete(2)]);
    let count = etcd.range(&Range::prefix("a/").count_only(), PATIENCE).await.unwrap();
    assert_eq!(count.count, 0);
}

#[tokio::test]
async fn a_member_that_is_killed_or_frozen_is_left_for_another() {
    if !Cluster::available() {
        return;
    }
    let mut cluster = Cluster::start(3, &[]);
    let etcd = cluster.etcd();
    etcd.warm(PATIENCE).await;
    // The pinned one first, then whoever leads: each is asked first at some time.
    for (round, freeze) in [(1, true), (2, false), (3, true), (4, false)] {
        let leader = cluster.leader().unwrap();
        if freeze {
            cluster.freeze(leader);
        } else {
            cluster.kill(leader);
        }
        // A key of its own: what a frozen member was asked may be done when that goes on.
        let key = format!("k{round}");
        etcd.txn(&put(&key, "v"), PATIENCE).await.unwrap();
        assert_eq!(read(&etcd, &key).await.as_deref(), Some("v"));
        if freeze {
            cluster.thaw(leader);
        } else {
            cluster.restart(leader);
        }
        cluster.ready();
    }
}

#[tokio::test]
async fn a_member_that_is_cut_off_is_left_for_another_and_used_again_later() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(3, &[]);
    let gates = before_each(&cluster).await;
    let etcd = Etcd::new(&EtcdOptions::new(gates.iter().map(Gate::url))).unwrap();
    for round in 0..6 {
        let cut = &gates[round % 3];
        cut.shut();
        // A key of its own: what waits at the gate may be done when that opens.
        let key = format!("k{round}");
        etcd.txn(&put(&key, "v"), PATIENCE).await.unwrap();
        assert_eq!(read(&etcd, &key).await.as_deref(), Some("v"));
        cut.open();
    }
    gates.iter().for_each(Gate::shut);
    let short = Duration::from_millis(300);
    let error = etcd.range(&Range::key("k"), short).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    let error = etcd.txn(&put("k", "unclear"), short).await.unwrap_err();
    assert!(matches!(error, Error::Unclear(_)), "{error}");
    gates.iter().for_each(Gate::open);
    etcd.txn(&put("again", "v"), PATIENCE).await.unwrap();
    assert_eq!(read(&etcd, "again").await.as_deref(), Some("v"));
}

#[tokio::test]
async fn beside_a_member_that_keeps_silent_another_is_asked_before_the_attempt_is_over() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(3, &[]);
    let gates = before_each(&cluster).await;
    let mut options = EtcdOptions::new(gates.iter().map(Gate::url));
    // Longer than the caller's patience: the attempt at the silent member never ends by itself.
    options.attempt = Duration::from_secs(4);
    let etcd = Etcd::new(&options).unwrap();
    etcd.warm(PATIENCE).await;
    gates[0].shut();
    etcd.txn(&put("k", "beside"), Duration::from_secs(3)).await.unwrap();
    assert_eq!(read(&etcd, "k").await.as_deref(), Some("beside"));
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_done_and_the_error_says_where_and_why() {
    let etcd = Etcd::new(&EtcdOptions::new(["127.0.0.1:1", "127.0.0.1:2"])).unwrap();
    let error = etcd.txn(&put("k", "v"), Duration::from_millis(200)).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    let text = error.to_string();
    for part in ["write k", "http://127.0.0.1:", "refused", "not done", "is etcd running"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn without_a_quorum_a_write_is_unclear_and_a_read_is_unavailable() {
    if !Cluster::available() {
        return;
    }
    let mut cluster = Cluster::start(3, &[]);
    let etcd = cluster.etcd();
    etcd.txn(&put("k", "before"), PATIENCE).await.unwrap();
    cluster.kill(0);
    cluster.kill(1);
    let short = Duration::from_millis(1500);
    let error = etcd.txn(&put("k", "after"), short).await.unwrap_err();
    assert!(matches!(error, Error::Unclear(_)), "{error:?}");
    let error = etcd.range(&Range::key("k"), short).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    cluster.restart(0);
    eventually("it goes on", async || etcd.txn(&put("back", "v"), PATIENCE).await.ok()).await;
    assert_eq!(read(&etcd, "back").await.as_deref(), Some("v"));
}

#[tokio::test]
async fn a_lease_takes_its_keys_with_it() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::set_up(Setup { members: 1, ..Setup::default() });
    let etcd = cluster.etcd();
    let lease = etcd.grant(Duration::from_secs(60), PATIENCE).await.unwrap();
    assert_eq!(lease.ttl, Duration::from_secs(60));
    let under = Txn::new().then(Op::Put { key: "k".into(), value: b"v".to_vec(), lease: lease.id });
    etcd.txn(&under, PATIENCE).await.unwrap();
    etcd.keep_alive_once(lease.id, PATIENCE).await.unwrap();
    assert_eq!(read(&etcd, "k").await.as_deref(), Some("v"));
    etcd.revoke(lease.id, PATIENCE).await.unwrap();
    etcd.revoke(lease.id, PATIENCE).await.unwrap();
    assert_eq!(read(&etcd, "k").await, None);
    for error in [
        etcd.keep_alive_once(lease.id, PATIENCE).await.unwrap_err(),
        etcd.txn(&under, PATIENCE).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::LeaseGone(_)), "{error:?}");
    }
}

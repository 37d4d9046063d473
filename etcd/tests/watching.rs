//! Watches of a real etcd that restarts, is compacted, cut off or restored.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a test's verdict")]

use std::time::Duration;

use om_etcd::testing::{Cluster, Gate, put_once};
use om_etcd::{Etcd, EtcdOptions};
use om_kv::{Error, Event, Keyspace, Watching};

const PATIENCE: Duration = Duration::from_secs(20);

/// The values of the next so many events.
async fn take(watch: &mut Watching, count: usize) -> Vec<String> {
    let mut values = Vec::new();
    while values.len() < count {
        let batch = tokio::time::timeout(PATIENCE, watch.next()).await;
        let batch = batch.unwrap_or_else(|_| panic!("no event after {values:?}")).unwrap().unwrap();
        values.extend(batch.events.iter().map(|event| match event {
            Event::Put(kv) => String::from_utf8(kv.value.clone()).unwrap(),
            Event::Delete { key, .. } => format!("-{key}"),
        }));
    }
    values
}

async fn failure(watch: &mut Watching) -> Error {
    loop {
        let next = tokio::time::timeout(PATIENCE, watch.next()).await.expect("an end of the watch");
        if let Err(error) = next.expect("an error before the end") {
            assert!(watch.next().await.is_none());
            return error;
        }
    }
}

#[tokio::test]
async fn a_watch_gives_every_event_once_while_members_die_and_freeze() {
    if !Cluster::available() {
        return;
    }
    let mut cluster = Cluster::start(3, &[]);
    let etcd = Etcd::new(&EtcdOptions { silence: Duration::from_millis(200), ..cluster.options() }).unwrap();
    let from = put_once(&etcd, "w/", "0").await;
    let mut watch = etcd.watch("w/", from);
    let mut expected = vec!["0".to_owned()];
    for round in 1..=6 {
        let victim = round % 3;
        if round % 2 == 0 {
            cluster.freeze(victim);
        } else {
            cluster.kill(victim);
        }
        put_once(&etcd, "other", "x").await;
        put_once(&etcd, "w/", &round.to_string()).await;
        expected.push(round.to_string());
        assert_eq!(take(&mut watch, expected.len()).await, expected);
        expected.clear();
        if round % 2 == 0 {
            cluster.thaw(victim);
        } else {
            cluster.restart(victim);
        }
        cluster.ready();
    }
    drop(cluster.etcdctl(&["del", "w/"]));
    assert_eq!(take(&mut watch, 1).await, ["-w/"]);
}

#[tokio::test]
async fn a_watch_at_a_member_that_is_cut_off_goes_on_elsewhere() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    let direct = cluster.etcd();
    let gates = [Gate::before(&cluster.endpoints()[0]).await, Gate::before(&cluster.endpoints()[0]).await];
    let options =
        EtcdOptions { silence: Duration::from_millis(200), ..EtcdOptions::new(gates.iter().map(Gate::url)) };
    let etcd = Etcd::new(&options).unwrap();
    let from = put_once(&direct, "w", "0").await;
    let mut watch = etcd.watch("w", from);
    assert_eq!(take(&mut watch, 1).await, ["0"]);
    for round in 0..4 {
        gates[round % 2].shut();
        put_once(&direct, "w", &round.to_string()).await;
        assert_eq!(take(&mut watch, 1).await, [round.to_string()]);
        gates[round % 2].open();
    }
}

#[tokio::test]
async fn a_watch_of_what_is_compacted_away_says_so() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    let etcd = cluster.etcd();
    let gate = Gate::before(&cluster.endpoints()[0]).await;
    let options = EtcdOptions { silence: Duration::from_millis(200), ..EtcdOptions::new([gate.url()]) };
    let cut = Etcd::new(&options).unwrap();
    let from = put_once(&etcd, "w", "0").await;
    let mut running = etcd.watch("w", from);
    let mut interrupted = cut.watch("w", from);
    assert_eq!(take(&mut interrupted, 1).await, ["0"]);
    gate.sever();
    for round in 1..=5 {
        put_once(&etcd, "w", &round.to_string()).await;
    }
    let newest = put_once(&etcd, "w", "6").await;
    assert_eq!(take(&mut running, 7).await, ["0", "1", "2", "3", "4", "5", "6"]);
    drop(cluster.etcdctl(&["compact", &newest.to_string()]));
    put_once(&etcd, "w", "7").await;
    assert_eq!(take(&mut running, 1).await, ["7"], "a watch that is up to date notices nothing");
    let error = failure(&mut etcd.watch("w", from)).await;
    assert!(matches!(error, Error::Compacted { oldest: Some(oldest), .. } if oldest == newest), "{error:?}");
    gate.open();
    let error = failure(&mut interrupted).await;
    assert!(matches!(error, Error::Compacted { .. }), "{error:?}");
}

#[tokio::test]
async fn an_etcd_that_was_wiped_or_restored_ends_a_watch() {
    if !Cluster::available() {
        return;
    }
    for wipe in [true, false] {
        let mut cluster = Cluster::start(1, &[]);
        let etcd = cluster.etcd();
        let from = put_once(&etcd, "w", "0").await;
        let mut watch = etcd.watch("w", from);
        assert_eq!(take(&mut watch, 1).await, ["0"]);
        let backup = cluster.save("backup");
        put_once(&etcd, "w", "1").await;
        put_once(&etcd, "w", "2").await;
        assert_eq!(take(&mut watch, 2).await, ["1", "2"]);
        if wipe {
            cluster.wipe();
        } else {
            cluster.restore(&backup);
        }
        let error = failure(&mut watch).await;
        assert!(matches!(error, Error::WentBack(_)), "{error:?}");
        assert!(error.to_string().contains("restored from a backup"), "{error}");
    }
}

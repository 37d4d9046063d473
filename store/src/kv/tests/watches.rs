//! Many watches of one handle.

use om_etcd::testing::Cluster;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::Store;
use crate::testing::ledger::claim;

/// How many watches etcd has.
async fn watchers(cluster: &Cluster) -> u64 {
    let address = cluster.endpoints()[0].trim_start_matches("http://").to_owned();
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).await.unwrap();
    let line = text.lines().find(|line| line.starts_with("etcd_debugging_mvcc_watcher_total ")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_watches_are_one_watch_of_etcd() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    let (holder, follower) = (store(&cluster), store(&cluster));
    let token = claim(&holder, "holder").await.unwrap();
    holder.append(&token, put("k", "0")).await.unwrap();
    let mut watches = Vec::new();
    for number in 0..10_000 {
        watches.push(follower.watch(number % 2).await.unwrap());
    }
    let mut revision = 1;
    for _ in 0..3 {
        revision = holder.append(&token, put("k", "v")).await.unwrap();
    }
    for (number, watch) in watches.iter_mut().enumerate() {
        expect(watch, number as u64 % 2 + 1..=revision).await;
    }
    assert!(watchers(&cluster).await <= 2, "one for each handle");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_begins_far_back_reads_on_in_pages() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    let tuning = Tuning { ring: 10, patience: PATIENCE, ..Tuning::default() };
    let holder = KvStore::tuned(Arc::new(cluster.etcd()), &layout(), tuning);
    let token = claim(&holder, "holder").await.unwrap();
    for _ in 0..600 {
        holder.append(&token, put("k", "v")).await.unwrap();
    }
    let mut watches = [holder.watch(0).await.unwrap(), holder.watch(300).await.unwrap()];
    for _ in 0..50 {
        holder.append(&token, put("k", "v")).await.unwrap();
    }
    expect(&mut watches[0], 1..=650).await;
    expect(&mut watches[1], 301..=650).await;
}

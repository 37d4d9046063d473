//! The tests of the etcd backend, against real clusters of this machine.

mod compaction;
mod conformance;
mod damage;
mod grounds;
mod lost;
mod members;
mod network;
mod races;
mod refusals;
mod size;
mod watches;

use std::sync::Arc;
use std::time::Duration;

use om_etcd::testing::Cluster;
use om_etcd::{Etcd, EtcdOptions};
use om_kv::layout::Layout;
use om_kv::{Keyspace, Op, Range, Txn};
use tokio_stream::StreamExt;

use super::shared::Tuning;
use super::{KvStore, keys::Keys};
use crate::{Change, Entry, Result, Watch};

const PATIENCE: Duration = Duration::from_secs(20);

fn layout() -> Layout {
    Layout::of("test")
}

fn keys() -> Keys {
    Keys::of(&layout())
}

/// A handle that waits long enough for whatever a test does to etcd.
fn store(cluster: &Cluster) -> KvStore {
    patient(cluster.etcd(), PATIENCE)
}

/// One whose first attempt is answered, however slow etcd is: what becomes of a write is known.
fn unhurried(cluster: &Cluster) -> KvStore {
    patient(Etcd::new(&EtcdOptions { attempt: PATIENCE, ..cluster.options() }).unwrap(), PATIENCE)
}

fn patient(etcd: Etcd, patience: Duration) -> KvStore {
    over(Arc::new(etcd), patience)
}

fn over(kv: Arc<dyn Keyspace>, patience: Duration) -> KvStore {
    KvStore::tuned(kv, &layout(), Tuning { patience, ..Tuning::default() })
}

/// One that gives up soon, so that what is unclear shows.
fn hasty(options: &EtcdOptions) -> KvStore {
    patient(Etcd::new(options).unwrap(), Duration::from_millis(300))
}

fn put(key: &str, value: &str) -> Change {
    Change::at(1).put(key, value.to_owned())
}

/// Everything that is under the store's prefix.
async fn everything(cluster: &Cluster) -> Vec<om_kv::Kv> {
    cluster.etcd().range(&Range::prefix(layout().root()), PATIENCE).await.unwrap().kvs
}

async fn write(cluster: &Cluster, op: Op) {
    cluster.etcd().txn(&Txn::new().then(op), PATIENCE).await.unwrap();
}

async fn next(watch: &mut Watch) -> Result<Entry> {
    let next = tokio::time::timeout(PATIENCE, watch.next()).await;
    next.expect("something comes").expect("the watch goes on")
}

/// The next entries are those of these revisions.
async fn expect(watch: &mut Watch, revisions: std::ops::RangeInclusive<u64>) {
    for revision in revisions {
        assert_eq!(next(watch).await.unwrap().revision, revision);
    }
}

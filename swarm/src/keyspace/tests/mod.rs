//! Against an engine that is none, with faults.

mod basics;
mod crash;
mod faults;
mod race;
mod watches;

use std::time::Duration;

use om_kv::{Guard, Keyspace, Op, Range, Txn, TxnAnswer};

use super::{SwarmKeyspace, SwarmOptions};
use crate::testing::FakeEngine;

const PATIENCE: Duration = Duration::from_secs(20);

/// Quick to ask again, and to sweep.
fn options() -> SwarmOptions {
    SwarmOptions {
        attempt: Duration::from_millis(300),
        poll: Duration::from_millis(5),
        linger: Duration::from_millis(20),
    }
}

fn keyspace(engine: &FakeEngine) -> SwarmKeyspace {
    SwarmKeyspace::new(engine.engine(), "test", options())
}

async fn put(keyspace: &SwarmKeyspace, key: &str, value: impl Into<Vec<u8>>) -> i64 {
    let answer = keyspace.txn(&Txn::new().then(Op::put(key, value)), PATIENCE).await.unwrap();
    answer.header.revision
}

async fn get(keyspace: &SwarmKeyspace, key: &str) -> Option<String> {
    let found = keyspace.range(&Range::key(key), PATIENCE).await.unwrap();
    found.one().map(|kv| String::from_utf8_lossy(&kv.value).into_owned())
}

/// Moves a counter from what it was read as.
async fn count(keyspace: &SwarmKeyspace, key: &str, patience: Duration) -> om_kv::Result<TxnAnswer> {
    let found = keyspace.range(&Range::key(key), patience).await?;
    let (now, revision) = found
        .one()
        .map_or((0, 0), |kv| (String::from_utf8_lossy(&kv.value).parse::<u64>().unwrap(), kv.modified));
    let txn = Txn::new().when(Guard::modified(key, revision)).then(Op::put(key, (now + 1).to_string()));
    keyspace.txn(&txn, patience).await
}

/// Something that does not pack.
fn noise(size: usize) -> Vec<u8> {
    (0..size / 16 + 1).flat_map(|_| uuid::Uuid::new_v4().into_bytes()).take(size).collect()
}

/// The pages that are there, and those that the record names.
async fn pages(engine: &FakeEngine, keyspace: &SwarmKeyspace) -> (usize, usize) {
    keyspace.range(&Range::key("-"), PATIENCE).await.unwrap();
    let there = engine.configs().iter().filter(|name| name.starts_with("om-test-page-")).count();
    (there, keyspace.core.known().newest().unwrap().pages.len())
}

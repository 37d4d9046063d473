//! Entries and states that are large.

use bytes::Bytes;
use om_etcd::testing::Cluster;

use super::*;
use crate::testing::ledger::claim;
use crate::{Error, Op as Step, Store};

fn noise(seed: u64, length: usize) -> Bytes {
    let mut dice = crate::testing::Dice::new(seed);
    (0..length / 8).flat_map(|_| dice.roll(u64::MAX).to_le_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_of_many_megabytes_is_one_change() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    let (holder, follower) = (store(&cluster), store(&cluster));
    let token = claim(&holder, "holder").await.unwrap();
    let mut watch = follower.watch(0).await.unwrap();
    let value = noise(1, 30_000_000);
    let change = Change::at(1).put("a", value.slice(..10_000_000)).put("b", value.slice(10_000_000..));
    assert_eq!(holder.append(&token, change).await.unwrap(), 1);
    holder.append(&token, put("c", "v")).await.unwrap();
    let entry = next(&mut watch).await.unwrap();
    assert!(matches!(&entry.ops[1], Step::Put { value: b, .. } if b[..] == value[10_000_000..]));
    for round in 0..2 {
        let fresh = store(&cluster);
        fresh.load().await.unwrap();
        assert!(fresh.view().get("a").unwrap().value[..] == value[..10_000_000], "{round}");
        assert_eq!(fresh.view().revision(), 2);
        holder.compact(&token, 0).await.unwrap();
    }
    assert!(everything(&cluster).await.iter().all(|kv| !kv.key.starts_with(&keys().parts)));
    let huge = Change::at(1).put("huge", Bytes::from(vec![0; 33 * 1024 * 1024]));
    let error = holder.append(&token, huge).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    assert_eq!(holder.append(&token, put("c", "w")).await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_that_wait_together_may_be_large_together() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    let holder = std::sync::Arc::new(store(&cluster));
    let token = claim(&*holder, "holder").await.unwrap();
    let mut writes = tokio::task::JoinSet::new();
    for number in 0..40 {
        let (holder, token) = (holder.clone(), token.clone());
        let size = [10, 300_000, 900_000, 1_200_000][usize::try_from(number).unwrap() % 4];
        writes.spawn(async move {
            holder.append(&token, Change::at(1).put(format!("k{number}"), noise(number, size))).await.unwrap()
        });
    }
    let mut revisions = writes.join_all().await;
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=40).collect::<Vec<_>>());
    let fresh = store(&cluster);
    fresh.load().await.unwrap();
    assert!(fresh.view().scan("", None, 100) == holder.view().scan("", None, 100));
}

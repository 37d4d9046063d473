//! Values that are damaged, cut or gone: the load says so, and nothing is claimed or changed.

use om_etcd::testing::Cluster;
use om_kv::{Op, Range};

use super::*;
use crate::envelope::{self, Kind};
use crate::kv::wire::Meta;
use crate::testing::candidate;
use crate::testing::ledger::claim;
use crate::{Error, Store};

/// A store with all kinds of keys: a base in several chunks, entries, one in parts.
async fn full(cluster: &Cluster) {
    let tuning = Tuning { chunk: 64, patience: PATIENCE, ..Tuning::default() };
    let holder = KvStore::tuned(Arc::new(cluster.etcd()), &layout(), tuning);
    let token = claim(&holder, "holder").await.unwrap();
    for number in 0..10 {
        holder.append(&token, put(&format!("k{number}"), &noise(number, 100))).await.unwrap();
    }
    holder.compact(&token, 2).await.unwrap();
    holder.append(&token, Change::at(1).put("large", noise(7, 3_000_000))).await.unwrap();
    holder.append(&token, put("last", "v")).await.unwrap();
}

/// Text that does not compress to less than about half.
pub(super) fn noise(seed: u64, length: usize) -> String {
    let mut dice = crate::testing::Dice::new(seed);
    (0..length).map(|_| char::from(b'0' + u8::try_from(dice.roll(64)).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_key_is_gone_or_damaged_is_told_and_stops_a_claim() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    full(&cluster).await;
    let whole = everything(&cluster).await;
    let journal = keys().journal;
    let kinds =
        |kv: &om_kv::Kv| kv.key.trim_start_matches(layout().root()).split('/').next().unwrap().to_owned();
    let mut seen = std::collections::BTreeSet::new();
    for kv in &whole {
        seen.insert(kinds(kv));
        // The base covers these: they are there for watches.
        if kv.key.starts_with(&journal) && keys().revision(&kv.key).unwrap() <= 10 {
            continue;
        }
        let mut flipped = kv.value.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        let cut = kv.value[..kv.value.len() - 1].to_vec();
        let json = kv.key == keys().leader;
        let faults = [
            Some(Op::Delete(Range::key(&kv.key))),
            (!json).then(|| Op::put(&kv.key, flipped)),
            Some(Op::put(&kv.key, cut)),
        ];
        for fault in faults.into_iter().flatten() {
            write(&cluster, fault.clone()).await;
            let before = everything(&cluster).await;
            let fresh = store(&cluster);
            let loaded = fresh.load().await;
            let Err(Error::Corrupt { what }) = loaded else { panic!("{fault:?}: {loaded:?}") };
            assert!(what.contains(layout().root()), "{what}");
            assert_eq!(fresh.view().revision(), 0);
            for term in [0, 1] {
                let claimed = store(&cluster).claim(&candidate("next"), crate::Term(term)).await;
                assert!(matches!(claimed, Err(Error::Corrupt { .. })), "{fault:?}: {claimed:?}");
            }
            assert_eq!(everything(&cluster).await, before, "something was written");
            write(&cluster, Op::put(&kv.key, kv.value.clone())).await;
        }
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        ["base", "election", "journal", "manifest", "meta", "part", "tip"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_newer_program_wrote_is_told_as_such() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    full(&cluster).await;
    let newer = envelope::encode_as(Kind::Format, 2, &Meta { cluster: "c".to_owned() });
    write(&cluster, Op::put(keys().meta, newer)).await;
    let error = store(&cluster).load().await.unwrap_err();
    assert!(matches!(error, Error::NewerFormat { found: 2, known: 1, .. }), "{error}");
}

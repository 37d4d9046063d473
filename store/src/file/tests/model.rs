//! Random changes against a plain map, reopened at random.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::{DIR, claim, runtime, store_on};
use crate::testing::MemoryDisk;
use crate::{Change, Error, Expect, Store};

#[derive(Clone, Debug)]
enum Step {
    Change { ops: Vec<(u8, Option<Vec<u8>>)>, expect: Option<(u8, Wanted)> },
    Compact(u64),
    Reopen,
    TakeOver,
    FollowerLoads,
}

#[derive(Clone, Copy, Debug)]
enum Wanted {
    Absent,
    Present,
    Modified(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let value = proptest::option::weighted(0.7, proptest::collection::vec(any::<u8>(), 0..900));
    let ops = proptest::collection::vec((0..8u8, value), 0..4);
    let wanted =
        prop_oneof![Just(Wanted::Absent), Just(Wanted::Present), (0..30u64).prop_map(Wanted::Modified)];
    prop_oneof![
        12 => (ops, proptest::option::weighted(0.3, (0..8u8, wanted)))
            .prop_map(|(ops, expect)| Step::Change { ops, expect }),
        2 => (0..10u64).prop_map(Step::Compact),
        1 => Just(Step::Reopen),
        1 => Just(Step::TakeOver),
        2 => Just(Step::FollowerLoads),
    ]
}

type Model = BTreeMap<String, (Vec<u8>, u64)>;

fn state(store: &dyn Store) -> (u64, Model) {
    let (revision, records) = store.view().scan("", None, usize::MAX);
    let records =
        records.into_iter().map(|(key, record)| (key.to_string(), (record.value.to_vec(), record.modified)));
    (revision, records.collect())
}

async fn play(steps: Vec<Step>) {
    let disk = MemoryDisk::new();
    let open = || store_on(DIR, Arc::new(disk.clone()));
    let mut store = open();
    let follower = open();
    let mut token = claim(&store, "a").await.unwrap();
    let (mut model, mut revision) = (Model::new(), 0);
    for step in steps {
        match step {
            Step::Change { ops, expect } => {
                let mut change = Change::at(1);
                let mut holds = true;
                if let Some((key, wanted)) = expect {
                    let key = format!("k{key}");
                    let actual = model.get(&key).map(|(_, modified)| *modified);
                    let (expect, fits) = match wanted {
                        Wanted::Absent => (Expect::Absent, actual.is_none()),
                        Wanted::Present => (Expect::Present, actual.is_some()),
                        Wanted::Modified(at) => (Expect::Modified(at), actual == Some(at)),
                    };
                    holds = fits;
                    change = change.expect(key, expect);
                }
                for (key, value) in &ops {
                    let key = format!("k{key}");
                    change = match value {
                        Some(value) => change.put(key, value.clone()),
                        None => change.delete(key),
                    };
                }
                match store.append(&token, change).await {
                    Ok(written) => {
                        assert!(holds);
                        revision += 1;
                        assert_eq!(written, revision);
                        for (key, value) in ops {
                            let key = format!("k{key}");
                            match value {
                                Some(value) => drop(model.insert(key, (value, revision))),
                                None => drop(model.remove(&key)),
                            }
                        }
                    }
                    Err(Error::Conflict { .. }) => assert!(!holds),
                    Err(error) => panic!("{error}"),
                }
            }
            Step::Compact(keep) => assert_eq!(store.compact(&token, keep).await.unwrap(), revision),
            Step::Reopen => {
                store = open();
                token = claim(&store, "a").await.unwrap();
            }
            Step::TakeOver => {
                let other = open();
                let newer = claim(&other, "b").await.unwrap();
                assert!(matches!(store.append(&token, Change::at(1)).await, Err(Error::Fenced { .. })));
                (store, token) = (other, newer);
            }
            Step::FollowerLoads => {
                follower.load().await.unwrap();
                assert_eq!(state(&follower), (revision, model.clone()));
            }
        }
        assert_eq!(state(&store), (revision, model.clone()));
    }
    let fresh = open();
    for loaded in [&fresh, &follower] {
        loaded.load().await.unwrap();
        assert_eq!(state(loaded), (revision, model.clone()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_is_the_same_as_a_map(steps in proptest::collection::vec(step(), 1..60)) {
        runtime().block_on(play(steps));
    }
}

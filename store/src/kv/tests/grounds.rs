//! Claims that stand on more than the leader key.

use om_etcd::testing::Cluster;

use super::*;
use crate::kv::Grounds;
use crate::testing::candidate;
use crate::testing::ledger::claim;
use crate::{Error, Store, Term, Token};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_is_made_only_while_its_grounds_hold_and_writes_what_belongs_to_it() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    let handle = store(&cluster);
    let first = Grounds {
        leader_revision: 0,
        guards: vec![("election/beat".to_owned(), 0)],
        puts: vec![("extra/1".to_owned(), b"x".to_vec())],
        instance: "i1".to_owned(),
        opening: None,
    };
    handle.stand_on(Some(first));
    let token = handle.claim(&candidate("a"), Term(0)).await.unwrap();
    let extra = || async { cluster.etcd().range(&Range::key("extra/1"), PATIENCE).await.unwrap().kvs };
    let there = extra().await.remove(0);
    assert_eq!((there.value, there.modified), (b"x".to_vec(), i64::try_from(token.term().0).unwrap()));
    let leader = cluster.etcd().range(&Range::key(layout().leader()), PATIENCE).await.unwrap().kvs.remove(0);
    assert_eq!(super::super::look::leader_record(&leader).unwrap().instance, "i1");

    // Something else than what was seen.
    let stale = Grounds {
        leader_revision: leader.modified,
        guards: vec![("extra/1".to_owned(), 1)],
        puts: vec![("extra/1".to_owned(), b"y".to_vec())],
        ..Grounds::default()
    };
    handle.stand_on(Some(stale.clone()));
    let error = handle.claim(&candidate("b"), token.term()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains("does not hold any more"), "{error}");
    handle.confirm(&token).await.unwrap();
    assert_eq!(extra().await[0].value, b"x");

    // An older leader key.
    handle.stand_on(Some(Grounds { leader_revision: leader.modified - 1, ..Grounds::default() }));
    let error = handle.claim(&candidate("b"), token.term()).await.unwrap_err();
    assert!(matches!(error, Error::Outrun { newest, .. } if newest == token.term()), "{error}");

    // Grounds are for one claim.
    let next = claim(&handle, "b").await.unwrap();
    assert_eq!(next.previous().unwrap().candidate, candidate("a"));
    let good =
        Grounds { guards: Vec::new(), leader_revision: i64::try_from(next.term().0).unwrap(), ..stale };
    handle.stand_on(Some(good));
    let last = handle.claim(&candidate("c"), Term(0)).await.unwrap();
    assert!(last.term() > next.term());
    assert_eq!(extra().await[0].value, b"y");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_opens_a_term_is_written_with_its_claim_or_not_at_all() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    let (old, new) = (store(&cluster), store(&cluster));
    let token = claim(&old, "old").await.unwrap();
    old.append(&token, put("k", "1")).await.unwrap();
    new.load().await.unwrap();
    let grounds = |token: &Token, revision| Grounds {
        leader_revision: i64::try_from(token.term().0).unwrap(),
        opening: Some((revision, put("opened", "yes"))),
        ..Grounds::default()
    };

    new.stand_on(Some(grounds(&token, 1)));
    let mut token = new.claim(&candidate("new"), token.term()).await.unwrap();
    assert!(token.is_opened());
    let Change { ops, time_unix_ms, .. } = put("opened", "yes");
    let opened = Entry { revision: 2, term: token.term().0, time_unix_ms, ops };
    let mut watch = new.watch(1).await.unwrap();
    assert_eq!(next(&mut watch).await.unwrap(), opened);
    // As others see it: by their watch, and who loads it later.
    let mut watch = old.watch(1).await.unwrap();
    assert_eq!(next(&mut watch).await.unwrap(), opened);
    let late = store(&cluster);
    late.load().await.unwrap();
    let mut watch = late.watch(1).await.unwrap();
    assert_eq!(next(&mut watch).await.unwrap(), opened);
    // It is followed like any other.
    assert_eq!(new.append(&token, put("k", "2")).await.unwrap(), 3);

    // Made for an older state, whether this handle knows of the newer one yet or not.
    for known in [true, false] {
        late.load().await.unwrap();
        let revision = late.view().revision();
        new.append(&token, put("k", "3")).await.unwrap();
        if known {
            late.load().await.unwrap();
        }
        late.stand_on(Some(grounds(&token, revision)));
        let taken = late.claim(&candidate("late"), token.term()).await.unwrap();
        assert!(!taken.is_opened());
        assert_eq!(late.view().revision(), revision + 1, "only what the holder wrote");
        token = claim(&new, "new").await.unwrap();
    }
}

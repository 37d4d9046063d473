//! A holder that is cut off from etcd in the middle of what it does.

use om_etcd::EtcdOptions;
use om_etcd::testing::{Cluster, Gate, eventually};

use super::*;
use crate::testing::ledger::{Answer, Ledger, check, claim, verify};
use crate::{Error, Expect, Store};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_answer_is_lost_is_unclear_and_took_effect_once_or_not_at_all() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    let gate = Gate::before(&cluster.endpoints()[0]).await;
    let holder = hasty(&EtcdOptions::new([gate.url()]));
    let token = claim(&holder, "holder").await.unwrap();
    let ledger = Ledger::default();
    let mut unclear = 0;
    for round in 0..6 {
        ledger.write(&holder, &token, round * 10, 10).await;
        gate.shut();
        ledger.write(&holder, &token, round * 10 + 1, 10).await;
        // While one is unclear, another is not even tried.
        ledger.write(&holder, &token, round * 10 + 2, 10).await;
        let now = ledger.now();
        unclear += usize::from(now[&(round * 10 + 1)] == Answer::Unclear);
        assert_eq!(now[&(round * 10 + 2)], Answer::Refused);
        if round % 2 == 0 {
            gate.sever();
        }
        gate.open();
        eventually("it can write again", async || {
            ledger.write(&holder, &token, round * 10 + 3, 10).await.then_some(())
        })
        .await;
    }
    assert!(unclear > 0);
    check(&holder, &ledger.now()).unwrap();
    verify(|| store(&cluster), &ledger).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposed_holder_that_was_cut_off_is_fenced_when_it_is_back() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    let gate = Gate::before(&cluster.endpoints()[0]).await;
    let old = hasty(&EtcdOptions::new([gate.url()]));
    let first = claim(&old, "old").await.unwrap();
    old.append(&first, put("k", "1")).await.unwrap();
    gate.shut();
    assert!(matches!(old.append(&first, put("k", "late")).await, Err(Error::Unclear(_))));
    let new = store(&cluster);
    let second = claim(&new, "new").await.unwrap();
    let there = new.view().revision();
    new.append(&second, put("k", "2")).await.unwrap();
    gate.open();
    let fenced = eventually("it learns that it is deposed", async || {
        match old.append(&first, put("k", "later").expect("k", Expect::Present)).await {
            Err(error @ Error::Fenced { .. }) => Some(error),
            Err(_) => None,
            Ok(revision) => panic!("a deposed holder wrote revision {revision}"),
        }
    })
    .await;
    assert!(matches!(fenced, Error::Fenced { newest, .. } if newest == second.term()), "{fenced}");
    for error in [
        old.confirm(&first).await.unwrap_err(),
        old.compact(&first, 0).await.unwrap_err(),
        old.append(&first, put("k", "never").expect("k", Expect::Absent)).await.unwrap_err(),
        old.release(first, None).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Fenced { .. }), "{error}");
    }
    old.load().await.unwrap();
    assert_eq!(old.view().revision(), there + 1);
    assert_eq!(&old.view().get("k").unwrap().value[..], b"2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_whose_answer_is_lost_is_recognised() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    let gate = Gate::before(&cluster.endpoints()[0]).await;
    let handle = patient(Etcd::new(&EtcdOptions::new([gate.url()])).unwrap(), PATIENCE);
    let mut before: Option<crate::Claim> = None;
    for round in 0..8 {
        let seen = handle.load().await.unwrap().term();
        // The connection breaks some way into it.
        let candidate = crate::testing::candidate(&format!("c{round}"));
        let (claimed, ()) = tokio::join!(handle.claim(&candidate, seen), async {
            for _ in 0..round * 3 {
                tokio::task::yield_now().await;
            }
            gate.sever();
            gate.open();
        });
        let token = claimed.unwrap();
        assert_eq!(token.previous().cloned(), before);
        handle.append(&token, put("k", "v")).await.unwrap();
        before = handle.head().await.unwrap().claim;
        assert_eq!(before.as_ref().map(|claim| claim.term), Some(token.term()));
    }
}

//! An etcd that is full, or does not let us in.

use om_etcd::testing::Cluster;

use super::*;
use crate::testing::ledger::claim;
use crate::{Error, Store};

fn unavailable<T: std::fmt::Debug>(result: Result<T>, kind: std::io::ErrorKind, hint: &str) {
    let error = result.unwrap_err();
    let Error::Unavailable { cause, .. } = &error else { panic!("{error}") };
    assert_eq!(cause.kind(), kind, "{error}");
    assert!(error.to_string().contains(hint), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_etcd_takes_no_writes_says_what_to_do_and_goes_on_when_there_is_room() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &["--quota-backend-bytes=2000000"]);
    let (holder, follower) = (store(&cluster), store(&cluster));
    let token = claim(&holder, "holder").await.unwrap();
    holder.append(&token, put("k", "1")).await.unwrap();
    follower.load().await.unwrap();
    cluster.fill();
    let kind = std::io::ErrorKind::QuotaExceeded;
    unavailable(holder.append(&token, put("k", "2")).await, kind, "etcdctl defrag");
    unavailable(holder.compact(&token, 0).await, kind, "alarm disarm");
    let seen = follower.load().await.unwrap().term();
    unavailable(follower.claim(&crate::testing::candidate("next"), seen).await, kind, "quota");
    holder.confirm(&token).await.unwrap();
    let fresh = store(&cluster);
    fresh.load().await.unwrap();
    assert_eq!(&fresh.view().get("k").unwrap().value[..], b"1");
    drop(cluster.etcdctl(&["del", "--prefix", "filling/"]));
    let newest = cluster.etcd().range(&Range::key("any"), PATIENCE).await.unwrap().header.revision;
    for command in [vec!["compact", &newest.to_string()], vec!["defrag"], vec!["alarm", "disarm"]] {
        drop(cluster.etcdctl(&command));
    }
    assert_eq!(holder.append(&token, put("k", "2")).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_are_told_and_nothing_is_taken_for_empty() {
    if !Cluster::available() {
        return;
    }
    let mut cluster = Cluster::start(1, &[]);
    let holder = store(&cluster);
    let token = claim(&holder, "holder").await.unwrap();
    holder.append(&token, put("k", "1")).await.unwrap();
    cluster.auth_on();
    let wrong = EtcdOptions { user: Some(("root".into(), "guess".into())), ..cluster.options() };
    let stranger = patient(Etcd::new(&wrong).unwrap(), PATIENCE);
    let kind = std::io::ErrorKind::PermissionDenied;
    unavailable(stranger.load().await, kind, "check the user");
    unavailable(stranger.head().await, kind, "check the user");
    unavailable(
        stranger.claim(&crate::testing::candidate("x"), crate::Term(0)).await,
        kind,
        "check the user",
    );
    assert!(stranger.watch(0).await.is_err());
    unavailable(holder.append(&token, put("k", "2")).await, kind, "check the user");
    let right = store(&cluster);
    let next = claim(&right, "right").await.unwrap();
    assert_eq!(right.append(&next, put("k", "2")).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_claim_that_was_retired_nothing_is_written_but_its_release() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    let handle = store(&cluster);
    let older = claim(&handle, "a").await.unwrap();
    let token = claim(&handle, "a").await.unwrap();
    handle.retire(&older);
    handle.append(&token, put("k", "1")).await.unwrap();
    handle.retire(&token);
    let error = handle.append(&token, put("k", "2")).await.unwrap_err();
    assert!(matches!(error, Error::Fenced { .. }), "{error}");
    let error = handle.confirm(&token).await.unwrap_err();
    assert!(matches!(error, Error::Fenced { .. }), "{error}");
    assert_eq!(handle.load().await.unwrap().claim.map(|claim| claim.released), Some(false));
    handle.release(token, Some("b")).await.unwrap();
    let released = handle.load().await.unwrap().claim.unwrap();
    assert_eq!((released.released, released.successor.as_deref()), (true, Some("b")));
    assert_eq!(&handle.view().get("k").unwrap().value[..], b"1");
}

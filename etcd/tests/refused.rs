//! What etcd refuses, and how that is told.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a test's verdict")]

use std::time::Duration;

use om_etcd::testing::{Cluster, next_events, put_once, put_over};
use om_etcd::{Etcd, EtcdOptions};
use om_kv::{Error, Guard, Keyspace, Op, Range, Txn};

const PATIENCE: Duration = Duration::from_secs(20);

fn put(key: &str, value: Vec<u8>) -> Txn {
    Txn::new().then(Op::put(key, value))
}

#[tokio::test]
async fn wrong_credentials_are_told_as_such() {
    if !Cluster::available() {
        return;
    }
    let mut cluster = Cluster::start(1, &[]);
    let early = cluster.etcd();
    early.txn(&put("k", vec![1]), PATIENCE).await.unwrap();
    cluster.auth_on();
    let endpoints = cluster.endpoints();
    let user = |name: &str, password: &str| EtcdOptions {
        user: Some((name.to_owned(), password.to_owned())),
        ..EtcdOptions::new(endpoints.clone())
    };
    let right = cluster.etcd();
    right.txn(&put("k", vec![2]), PATIENCE).await.unwrap();
    let none = Etcd::new(&EtcdOptions { user: None, ..cluster.options() }).unwrap();
    let wrong = Etcd::new(&user("root", "guess")).unwrap();
    drop(cluster.etcdctl(&["user", "add", "small:small"]));
    let small = Etcd::new(&user("small", "small")).unwrap();
    for etcd in [early, none, wrong, small] {
        for error in [
            etcd.txn(&put("k", vec![3]), PATIENCE).await.unwrap_err(),
            etcd.range(&Range::key("k"), PATIENCE).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::Refused(_)), "{error:?}");
            assert!(error.to_string().contains("check the user"), "{error}");
        }
        let error = etcd.watch("k", 1).next().await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error:?}");
    }
    assert_eq!(right.range(&Range::key("k"), PATIENCE).await.unwrap().kvs[0].value, [2]);
    cluster.auth_off();
    right.txn(&put("k", vec![4]), PATIENCE).await.unwrap();
    let late = Etcd::new(&user("root", "root")).unwrap();
    late.txn(&put("k", vec![5]), PATIENCE).await.unwrap();
}

#[tokio::test]
async fn an_etcd_that_forgot_our_token_is_given_the_password_again() {
    if !Cluster::available() {
        return;
    }
    let mut cluster = Cluster::start(1, &[]);
    cluster.auth_on();
    let etcd = cluster.etcd();
    let begun = put_once(&etcd, "k", [1]).await;
    let mut watch = etcd.watch("k", begun);
    assert_eq!(next_events(&mut watch).await.len(), 1);
    cluster.restart(0);
    put_over(&etcd, "k", [2], begun).await;
    assert_eq!(next_events(&mut watch).await.len(), 1);
    assert_eq!(etcd.range(&Range::key("k"), PATIENCE).await.unwrap().kvs[0].value, [2]);
}

#[tokio::test]
async fn a_full_etcd_is_told_with_what_to_do() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &["--quota-backend-bytes=1000000"]);
    let etcd = cluster.etcd();
    etcd.txn(&put("k", vec![1]), PATIENCE).await.unwrap();
    cluster.fill();
    let error = etcd.txn(&put("k", vec![2]), PATIENCE).await.unwrap_err();
    assert!(matches!(error, Error::NoSpace(_)), "{error:?}");
    assert!(error.to_string().contains("alarm disarm"), "{error}");
    assert_eq!(etcd.range(&Range::key("k"), PATIENCE).await.unwrap().kvs[0].value, [1]);
}

#[tokio::test]
async fn what_is_too_large_compacted_or_nonsense_is_told_apart() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    let etcd = cluster.etcd();
    let old = etcd.txn(&put("k", vec![1]), PATIENCE).await.unwrap().header.revision;
    let new = etcd.txn(&put("k", vec![2]), PATIENCE).await.unwrap().header.revision;
    let error = etcd.txn(&put("k", vec![0; 3_000_000]), PATIENCE).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge(_)), "{error:?}");
    let many = (0..200).fold(Txn::new(), |txn, number| txn.then(Op::put(format!("k/{number}"), "v")));
    let error = etcd.txn(&many, PATIENCE).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge(_)), "{error:?}");
    let twice = Txn::new().when(Guard::absent("x")).then(Op::put("a", "1")).then(Op::put("a", "2"));
    let error = etcd.txn(&twice, PATIENCE).await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error:?}");
    drop(cluster.etcdctl(&["compact", &new.to_string()]));
    let error = etcd.range(&Range::key("k").at(old), PATIENCE).await.unwrap_err();
    assert!(matches!(error, Error::Compacted { .. }), "{error:?}");
}

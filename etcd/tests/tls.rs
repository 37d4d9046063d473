//! A real etcd that clients reach by TLS alone, with certificates of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a test's verdict")]

use std::time::Duration;

use om_etcd::testing::{Cluster, Setup, next_events, put_once, put_over};
use om_etcd::{Etcd, EtcdOptions, Tls};
use om_kv::{Error, Keyspace, Range};

#[tokio::test]
async fn calls_and_watches_go_by_tls_and_who_has_no_certificate_gets_nowhere() {
    if !Cluster::available() {
        return;
    }
    let setup = || Setup { members: 3, tls: true, ..Setup::default() };
    let mut cluster = Cluster::set_up(setup());
    let etcd = cluster.etcd();
    let from = put_once(&etcd, "k", "v").await;
    let mut watch = etcd.watch("k", from);
    assert_eq!(next_events(&mut watch).await.len(), 1);
    let leader = cluster.leader().unwrap();
    cluster.kill(leader);
    put_over(&etcd, "k", "w", from).await;
    assert_eq!(next_events(&mut watch).await.len(), 1);

    let mut right = cluster.options();
    // What the dead member answers is not what this is about.
    right.endpoints.remove(leader);
    let tls = right.tls.clone().unwrap();
    let strange = Cluster::set_up(Setup { members: 1, ..setup() }).options().tls.unwrap();
    for (tls, why) in [
        (Tls { identity: None, ..tls.clone() }, "our certificate"),
        (Tls { ca: strange.ca.clone(), ..tls.clone() }, "invalid peer certificate"),
        (Tls { identity: strange.identity, ..tls.clone() }, "our certificate"),
        (Tls { domain: Some("elsewhere.example".to_owned()), ..tls }, "not valid for name"),
    ] {
        let wrong = Etcd::new(&EtcdOptions { tls: Some(tls), ..right.clone() }).unwrap();
        let error = wrong.range(&Range::key("k"), Duration::from_secs(1)).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
}

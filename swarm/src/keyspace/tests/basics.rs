use om_kv::Error;

use super::*;

#[tokio::test]
async fn what_is_written_is_read_by_another_and_the_rest_of_the_specification_stays() {
    let engine = FakeEngine::start();
    let before = engine.spec();
    let (one, other) = (keyspace(&engine), keyspace(&engine));
    assert_eq!(get(&one, "a").await, None);
    assert_eq!(put(&one, "a", "1").await, 1);
    assert_eq!(put(&other, "a", "2").await, 2);
    assert_eq!(get(&one, "a").await.as_deref(), Some("2"));
    let large = noise(600_000);
    put(&one, "large", large.clone()).await;
    let found = other.range(&Range::key("large").large(), PATIENCE).await.unwrap();
    assert_eq!(found.one().unwrap().value, large);
    let mut after = engine.spec();
    let label = after["Labels"].as_object_mut().unwrap().remove("openmanage.test").unwrap();
    assert!(label.as_str().unwrap().len() < 2000, "what is large is not in the label");
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_revision_is_read_as_it_was_until_it_is_forgotten() {
    let engine = FakeEngine::start();
    let keyspace = keyspace(&engine);
    let first = put(&keyspace, "a", "1").await;
    put(&keyspace, "a", "2").await;
    let old = keyspace.range(&Range::key("a").at(first), PATIENCE).await.unwrap();
    assert_eq!((old.one().unwrap().value.as_slice(), old.header.revision), (b"1".as_slice(), 2));
    let other = super::keyspace(&engine);
    let never_seen = other.range(&Range::key("a").at(first), PATIENCE).await;
    assert!(matches!(never_seen, Err(Error::Compacted { .. })), "{never_seen:?}");
}

#[tokio::test]
async fn a_label_that_cannot_be_read_or_was_taken_away_is_never_taken_for_an_empty_one() {
    let engine = FakeEngine::start();
    put(&keyspace(&engine), "large", noise(10_000)).await;
    let label = engine.spec()["Labels"]["openmanage.test"].clone();
    engine.change(|spec| spec["Labels"]["openmanage.test"] = "words".into());
    let damaged = keyspace(&engine).txn(&Txn::new().then(Op::put("a", "1")), PATIENCE).await.unwrap_err();
    assert!(damaged.to_string().contains("openmanage.test of the Swarm cannot be read"), "{damaged}");
    engine.change(|spec| spec["Labels"] = serde_json::Value::Null);
    let taken = keyspace(&engine).txn(&Txn::new().then(Op::put("a", "1")), PATIENCE).await.unwrap_err();
    assert!(taken.to_string().contains("put the label back"), "{taken}");
    engine.change(|spec| spec["Labels"] = serde_json::json!({ "openmanage.test": label }));
    engine.remove("om-test-page-");
    let gone = keyspace(&engine).range(&Range::key("large"), PATIENCE).await.unwrap_err();
    assert!(
        matches!(&gone, Error::Invalid(_)) && gone.to_string().contains("a page of the state is gone"),
        "{gone}"
    );
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_the_rest_stays() {
    let engine = FakeEngine::start();
    let keyspace = keyspace(&engine);
    put(&keyspace, "a", "1").await;
    let large = keyspace.txn(&Txn::new().then(Op::put("b", noise(1_100_000))), PATIENCE).await.unwrap_err();
    assert!(matches!(&large, Error::TooLarge(_)) && large.to_string().contains("untouched"), "{large}");
    let granted = keyspace.grant(Duration::from_secs(60), PATIENCE).await.unwrap();
    let op = Op::Put { key: "c".to_owned(), value: noise(1_100_000), lease: granted.id };
    let large = keyspace.txn(&Txn::new().then(op), PATIENCE).await.unwrap_err();
    assert!(matches!(&large, Error::TooLarge(_)) && large.to_string().contains("untouched"), "{large}");
    assert_eq!(get(&keyspace, "a").await.as_deref(), Some("1"));
    assert_eq!(pages(&engine, &keyspace).await, (0, 0));
}

#[tokio::test]
async fn a_swarm_that_others_have_filled_takes_no_more_and_keeps_what_is_there() {
    let engine = FakeEngine::start();
    let keyspace = keyspace(&engine);
    put(&keyspace, "a", "1").await;
    let own = engine.spec().to_string().len();
    engine.change(|spec| spec["Labels"]["theirs"] = "x".repeat(1_500_000 - 1000 - own).into());
    put(&keyspace, "a", "2").await;
    let before = engine.spec();
    for _ in 0..2 {
        let full = keyspace.txn(&Txn::new().then(Op::put("b", noise(3000))), PATIENCE).await.unwrap_err();
        assert!(matches!(&full, Error::TooLarge(_)) && full.to_string().contains("untouched"), "{full}");
    }
    assert_eq!(engine.spec(), before);
    assert_eq!(get(&super::keyspace(&engine), "a").await.as_deref(), Some("2"));
    put(&keyspace, "a", "3").await;
    engine.change(|spec| drop(spec["Labels"].as_object_mut().unwrap().remove("theirs")));
    put(&keyspace, "b", noise(3000)).await;
    assert_eq!(get(&keyspace, "a").await.as_deref(), Some("3"));
}

#[tokio::test]
async fn a_lease_lasts_while_it_is_kept_and_takes_its_keys_along() {
    let engine = FakeEngine::start();
    let (owner, other) = (keyspace(&engine), keyspace(&engine));
    let granted = owner.grant(Duration::from_millis(1), PATIENCE).await.unwrap();
    assert_eq!(granted.ttl, Duration::from_secs(1));
    let op = Op::Put { key: "r/1".to_owned(), value: b"here".to_vec(), lease: granted.id };
    let written = owner.txn(&Txn::new().then(op.clone()), PATIENCE).await.unwrap().header.revision;
    let mut watch = other.watch("r/", written + 1);
    for _ in 0..5 {
        // sleeps: for longer than the lease lasts, in all, while it is kept
        tokio::time::sleep(Duration::from_millis(300)).await;
        owner.keep_alive_once(granted.id, PATIENCE).await.unwrap();
    }
    assert_eq!(get(&other, "r/1").await.as_deref(), Some("here"));
    let deleted = super::watches::events(&mut watch, 1).await;
    assert_eq!(deleted, [om_kv::Event::Delete { key: "r/1".to_owned(), revision: written + 1 }]);
    let kept = owner.keep_alive_once(granted.id, PATIENCE).await;
    assert!(matches!(kept, Err(Error::LeaseGone(_))), "{kept:?}");
    let under = owner.txn(&Txn::new().then(op), PATIENCE).await;
    assert!(matches!(under, Err(Error::LeaseGone(_))), "{under:?}");
}

#[tokio::test]
async fn a_revoked_lease_takes_its_keys_along_at_once() {
    let engine = FakeEngine::start();
    let keyspace = keyspace(&engine);
    let granted = keyspace.grant(Duration::from_secs(60), PATIENCE).await.unwrap();
    let op = Op::Put { key: "r".to_owned(), value: b"here".to_vec(), lease: granted.id };
    keyspace.txn(&Txn::new().then(op), PATIENCE).await.unwrap();
    keyspace.revoke(granted.id, PATIENCE).await.unwrap();
    keyspace.revoke(granted.id, PATIENCE).await.unwrap();
    assert_eq!(get(&keyspace, "r").await, None);
    assert!(!engine.configs().iter().any(|name| name.contains("-lease-")));
}

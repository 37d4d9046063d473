use om_kv::{Error, Event, Watching};

use super::*;
use crate::wire::Record;

/// The next so many events.
pub(super) async fn events(watch: &mut Watching, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while events.len() < count {
        let batch = tokio::time::timeout(PATIENCE, watch.next()).await.expect("something comes");
        events.extend(batch.expect("the watch goes on").unwrap().events);
    }
    events
}

async fn end(watch: &mut Watching) -> Error {
    loop {
        match tokio::time::timeout(PATIENCE, watch.next()).await.expect("something comes") {
            Some(Ok(_)) => {}
            Some(Err(error)) => return error,
            None => panic!("it ended without a word"),
        }
    }
}

#[tokio::test]
async fn a_watch_tells_what_others_write_without_a_gap() {
    let engine = FakeEngine::start();
    let (writer, watcher) = (keyspace(&engine), keyspace(&engine));
    let from = put(&writer, "w/0", "0").await;
    let mut watch = watcher.watch("w/", from);
    for number in 1..200 {
        put(&writer, "other", "1").await;
        put(&writer, &format!("w/{number}"), noise(600)).await;
    }
    let seen = events(&mut watch, 200).await;
    let keys: Vec<String> = (0..200).map(|number| format!("w/{number}")).collect();
    assert_eq!(seen.iter().map(Event::key).collect::<Vec<_>>(), keys);
    assert!(seen.is_sorted_by_key(Event::revision));
    writer.txn(&Txn::new().then(Op::Delete(Range::prefix("w/1"))), PATIENCE).await.unwrap();
    let gone = events(&mut watch, 111).await;
    assert!(gone.iter().all(
        |event| matches!(event, Event::Delete { key, revision } if key.starts_with("w/1") && *revision == 400)
    ));
}

#[tokio::test]
async fn a_watch_gives_signs_of_life_only_while_the_engine_answers() {
    let engine = FakeEngine::start();
    let keyspace = keyspace(&engine);
    put(&keyspace, "a", "1").await;
    let mut watch = keyspace.watch("w/", 2);
    for _ in 0..3 {
        let batch = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap();
        assert!(batch.events.is_empty() && batch.header.revision == 1);
    }
    engine.stop_after(0);
    let blind = keyspace.txn(&Txn::new().then(Op::put("a", "2")), Duration::from_millis(10)).await;
    assert!(blind.is_err());
    engine.stopped().await;
    let silent = async { while watch.next().await.is_some() {} };
    let silent = tokio::time::timeout(Duration::from_millis(400), silent).await;
    assert!(silent.is_err(), "it goes on waiting");
    let none = tokio::time::timeout(Duration::from_millis(200), watch.next()).await;
    assert!(none.is_err(), "nothing is said of an engine that does not answer: {none:?}");
    assert!(engine.go_on());
    tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_watch_from_before_what_is_known_tells_all_or_says_that_it_cannot() {
    let engine = FakeEngine::start();
    let writer = keyspace(&engine);
    put(&writer, "w/1", "1").await;
    put(&writer, "w/2", "2").await;
    let mut all = keyspace(&engine).watch("w/", 1);
    assert_eq!(events(&mut all, 2).await.iter().map(Event::key).collect::<Vec<_>>(), ["w/1", "w/2"]);
    writer.txn(&Txn::new().then(Op::Delete(Range::prefix("w/"))), PATIENCE).await.unwrap();
    let error = end(&mut keyspace(&engine).watch("w/", 1)).await;
    assert!(matches!(error, Error::Compacted { oldest: Some(4), .. }), "{error}");
    put(&writer, "w/3", "3").await;
    let mut later = keyspace(&engine).watch("w/", 4);
    assert_eq!(events(&mut later, 1).await[0].key(), "w/3");
}

#[tokio::test]
async fn a_swarm_that_was_restored_from_a_backup_ends_watches_and_is_read_afresh() {
    let engine = FakeEngine::start();
    let keyspace = keyspace(&engine);
    put(&keyspace, "a", "1").await;
    let backup = engine.spec()["Labels"]["openmanage.test"].as_str().unwrap().to_owned();
    put(&keyspace, "a", "2").await;
    let mut watch = keyspace.watch("a", 3);
    tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap();
    engine.change(|spec| spec["Labels"]["openmanage.test"] = backup.into());
    let error = end(&mut watch).await;
    assert!(matches!(error, Error::WentBack(_)), "{error}");
    assert_eq!(get(&keyspace, "a").await.as_deref(), Some("1"));
    let error = end(&mut keyspace.watch("a", 9)).await;
    assert!(matches!(error, Error::WentBack(_)), "it was further once: {error}");
    let other = Record { format: 1, cluster: 1, revision: 9, ..Record::default() };
    engine.change(|spec| spec["Labels"]["openmanage.test"] = other.to_label().into());
    // Whoever looks first is told, and that may be the poll.
    drop(keyspace.range(&Range::key("a"), PATIENCE).await);
    assert_eq!(get(&keyspace, "a").await, None, "it is another cluster");
}

#[tokio::test]
async fn a_swarm_that_was_restored_and_written_on_is_told_by_the_revision_that_was_known() {
    let engine = FakeEngine::start();
    let record = || engine.spec()["Labels"]["openmanage.test"].as_str().unwrap().to_owned();
    let restore = |record: String| engine.change(|spec| spec["Labels"]["openmanage.test"] = record.into());
    put(&keyspace(&engine), "a", "1").await;
    let backup = record();
    for _ in 0..2 {
        put(&keyspace(&engine), "a", "other").await;
    }
    let other = record();
    restore(backup);
    let behind = keyspace(&engine);
    let known = put(&behind, "a", "lost").await;
    let mut watch = behind.watch("a", known + 1);
    let first = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap();
    assert!(first.begun, "whoever watches is told to look at what it has kept: {first:?}");
    restore(other);
    let error = end(&mut watch).await;
    assert!(matches!(&error, Error::WentBack(why) if why.to_string().contains("written anew")), "{error}");
}

use tokio::task::JoinSet;

use super::*;

#[tokio::test]
async fn eight_writers_and_others_lose_nothing() {
    const WRITERS: u64 = 8;
    const EACH: u64 = 63;
    let engine = std::sync::Arc::new(FakeEngine::start());
    let mut tasks = JoinSet::new();
    for writer in 0..WRITERS {
        let keyspace = keyspace(&engine);
        tasks.spawn(async move {
            for number in 0..EACH {
                put(&keyspace, &format!("own/{writer}/{number}"), noise(700)).await;
                while !count(&keyspace, "n", PATIENCE).await.unwrap().succeeded {}
            }
        });
    }
    let other = std::sync::Arc::clone(&engine);
    let mut others = JoinSet::new();
    others.spawn(async move {
        for number in 0.. {
            other.change(|spec| {
                spec["Labels"]["other"] = number.to_string().into();
                spec["Orchestration"]["TaskHistoryRetentionLimit"] = number.into();
            });
            // sleeps: so that writers get a turn
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    });
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    others.abort_all();
    let keyspace = keyspace(&engine);
    assert_eq!(get(&keyspace, "n").await, Some((WRITERS * EACH).to_string()));
    let own = keyspace.range(&Range::prefix("own/"), PATIENCE).await.unwrap();
    assert_eq!(own.count, WRITERS * EACH);
    assert!(own.kvs.iter().all(|kv| kv.value.len() == 700));
    let spec = engine.spec();
    let set = &spec["Orchestration"]["TaskHistoryRetentionLimit"];
    assert_eq!(
        spec["Labels"]["other"].as_str(),
        Some(set.to_string().as_str()),
        "settings of others survive"
    );
    assert_eq!(spec["Labels"]["somebody"], "else's");
}

use om_kv::Error;

use super::*;
use crate::testing::Fault;

const UPDATE: &str = "POST /swarm/update";

#[tokio::test]
async fn whatever_becomes_of_an_answer_a_transaction_is_done_once() {
    for fault in [Fault::Lost, Fault::Dropped, Fault::Hung, Fault::Twice, Fault::Leaderless] {
        let engine = FakeEngine::start();
        let keyspace = keyspace(&engine);
        put(&keyspace, "n", "1").await;
        engine.fail(UPDATE, fault);
        let answer = count(&keyspace, "n", PATIENCE).await.unwrap();
        assert!(answer.succeeded, "{fault:?}: it was done, by whichever attempt");
        assert_eq!(answer.header.revision, 2, "{fault:?}: once");
        assert_eq!(get(&keyspace, "n").await.as_deref(), Some("2"), "{fault:?}");
    }
}

#[tokio::test]
async fn a_swarm_that_has_no_leader_for_long_is_asked_until_it_has_one() {
    let engine = FakeEngine::start();
    let keyspace = keyspace(&engine);
    put(&keyspace, "n", "1").await;
    for _ in 0..80 {
        engine.fail(UPDATE, Fault::Leaderless);
    }
    assert_eq!(count(&keyspace, "n", Duration::from_secs(60)).await.unwrap().header.revision, 2);
}

#[tokio::test]
async fn a_transaction_of_which_nothing_more_is_heard_is_unclear_and_one_that_was_never_sent_is_not() {
    let engine = FakeEngine::start();
    let keyspace = keyspace(&engine);
    put(&keyspace, "n", "1").await;
    get(&keyspace, "n").await;
    for _ in 0..100 {
        engine.fail(UPDATE, Fault::Hung);
        engine.fail("GET /swarm", Fault::Hung);
    }
    let blind = Txn::new().then(Op::put("n", "3"));
    let unclear = keyspace.txn(&blind, Duration::from_millis(700)).await.unwrap_err();
    assert!(matches!(unclear, Error::Unclear(_)), "{unclear}");
    let at = engine.engine();
    drop(engine);
    let gone = SwarmKeyspace::new(at, "test", options());
    let refused = gone.txn(&blind, Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(&refused, Error::Unavailable(_)), "{refused}");
    assert!(refused.to_string().contains("is the engine running"), "{refused}");
}

#[tokio::test]
async fn a_frozen_engine_holds_nobody_up_for_longer_than_patience() {
    let engine = FakeEngine::start();
    let keyspace = keyspace(&engine);
    put(&keyspace, "a", "1").await;
    for _ in 0..3 {
        engine.fail("GET /swarm", Fault::Hung);
    }
    assert_eq!(get(&keyspace, "a").await.as_deref(), Some("1"), "another attempt gets through");
}

#[tokio::test]
async fn a_swarm_that_cannot_be_looked_at_is_not_asked_all_the_time_when_a_lease_has_run_out() {
    let engine = FakeEngine::start();
    let keyspace = keyspace(&engine);
    keyspace.grant(Duration::from_secs(1), PATIENCE).await.unwrap();
    // sleeps: until the lease was seen; it is not kept alive
    tokio::time::sleep(Duration::from_millis(500)).await;
    let many = 100_000;
    for _ in 0..many {
        engine.fail("GET /swarm", Fault::Leaderless);
    }
    // sleeps: the time in which it is asked
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked = many - engine.failures();
    assert!((1..400).contains(&asked), "asked {asked} times");
}

#[tokio::test]
async fn pages_of_a_swap_that_is_under_way_stay() {
    let engine = FakeEngine::start();
    let (writer, other) = (keyspace(&engine), keyspace(&engine));
    put(&writer, "a", "1").await;
    // Each attempt of it.
    for _ in 0..3 {
        engine.fail(UPDATE, Fault::Hung);
    }
    let under_way =
        tokio::time::timeout(Duration::from_millis(150), put(&writer, "large", noise(50_000))).await;
    assert!(under_way.is_err());
    let found = async || {
        for part in 0..16 {
            other.core.look_through(part).await.unwrap();
        }
        other.core.garbage().len()
    };
    assert_eq!((found().await, pages(&engine, &other).await), (0, (1, 0)), "it may be named yet");
    engine.change(|spec| spec["Labels"]["other"] = "1".into());
    assert_eq!(found().await, 1, "its swap cannot be done any more");
}

#[tokio::test]
async fn pages_of_attempts_that_failed_are_removed() {
    let engine = FakeEngine::start();
    let keyspace = keyspace(&engine);
    put(&keyspace, "a", "1").await;
    get(&keyspace, "a").await;
    // Somebody else is faster, each time.
    for number in 0..5 {
        engine.change(|spec| spec["Labels"]["other"] = number.into());
        put(&keyspace, &format!("large/{number}"), noise(100_000)).await;
    }
    let (there, named) = pages(&engine, &keyspace).await;
    assert_eq!(there, named);
    assert_eq!(engine.spec()["Labels"]["other"], 4);
}

//! A process ends between any two of its steps.

use tokio::task::JoinSet;

use super::*;

fn name(number: i64) -> String {
    format!("j/{number:06}")
}

/// Thirteen transactions that fill pages, delete, and drop pages.
async fn write(keyspace: &SwarmKeyspace, round: i64) -> om_kv::Result<()> {
    for number in 0..12 {
        let txn = Txn::new().then(Op::put(name(round * 12 + number), noise(1500)));
        keyspace.txn(&txn, PATIENCE).await?;
    }
    let delete = Op::Delete(Range::between(name(0), name(round * 12 - 6)));
    let txn = Txn::new().then(Op::put(format!("base/{round}"), noise(200_000))).then(delete);
    keyspace.txn(&txn, PATIENCE).await.map(drop)
}

/// The keys after so many transactions of the rounds 1 and 2.
fn keys(revision: i64) -> Vec<String> {
    let bases = (1..=revision / 13).map(|round| format!("base/{round}"));
    let first = if revision < 26 { 12 } else { 18 };
    bases.chain((first..12 + revision - revision / 13).map(name)).collect()
}

/// The second round ends at its so manieth step; whether it has as many.
async fn dies_at(step: usize) -> bool {
    let engine = FakeEngine::start();
    let first = keyspace(&engine);
    write(&first, 1).await.unwrap();
    let before = keyspace(&engine).range(&Range::prefix(""), PATIENCE).await.unwrap();
    engine.stop_after(step);
    let mut dying = JoinSet::new();
    let victim = first.clone();
    dying.spawn(async move { drop(write(&victim, 2).await) });
    let died = tokio::select! {
        _ = dying.join_next() => false,
        () = engine.stopped() => true,
    };
    drop((dying, first));
    let stopped = engine.go_on();

    let heir = keyspace(&engine);
    let after = heir.range(&Range::prefix(""), PATIENCE).await.unwrap();
    let found: Vec<&str> = after.kvs.iter().map(|kv| kv.key.as_str()).collect();
    assert_eq!(found, keys(after.header.revision), "step {step}");
    let same = before.kvs.iter().filter(|kv| found.contains(&kv.key.as_str()));
    assert!(same.into_iter().all(|kv| after.kvs.contains(kv)), "step {step}: values stay");

    // The heir writes, and what the dead one left is swept.
    put(&heir, "z", "1").await;
    let mut seen = (0, 0);
    let swept = async {
        loop {
            seen = pages(&engine, &heir).await;
            if seen.0 == seen.1 {
                break;
            }
            // sleeps: until the sweep has come round
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, swept).await.is_ok(), "step {step}: {seen:?} pages");
    let again = keyspace(&engine).range(&Range::prefix(""), PATIENCE).await.unwrap();
    assert_eq!(again.kvs[..after.kvs.len()], after.kvs, "step {step}: the sweep took nothing that counts");
    died || stopped
}

#[tokio::test]
async fn whoever_dies_between_two_steps_leaves_nothing_lost_and_nothing_behind() {
    const AT_ONCE: usize = 8;
    for first in (0..).step_by(AT_ONCE) {
        let mut steps = JoinSet::new();
        (first..first + AT_ONCE).for_each(|step| drop(steps.spawn(dies_at(step))));
        let died = steps.join_all().await;
        if died.contains(&false) {
            assert!(first >= 16, "a round has more steps than {first}");
            return;
        }
    }
}

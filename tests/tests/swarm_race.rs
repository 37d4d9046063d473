//! Two would-be leaders at the state of one real Swarm, which others change at the same time.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use om_kv::layout::Layout;
use om_store::kv::KvStore;
use om_store::testing::candidate;
use om_store::{Change, Error, Revision, Store, Term, Token};
use om_swarm::{Engine, EngineOptions, SwarmKeyspace, SwarmOptions};
use om_system_tests::{SOON, Swarm, measured, part, wait_until};
use tokio_stream::StreamExt;

const PARTS: &str = "dockerd, docker, busybox and network namespaces (root)";
const RACES: usize = 500;
/// Commits of the holder while the other claims.
const COMMITS: usize = 3;

fn store(swarm: &Swarm, number: usize) -> KvStore {
    let host = swarm.engine(number).url();
    let engine = Engine::new(&EngineOptions { host, ..EngineOptions::default() }).unwrap();
    let keyspace = SwarmKeyspace::new(engine, "test", SwarmOptions::default());
    KvStore::new(Arc::new(keyspace), &Layout::of("test"))
}

/// What was answered to commits.
#[derive(Default)]
struct Told {
    /// By key: the term and the revision.
    acknowledged: BTreeMap<String, (Term, Revision)>,
    /// Written or not.
    unclear: Vec<String>,
}

impl Told {
    /// Commits under a claim; whether that is over.
    async fn commit(&mut self, store: &KvStore, token: &Token, number: usize) -> bool {
        let key = format!("{}/{number}", token.term());
        let change = Change::at(1).put(&*key, token.term().to_string());
        match store.append(token, change).await {
            Ok(revision) => drop(self.acknowledged.insert(key, (token.term(), revision))),
            Err(Error::Fenced { .. }) => return true,
            Err(Error::Unclear(_)) => self.unclear.push(key),
            Err(error) => panic!("{key}: {error}"),
        }
        false
    }

    /// The same, some times.
    async fn commit_some(&mut self, store: &KvStore, token: &Token) {
        for number in 0..COMMITS {
            if self.commit(store, token, number).await {
                return;
            }
        }
    }
}

async fn claim(store: &KvStore, name: &str) -> Token {
    loop {
        let seen = store.load().await.unwrap().term();
        match store.claim(&candidate(name), seen).await {
            Ok(token) => return token,
            Err(Error::Unclear(_) | Error::Unavailable { .. }) => {}
            Err(error) => panic!("{name} does not get the claim: {error}"),
        }
    }
}

#[test]
fn two_would_be_leaders_race_five_hundred_times_and_no_write_of_anybody_is_lost() {
    if !part(PARTS, Swarm::possible()) {
        return;
    }
    let swarm = Swarm::new(3);
    let over = &AtomicBool::new(false);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let changes = thread::scope(|scope| {
        let others = scope.spawn(|| label_until(&swarm, over));
        let raced = catch_unwind(AssertUnwindSafe(|| runtime.block_on(race(&swarm))));
        over.store(true, Ordering::Relaxed);
        let changes = others.join().unwrap();
        raced.unwrap_or_else(|panicked| resume_unwind(panicked));
        changes
    });
    assert_eq!(swarm.engine(0).swarm_labels()["theirs"], changes.to_string());
    measured(&format!("{changes} changes of the Swarm's labels by others meanwhile"));
}

/// Others' changes, each of which has to be there after it; how many.
fn label_until(swarm: &Swarm, over: &AtomicBool) -> usize {
    let mut changes = 0;
    while !over.load(Ordering::Relaxed) {
        changes += 1;
        let engine = swarm.engine(changes % 3);
        let value = changes.to_string();
        // It may be outrun, as anybody may.
        wait_until("a label to be taken", SOON, || engine.label_swarm("theirs", Some(&value)).is_ok());
        assert_eq!(engine.swarm_labels()["theirs"], value);
        // sleeps: so that the others get a turn
        thread::sleep(Duration::from_millis(20));
    }
    changes
}

async fn race(swarm: &Swarm) {
    let stores = [store(swarm, 0), store(swarm, 1)];
    let mut told = Told::default();
    let mut holder = claim(&stores[0], "0").await;
    for race in 1..=RACES {
        let (old, new) = (&stores[(race + 1) % 2], &stores[race % 2]);
        // One commits, and the other claims over it.
        let ((), next) =
            tokio::join!(told.commit_some(old, &holder), claim(new, if race % 2 == 0 { "0" } else { "1" }));
        assert!(next.term() > holder.term(), "{} over {}", next.term(), holder.term());
        assert!(told.commit(old, &holder, COMMITS).await, "term {} is over", holder.term());
        holder = next;
    }
    let fresh = store(swarm, 2);
    fresh.load().await.unwrap();
    let (last, records) = fresh.view().scan("", None, usize::MAX);
    for (key, (term, revision)) in &told.acknowledged {
        let found = fresh.view().get(key).unwrap_or_else(|| panic!("{key} was acknowledged and is lost"));
        assert_eq!((&*found.value, found.modified), (term.to_string().as_bytes(), *revision), "{key}");
    }
    let strange = records.iter().map(|(key, _)| &**key);
    let strange: Vec<&str> = strange.filter(|key| !told.acknowledged.contains_key(*key)).collect();
    assert!(strange.iter().all(|key| told.unclear.iter().any(|open| open == key)), "{strange:?}");

    // As it was written: never a lower term over a higher.
    let mut entries = fresh.watch(0).await.unwrap();
    let mut newest = 0;
    for revision in 1..=last {
        let entry = entries.next().await.unwrap().unwrap();
        assert!(entry.revision == revision && entry.term >= newest, "{entry:?} after term {newest}");
        newest = entry.term;
    }
    measured(&format!(
        "{RACES} races, {} commits acknowledged before a claim came over them",
        told.acknowledged.len()
    ));
}

//! Keys in the state of real Swarms: the store's conformance suite, races, and what a Swarm takes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use om_api::clock::since_boot;
use om_kv::layout::Layout;
use om_kv::{Guard, Keyspace, Op, Range, Txn, TxnAnswer};
use om_store::Store;
use om_store::kv::KvStore;
use om_store::testing::Site;
use om_swarm::{Engine, EngineOptions, SwarmKeyspace, SwarmOptions};
use om_system_tests::{Swarm, measured, part};
use uuid::Uuid;

const PARTS: &str = "dockerd, docker, busybox and network namespaces (root)";
const PATIENCE: Duration = Duration::from_secs(60);

fn engine(swarm: &Swarm, number: usize) -> Engine {
    let host = swarm.engine(number).url();
    Engine::new(&EngineOptions { host, ..EngineOptions::default() }).unwrap()
}

fn keyspace(swarm: &Swarm, number: usize, options: SwarmOptions) -> SwarmKeyspace {
    SwarmKeyspace::new(engine(swarm, number), "test", options)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

/// Something that does not pack.
fn noise(size: usize) -> Vec<u8> {
    (0..size / 16 + 1).flat_map(|_| Uuid::new_v4().into_bytes()).take(size).collect()
}

async fn put(keyspace: &SwarmKeyspace, key: String, value: Vec<u8>) -> TxnAnswer {
    keyspace.txn(&Txn::new().then(Op::put(key, value)), PATIENCE).await.unwrap()
}

/// A cluster of its own in a Swarm that the tests which run at the same time share.
struct Shared {
    swarm: Arc<Swarm>,
    managers: usize,
    cluster: String,
    handles: AtomicUsize,
}

impl Site for Shared {
    fn handle(&self) -> Box<dyn Store> {
        let number = self.handles.fetch_add(1, Ordering::Relaxed) % self.managers;
        let engine = engine(&self.swarm, number);
        let keyspace = SwarmKeyspace::new(engine, &self.cluster, SwarmOptions::default());
        Box::new(KvStore::new(Arc::new(keyspace), &Layout::of(&self.cluster)))
    }
}

fn shared(managers: usize, running: &Mutex<Weak<Swarm>>) -> Shared {
    let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
    let swarm = running.upgrade().unwrap_or_else(|| Arc::new(Swarm::new(managers)));
    *running = Arc::downgrade(&swarm);
    let cluster = Uuid::new_v4().simple().to_string();
    Shared { swarm, managers, cluster, handles: AtomicUsize::new(0) }
}

mod one_manager {
    use super::*;

    static RUNNING: Mutex<Weak<Swarm>> = Mutex::new(Weak::new());

    fn site() -> Shared {
        shared(1, &RUNNING)
    }

    om_store::conformance_tests!(site, if part(PARTS, Swarm::possible()));
}

mod three_managers {
    use super::*;

    static RUNNING: Mutex<Weak<Swarm>> = Mutex::new(Weak::new());

    fn site() -> Shared {
        shared(3, &RUNNING)
    }

    om_store::conformance_tests!(site, if part(PARTS, Swarm::possible()));
}

#[test]
fn eight_writers_on_three_managers_lose_nothing_while_others_change_the_swarm() {
    const WRITERS: usize = 8;
    const EACH: usize = 63;
    if !part(PARTS, Swarm::possible()) {
        return;
    }
    let swarm = Swarm::new(3);
    let done = &AtomicBool::new(false);
    let changes = thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut changes = 0;
            while !done.load(Ordering::Relaxed) {
                changes += 1;
                let limit = format!("--task-history-limit={changes}");
                // It may be outrun, as anybody may.
                while swarm.engine(changes % 3).ask(&["swarm", "update", &limit]).code != 0 {}
            }
            changes
        });
        runtime().block_on(async {
            let mut writers = tokio::task::JoinSet::new();
            for writer in 0..WRITERS {
                let keyspace = keyspace(&swarm, writer % 3, SwarmOptions::default());
                writers.spawn(async move {
                    for number in 0..EACH {
                        put(&keyspace, format!("own/{writer}/{number}"), noise(700)).await;
                        while !count(&keyspace).await {}
                    }
                });
            }
            writers.join_all().await;
        });
        done.store(true, Ordering::Relaxed);
        others.join().unwrap()
    });
    let limit = swarm.engine(0).docker(&[
        "info",
        "--format",
        "{{.Swarm.Cluster.Spec.Orchestration.TaskHistoryRetentionLimit}}",
    ]);
    assert_eq!(limit, changes.to_string(), "what others set last survives");
    runtime().block_on(async {
        let keyspace = keyspace(&swarm, 0, SwarmOptions::default());
        let found = keyspace.range(&Range::key("n"), PATIENCE).await.unwrap();
        assert_eq!(found.one().unwrap().value, (WRITERS * EACH).to_string().into_bytes());
        let own = keyspace.range(&Range::prefix("own/").count_only(), PATIENCE).await.unwrap();
        assert_eq!(own.count, (WRITERS * EACH) as u64);
    });
    measured(&format!("{} transactions, {changes} changes of others meanwhile", WRITERS * EACH * 2));
}

/// Moves a counter on from what it was read as; whether nobody else was faster.
async fn count(keyspace: &SwarmKeyspace) -> bool {
    let found = keyspace.range(&Range::key("n"), PATIENCE).await.unwrap();
    let number = |kv: &om_kv::Kv| String::from_utf8_lossy(&kv.value).parse::<u64>().unwrap();
    let (now, revision) = found.one().map_or((0, 0), |kv| (number(kv), kv.modified));
    let txn = Txn::new().when(Guard::modified("n", revision)).then(Op::put("n", (now + 1).to_string()));
    keyspace.txn(&txn, PATIENCE).await.unwrap().succeeded
}

#[test]
fn events_tell_the_other_managers_without_a_poll() {
    if !part(PARTS, Swarm::possible()) {
        return;
    }
    let swarm = Swarm::new(3);
    runtime().block_on(async {
        let patient = SwarmOptions { poll: Duration::from_secs(3600), ..SwarmOptions::default() };
        let writer = keyspace(&swarm, 0, SwarmOptions::default());
        // The bell has been rung once: it is made by then.
        let first = put(&writer, "w/first".to_owned(), Vec::new()).await.header.revision;
        let mut watches: Vec<_> =
            (0..3).map(|number| keyspace(&swarm, number, patient.clone()).watch("w/", first)).collect();
        let mut lags = Vec::new();
        let mut written = first;
        for round in 0..20 {
            for watch in &mut watches {
                let asked = since_boot();
                wait_for_revision(watch, written).await;
                if round > 0 {
                    lags.push(since_boot() - asked);
                }
            }
            written = put(&writer, format!("w/{round}"), noise(100)).await.header.revision;
        }
        lags.sort();
        measured(&format!(
            "seen on three managers within {:?} at most after the answer, {:?} mostly",
            lags[lags.len() - 1],
            lags[lags.len() / 2]
        ));
    });
}

async fn wait_for_revision(watch: &mut om_kv::Watching, revision: i64) {
    let seen = async {
        loop {
            let batch = watch.next().await.expect("the watch goes on").unwrap();
            if batch.events.iter().any(|event| event.revision() >= revision) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.expect("it is told");
}

#[test]
fn a_write_costs_the_same_beside_twenty_megabytes_and_what_is_too_large_is_refused() {
    const CHUNK: usize = 768 * 1024;
    if !part(PARTS, Swarm::possible()) {
        return;
    }
    let swarm = Swarm::new(3);
    runtime().block_on(async {
        let keyspace = keyspace(&swarm, 0, SwarmOptions::default());
        let mut first = Vec::new();
        for number in 0..50 {
            first.push(timed(&keyspace, number).await);
        }
        for chunk in 0..27 {
            put(&keyspace, format!("base/{chunk:06}"), noise(CHUNK)).await;
        }
        let mut last = Vec::new();
        for number in 50..1000 {
            last.push(timed(&keyspace, number).await);
        }
        let mean = |times: &[Duration]| times.iter().sum::<Duration>() / u32::try_from(times.len()).unwrap();
        let (first, last) = (mean(&first), mean(&last[900..]));
        measured(&format!("the first 50 writes take {first:?} each, the last of 1000 beside 20 MB {last:?}"));
        let begun = since_boot();
        let heir = self::keyspace(&swarm, 1, SwarmOptions::default());
        let found = heir.range(&Range::prefix("base/").large(), PATIENCE).await.unwrap();
        measured(&format!(
            "another manager has read {} chunks after {:?}",
            found.count,
            since_boot() - begun
        ));
        assert_eq!(found.kvs.iter().map(|kv| kv.value.len()).sum::<usize>(), 27 * CHUNK);
        let large = keyspace.txn(&Txn::new().then(Op::put("large", noise(1_100_000))), PATIENCE).await;
        assert!(matches!(large, Err(om_kv::Error::TooLarge(_))), "{large:?}");
        let journal = heir.range(&Range::prefix("journal/"), PATIENCE).await.unwrap();
        assert_eq!(journal.kvs.iter().filter(|kv| kv.value.len() == 1000).count(), 1000);
    });
}

async fn timed(keyspace: &SwarmKeyspace, number: usize) -> Duration {
    let value = noise(1000);
    let begun = since_boot();
    put(keyspace, format!("journal/{number:020}"), value).await;
    since_boot() - begun
}

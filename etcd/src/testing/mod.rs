//! Real etcd clusters of this machine, for tests: started on addresses that nobody else has, ended with their owner.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "only tests call this, and a panic is their verdict"
)]

mod certificates;
mod cluster;
mod gate;
mod member;

pub use cluster::{Cluster, Setup};
pub use gate::Gate;

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use om_kv::{Event, Guard, Keyspace, Op, Range, Txn, Watching};

use crate::Etcd;

/// Whether etcd and etcdctl are installed.
fn installed() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        // One wants it as an option, the other as a word.
        [("etcd", "--version"), ("etcdctl", "version")].iter().all(|(program, version)| {
            let mut command = Command::new(program);
            command.arg(version).env("ETCDCTL_API", "3").stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        })
    })
}

/// Whether a test that needs etcd can run. Where every part is required (`OM_REQUIRE_ALL=1`, as in CI), a missing etcd
/// is a failure; elsewhere it is said loudly, past the test runner's capture, and the test returns.
#[must_use]
pub fn etcd_is_here() -> bool {
    if installed() {
        return true;
    }
    assert!(!every_part_is_required(), "etcd is missing, and OM_REQUIRE_ALL=1 wants every part");
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    // Not by a print macro: what those write is captured.
    let _ = writeln!(std::io::stderr().lock(), "\nSKIPPED: {name} needs etcd");
    false
}

#[expect(clippy::disallowed_methods, reason = "the one switch of tests that need what a machine may lack")]
fn every_part_is_required() -> bool {
    std::env::var_os("OM_REQUIRE_ALL").is_some_and(|value| value == "1")
}

/// Looks every few milliseconds, for half a minute, until there is something to see.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..3000 {
        if let Some(seen) = look() {
            return seen;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("waited in vain until {what}");
}

/// The same, where looking waits for others.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..3000 {
        if let Some(seen) = look().await {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain until {what}");
}

/// The events that come next, without the signs of life before them.
pub async fn next_events(watch: &mut Watching) -> Vec<Event> {
    loop {
        let batch = watch.next().await.expect("the watch goes on").expect("events");
        if !batch.events.is_empty() {
            return batch.events;
        }
    }
}

/// How long a call of a test may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Writes a key once, and tells the revision, however often etcd had to be asked.
pub async fn put_once(etcd: &Etcd, key: &str, value: impl AsRef<[u8]>) -> i64 {
    let found = etcd.range(&Range::key(key), PATIENCE).await.expect("it is read");
    put_over(etcd, key, value, found.one().map_or(0, |kv| kv.modified)).await
}

/// The same, where the key's mod-revision is known, 0 where there is none: an attempt that is taken up when another has
/// long been answered finds the key changed.
pub async fn put_over(etcd: &Etcd, key: &str, value: impl AsRef<[u8]>, before: i64) -> i64 {
    let value = value.as_ref();
    let once = Guard::modified(key, before);
    let txn = Txn::new().when(once).then(Op::put(key, value)).otherwise(Op::get(key));
    let answer = etcd.txn(&txn, PATIENCE).await.expect("it is written");
    if answer.succeeded {
        return answer.header.revision;
    }
    let there = &answer.found(0)[0];
    assert_eq!(there.value, value, "another attempt of this write was done");
    there.modified
}

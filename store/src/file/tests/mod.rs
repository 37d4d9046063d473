//! The tests of the file backend.

mod conformance;
mod damage;
mod errors;
mod follow;
mod freeze;
mod kill;
mod messages;
mod model;
mod power;
mod schedule;
mod size;

use std::sync::Arc;
use std::time::Duration;

use super::FileStore;
use super::disk::Disk;
use super::fs::Tuning;
use crate::Change;
use crate::testing::ledger::claim;

/// Where the store is on a disk in memory.
const DIR: &str = "/state";

/// Small files and no patience: many rounds in little time.
fn store_on(dir: impl Into<std::path::PathBuf>, disk: Arc<dyn Disk>) -> FileStore {
    let tuning = Tuning {
        chunk: 4096,
        patience: Duration::from_micros(200),
        poll: Duration::from_millis(1),
        // Never: what a test does is all that is done.
        catch_up: Duration::MAX,
        claims: 1,
    };
    FileStore::tuned(dir, disk, tuning)
}

fn put(key: &str, value: &str) -> Change {
    Change::at(1).put(key, value.to_owned())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

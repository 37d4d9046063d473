//! Damaged files: told, never repaired by forgetting, never written over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{DIR, claim, put, runtime, store_on};
use crate::envelope::{self, Kind};
use crate::file::FileStore;
use crate::file::wire;
use crate::testing::ledger::Ledger;
use crate::testing::{MemoryDisk, Twist, TwistedDisk, candidate};
use crate::{Error, Record, Store, Term};

type Records = Vec<(Arc<str>, Record)>;

fn records(store: &FileStore) -> Records {
    store.view().scan("", None, usize::MAX).1
}

/// A store with every kind of file in it: a snapshot, several journal files, three claims, a release.
async fn furnished() -> (MemoryDisk, Records) {
    let disk = MemoryDisk::new();
    let store = store_on(DIR, Arc::new(disk.clone()));
    let ledger = Ledger::default();
    let mut number = 0..;
    for round in 0..3 {
        let token = claim(&store, "a").await.unwrap();
        for size in [10, 200, 600] {
            assert!(ledger.write(&store, &token, number.next().unwrap(), size).await);
        }
        if round == 1 {
            store.compact(&token, 100).await.unwrap();
            assert!(ledger.write(&store, &token, number.next().unwrap(), 10).await);
            store.release(token, None).await.unwrap();
        }
    }
    let state = records(&store);
    assert_eq!(state.len(), 20);
    (disk, state)
}

fn files(disk: &MemoryDisk) -> Vec<(PathBuf, usize)> {
    let contents = disk.contents();
    let kinds = ["format", "claim-", "release-", "journal-", "snapshot-"];
    for kind in kinds {
        assert!(contents.keys().any(|path| name(path).starts_with(kind)), "no {kind} in {contents:?}");
    }
    contents.into_iter().map(|(path, bytes)| (path, bytes.len())).collect()
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// Loads what was damaged: the error, or none if exactly the state came.
async fn load(disk: &MemoryDisk, state: &Records, what: &str) -> Option<Error> {
    let store = store_on(DIR, Arc::new(disk.clone()));
    match store.load().await {
        Ok(_) => {
            assert!(records(&store) == *state, "{what}: another state was loaded");
            None
        }
        Err(error) => {
            assert_eq!(store.view().revision(), 0, "{what}: half a state was loaded");
            Some(error)
        }
    }
}

/// A takeover of what cannot be loaded fails alike, and touches nothing.
async fn refuse(disk: &MemoryDisk, seen: Term, what: &str) {
    let before = disk.contents();
    let store = store_on(DIR, Arc::new(disk.clone()));
    let error = store.claim(&candidate("b"), seen).await.expect_err(what);
    assert!(!matches!(error, Error::Outrun { .. }), "{what}: {error}");
    assert!(before == disk.contents(), "{what}: the claim changed the directory");
}

#[test]
fn a_flipped_bit_in_any_byte_is_told_or_means_nothing() {
    let runtime = runtime();
    runtime.block_on(async {
        let (disk, state) = furnished().await;
        let mut told = BTreeMap::new();
        for (path, length) in files(&disk) {
            for at in 0..length {
                let damaged = disk.fork();
                damaged.damage(&path, |bytes| bytes[at] ^= 1 << (at % 8));
                let what = format!("{} with a bit of byte {at} flipped", path.display());
                if let Some(error) = load(&damaged, &state, &what).await {
                    assert!(matches!(error, Error::Corrupt { .. }), "{what}: {error}");
                    assert!(error.to_string().contains(DIR), "{what}: {error}");
                    *told.entry(path.clone()).or_insert(0) += 1;
                    if at % 16 == 0 {
                        refuse(&damaged, Term(3), &what).await;
                    }
                }
            }
        }
        // The files that hold the state have few bytes without a meaning: not half of them.
        for (path, length) in files(&disk) {
            let told = told.get(&path).copied().unwrap_or(0);
            let small = name(&path) == "format" || name(&path).starts_with("snapshot-");
            if small || name(&path) == "claim-0000000003" {
                assert_eq!(told, length, "of {}", path.display());
            }
        }
    });
}

#[test]
fn every_byte_of_what_was_written_last_is_watched_over() {
    let runtime = runtime();
    runtime.block_on(async {
        let (disk, state) = furnished().await;
        let path = Path::new(DIR).join("journal-0000000003-000000");
        let used = disk.contents()[&path].iter().rposition(|byte| *byte != 0).unwrap() + 1;
        // The last frame: the largest write, of which nothing comes after that would prove that it was whole.
        for at in 0..used {
            let damaged = disk.fork();
            damaged.damage(&path, |bytes| bytes[at] ^= 1 << (at * 5 % 8));
            let what = format!("a bit of byte {at} flipped");
            assert!(load(&damaged, &state, &what).await.is_some(), "{what}: not told");
        }
    });
}

#[test]
fn a_file_cut_at_any_length_is_told_or_has_lost_only_zeros() {
    let runtime = runtime();
    runtime.block_on(async {
        let (disk, state) = furnished().await;
        for (path, length) in files(&disk) {
            for kept in 0..length {
                let damaged = disk.fork();
                damaged.damage(&path, |bytes| bytes.truncate(kept));
                let what = format!("{} cut to {kept} bytes", path.display());
                if let Some(error) = load(&damaged, &state, &what).await {
                    assert!(matches!(error, Error::Corrupt { .. }), "{what}: {error}");
                    if kept % 16 == 0 {
                        refuse(&damaged, Term(3), &what).await;
                    }
                }
            }
        }
    });
}

#[test]
fn a_missing_file_that_the_state_needs_is_told() {
    let runtime = runtime();
    runtime.block_on(async {
        let (disk, state) = furnished().await;
        let mut told = Vec::new();
        for (path, _) in files(&disk) {
            // Without its newest journal file the directory looks as if its holder had died before it made one.
            if name(&path) == "journal-0000000003-000000" {
                continue;
            }
            let damaged = disk.fork();
            crate::file::disk::Disk::remove(&damaged, &path).unwrap();
            if load(&damaged, &state, &format!("without {}", path.display())).await.is_some() {
                refuse(&damaged, Term(3), &format!("without {}", path.display())).await;
                told.push(name(&path).to_owned());
            }
        }
        let needed = ["claim-0000000003", "format", "journal-0000000002-000000", "journal-0000000002-000001"];
        for needed in needed {
            let optional = needed == "journal-0000000002-000000";
            assert!(optional || told.iter().any(|told| told == needed), "{needed} is not in {told:?}");
        }
        assert!(told.iter().any(|told| told.starts_with("snapshot-")), "{told:?}");
    });
}

#[test]
fn a_handle_that_knows_the_store_does_not_take_its_absence_for_a_fresh_start() {
    let runtime = runtime();
    runtime.block_on(async {
        let (disk, _) = furnished().await;
        let store = store_on(DIR, Arc::new(disk.clone()));
        store.load().await.unwrap();
        let known = records(&store);
        // The newest journal file deleted by hand; then everything (a mount that went away); then another store.
        crate::file::disk::Disk::remove(&disk, &Path::new(DIR).join("journal-0000000003-000000")).unwrap();
        let missing = store.load().await.unwrap_err();
        assert!(missing.to_string().contains("is missing"), "{missing}");
        for path in disk.contents().keys() {
            crate::file::disk::Disk::remove(&disk, path).unwrap();
        }
        for error in [store.load().await.unwrap_err(), store.head().await.unwrap_err()] {
            assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        }
        let error = store.claim(&candidate("a"), Term(0)).await.unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        assert!(disk.contents().is_empty());
        claim(&store_on(DIR, Arc::new(disk.clone())), "b").await.unwrap();
        let error = store.load().await.unwrap_err();
        assert!(error.to_string().contains("is where store"), "{error}");
        assert_eq!(records(&store), known);
    });
}

#[test]
fn a_file_that_may_not_be_read_stops_the_takeover() {
    let runtime = runtime();
    runtime.block_on(async {
        let (disk, state) = furnished().await;
        for (path, _) in files(&disk) {
            let locked = path.clone();
            let twisted = TwistedDisk::new(Arc::new(disk.clone()), move |call| {
                if call.path == locked && call.what == "read" {
                    Twist::Refuse(std::io::ErrorKind::PermissionDenied.into())
                } else {
                    Twist::Go
                }
            });
            let before = disk.contents();
            let store = store_on(DIR, Arc::new(twisted));
            match store.load().await {
                Ok(_) => assert!(records(&store) == state, "{}", path.display()),
                Err(error) => {
                    let text = error.to_string();
                    assert!(matches!(error, Error::Unavailable { .. }), "{text}");
                    assert_eq!(text, format!("read {}: permission denied", path.display()));
                    assert!(store.claim(&candidate("b"), Term(3)).await.is_err());
                    assert!(before == disk.contents());
                }
            }
        }
    });
}

#[test]
fn a_newer_format_is_named_and_left_alone() {
    let runtime = runtime();
    runtime.block_on(async {
        let (disk, state) = furnished().await;
        let path = Path::new(DIR).join("format");
        let newer = wire::Format { cluster: "c".into() };
        disk.damage(&path, |bytes| *bytes = envelope::encode_as(Kind::Format, 2, &newer));
        let error = load(&disk, &state, "a newer format").await.unwrap();
        assert_eq!(error.to_string(), "/state/format has format 2; this program reads up to 1");
        assert!(matches!(error, Error::NewerFormat { found: 2, known: 1, .. }));
        refuse(&disk, Term(3), "a newer format").await;
    });
}

#[test]
fn foreign_bytes_after_the_last_record_are_told() {
    let runtime = runtime();
    runtime.block_on(async {
        let disk = MemoryDisk::new();
        let store = store_on(DIR, Arc::new(disk.clone()));
        let token = claim(&store, "a").await.unwrap();
        store.append(&token, put("k", "v")).await.unwrap();
        let path = Path::new(DIR).join("journal-0000000001-000000");
        let end = disk.contents()[&path].iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for at in end..end + 64 {
            let damaged = disk.fork();
            damaged.damage(&path, |bytes| bytes[at..at + 100].fill(0x5a));
            let error = load(&damaged, &records(&store), "foreign bytes").await.expect("told");
            assert!(error.to_string().contains("journal-0000000001-000000"), "{error}");
        }
    });
}

//! What people are told when the directory cannot be used.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{DIR, claim, put, store_on};
use crate::file::FileStore;
use crate::testing::{MemoryDisk, Twist, TwistedDisk, candidate};
use crate::{Error, Store, Term};

#[tokio::test]
async fn a_directory_that_is_a_file_is_named_with_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    std::fs::write(&path, "something else").unwrap();
    let store = FileStore::open(&path);
    let expected = format!("read the state directory {}: Not a directory (os error 20)", path.display());
    assert_eq!(store.load().await.unwrap_err().to_string(), expected);
    assert_eq!(store.head().await.unwrap_err().to_string(), expected);
    assert_eq!(store.claim(&candidate("a"), Term(0)).await.unwrap_err().to_string(), expected);
    assert_eq!(std::fs::read(&path).unwrap(), b"something else");
}

#[tokio::test]
async fn a_look_at_a_store_that_is_not_there_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let store = FileStore::open(&path);
    store.head().await.unwrap();
    store.load().await.unwrap();
    drop(store.watch(0).await.unwrap());
    assert!(!path.exists());
}

#[tokio::test]
async fn foreign_files_in_the_directory_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("lost+found")).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    let store = FileStore::open(folder.path());
    let token = claim(&store, "a").await.unwrap();
    store.append(&token, put("k", "v")).await.unwrap();
    store.compact(&token, 0).await.unwrap();
    assert_eq!(std::fs::read(folder.path().join("notes.txt")).unwrap(), b"mine");
    assert!(folder.path().join("lost+found").is_dir());
}

#[tokio::test]
async fn the_state_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let store = FileStore::open(&path);
    let token = claim(&store, "a").await.unwrap();
    store.append(&token, put("k", "v")).await.unwrap();
    store.compact(&token, 0).await.unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for entry in std::fs::read_dir(&path).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

#[tokio::test]
async fn a_read_only_directory_is_said_at_the_claim() {
    let disk = TwistedDisk::new(Arc::new(MemoryDisk::new()), |call| match call.what {
        "create" | "create_dir" | "link" | "rename" => Twist::Refuse(ErrorKind::ReadOnlyFilesystem.into()),
        _ => Twist::Go,
    });
    let store = store_on(DIR, Arc::new(disk));
    store.load().await.unwrap();
    let error = store.claim(&candidate("a"), Term(0)).await.unwrap_err();
    assert_eq!(error.to_string(), "make the directory /state: read-only filesystem or storage medium");
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_takes_them_again_when_there_is_room() {
    let full = Arc::new(AtomicBool::new(false));
    let hook = {
        let full = full.clone();
        move |call: crate::testing::Call<'_>| {
            // What was filled with zeros before can be written: only growth fails.
            let grows = call.what == "write" || call.what == "create";
            if full.load(Ordering::SeqCst) && grows {
                return Twist::Half(Box::new(|| ErrorKind::StorageFull.into()));
            }
            Twist::Go
        }
    };
    let store = store_on(DIR, Arc::new(TwistedDisk::new(Arc::new(MemoryDisk::new()), hook)));
    let token = claim(&store, "a").await.unwrap();
    let large = "x".repeat(10_000);
    for round in 0..3 {
        full.store(true, Ordering::SeqCst);
        let error = store.append(&token, put("large", &large)).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Unavailable { .. }), "{text}");
        assert!(text.starts_with("disk full: no room to grow /state/journal-"), "{text}");
        let error = store.compact(&token, 0).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        store.confirm(&token).await.unwrap();
        full.store(false, Ordering::SeqCst);
        assert_eq!(store.append(&token, put("large", &large)).await.unwrap(), round + 1);
    }
    let fresh = store.load().await;
    assert!(fresh.is_ok() && store.view().revision() == 3);
}

#[tokio::test]
async fn a_holder_that_cannot_write_any_more_is_not_confirmed_until_it_claims_again() {
    let broken = Arc::new(AtomicBool::new(false));
    let hook = {
        let broken = broken.clone();
        move |call: crate::testing::Call<'_>| {
            if broken.load(Ordering::SeqCst) && call.what == "sync" {
                return Twist::Refuse(rustix::io::Errno::IO.into());
            }
            Twist::Go
        }
    };
    let store = store_on(DIR, Arc::new(TwistedDisk::new(Arc::new(MemoryDisk::new()), hook)));
    let token = claim(&store, "a").await.unwrap();
    store.append(&token, put("k", "1")).await.unwrap();
    broken.store(true, Ordering::SeqCst);
    let error = store.append(&token, put("k", "2")).await.unwrap_err();
    assert!(matches!(error, Error::Unclear(_)), "{error}");
    broken.store(false, Ordering::SeqCst);
    let error = store.append(&token, put("k", "3")).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    assert!(matches!(store.confirm(&token).await, Err(Error::Unavailable { .. })));
    let token = claim(&store, "a").await.unwrap();
    store.confirm(&token).await.unwrap();
    store.append(&token, put("k", "4")).await.unwrap();
}

#[tokio::test]
async fn a_change_that_is_too_large_is_refused_alone() {
    let store = store_on(DIR, Arc::new(MemoryDisk::new()));
    let token = claim(&store, "a").await.unwrap();
    let huge = "x".repeat(40_000_000);
    let (large, small) =
        tokio::join!(store.append(&token, put("huge", &huge)), store.append(&token, put("small", "v")));
    let error = large.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 33_554_432, .. }), "{error}");
    assert_eq!(small.unwrap(), 1);
}

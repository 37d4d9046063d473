//! A handle that has loaded the state follows what others write.

use super::*;
use crate::Store;

/// Waits until the handle's view shows the key with this value.
async fn shows(store: &FileStore, key: &str, value: &str) {
    let shown = async {
        while store.view().get(key).is_none_or(|record| record.value[..] != *value.as_bytes()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), shown).await.unwrap_or_else(|_| panic!("{key} is {value}"));
}

fn following(dir: &std::path::Path) -> FileStore {
    let tuning = Tuning { catch_up: Duration::from_millis(1), ..Tuning::default() };
    FileStore::tuned(dir, Arc::new(super::super::disk::RealDisk), tuning)
}

#[tokio::test]
async fn who_has_loaded_sees_what_others_write_and_compact_without_asking_and_whoever_leads() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second, third) =
        (following(folder.path()), following(folder.path()), following(folder.path()));
    third.load().await.unwrap();
    let token = claim(&first, "first").await.unwrap();
    first.append(&token, put("a", "1")).await.unwrap();
    shows(&third, "a", "1").await;
    first.append(&token, put("b", "1")).await.unwrap();
    first.compact(&token, 0).await.unwrap();
    first.append(&token, put("a", "2")).await.unwrap();
    shows(&third, "a", "2").await;
    shows(&third, "b", "1").await;

    let token = claim(&second, "second").await.unwrap();
    second.append(&token, put("a", "3")).await.unwrap();
    shows(&third, "a", "3").await;
    // Deposed without a word, it follows, too.
    shows(&first, "a", "3").await;
}

#[tokio::test]
async fn who_holds_the_claim_and_follows_goes_on_writing() {
    let folder = tempfile::tempdir().unwrap();
    let store = following(folder.path());
    store.load().await.unwrap();
    let token = claim(&store, "a").await.unwrap();
    for number in 0..50 {
        store.append(&token, put("a", &number.to_string())).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(store.view().get("a").unwrap().value[..], *b"49");
}

//! A large state, on a real disk.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::claim;
use crate::file::FileStore;
use crate::{Change, Store};

#[tokio::test]
async fn ten_thousand_services_are_written_compacted_loaded_and_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(FileStore::open(folder.path()));
    let token = claim(&*store, "a").await.unwrap();
    let mut writes = JoinSet::new();
    for number in 0..10_000u32 {
        let (store, token) = (store.clone(), token.clone());
        writes.spawn(async move {
            let value = format!("{{\"name\":\"web-{number}\"}}").repeat(50);
            store.append(&token, Change::at(1).put(format!("service/web-{number:05}"), value)).await.unwrap()
        });
    }
    let mut revisions = writes.join_all().await;
    revisions.sort_unstable();
    assert!(revisions.into_iter().eq(1..=10_000));

    let from_journal = FileStore::open(folder.path());
    from_journal.load().await.unwrap();
    assert_eq!(store.compact(&token, 0).await.unwrap(), 10_000);
    let from_snapshot = FileStore::open(folder.path());
    let newer = claim(&from_snapshot, "b").await.unwrap();
    let expected = store.view().scan("service/", None, 20_000);
    assert_eq!(expected.1.len(), 10_000);
    for loaded in [&from_journal, &from_snapshot] {
        assert!(loaded.view().scan("service/", None, 20_000) == expected);
    }
    assert_eq!(from_snapshot.append(&newer, Change::at(1).put("one", "more")).await.unwrap(), 10_001);
    from_journal.load().await.unwrap();
    assert_eq!((from_journal.view().revision(), from_journal.view().count("")), (10_001, 10_001));
}

//! What a watch owes.

use super::*;

/// See the name.
pub async fn a_watch_gives_every_entry_once_and_in_order(site: &impl Site) {
    let store = site.handle();
    let token = claim(&*store, "a").await;
    for number in 1..=5 {
        store.append(&token, put("k", &number.to_string())).await.unwrap();
    }
    let mut whole = store.watch(0).await.unwrap();
    let mut part = store.watch(3).await.unwrap();
    let mut later = store.watch(5).await.unwrap();
    for number in 6..=10 {
        store.append(&token, put("k", &number.to_string())).await.unwrap();
    }
    let entries = take(&mut whole, 10).await;
    let term = token.term().0;
    for (entry, number) in entries.iter().zip(1..) {
        let op = Op::Put { key: "k".into(), value: number.to_string().as_bytes().into() };
        assert_eq!(*entry, Entry { revision: number, term, time_unix_ms: 1, ops: vec![op] });
    }
    assert_eq!(take(&mut part, 7).await, entries[3..]);
    assert_eq!(take(&mut later, 5).await, entries[5..]);
}

/// See the name.
pub async fn a_watch_sees_what_other_handles_write(site: &impl Site) {
    let (writer, reader) = (site.handle(), site.handle());
    let mut early = reader.watch(0).await.unwrap();
    let token = claim(&*writer, "a").await;
    for number in 1..=3 {
        writer.append(&token, put("k", "v")).await.unwrap();
        assert_eq!(revisions(&take(&mut early, 1).await), [number]);
    }
}

/// See the name.
pub async fn a_watch_goes_on_across_takeovers(site: &impl Site) {
    let reader = site.handle();
    let mut watch = reader.watch(0).await.unwrap();
    let mut expected = 0;
    let mut terms = Vec::new();
    for term in 1..=5 {
        let store = site.handle();
        let token = claim(&*store, "a").await;
        terms.push(token.term().0);
        for _ in 0..term {
            expected = store.append(&token, put("k", "v")).await.unwrap();
        }
        if term == 3 {
            store.compact(&token, 100).await.unwrap();
        }
        if term % 2 == 0 {
            let entries = take(&mut watch, term + term - 1).await;
            let written: Vec<_> = entries.iter().map(|entry| entry.term).collect();
            let of = |term: usize| vec![terms[term - 1]; term];
            assert_eq!(written, [of(term - 1), of(term)].concat());
        }
    }
    let rest = take(&mut watch, 5).await;
    assert_eq!(revisions(&rest), (expected - 4..=expected).collect::<Vec<_>>());
}

/// See the name.
pub async fn a_slow_watch_loses_nothing_and_blocks_nobody(site: &impl Site) {
    let store = site.handle();
    let token = claim(&*store, "a").await;
    let mut watch = store.watch(0).await.unwrap();
    for _ in 0..500 {
        store.append(&token, put("k", "v")).await.unwrap();
    }
    assert_eq!(revisions(&take(&mut watch, 500).await), (1..=500).collect::<Vec<_>>());
}

/// See the name.
pub async fn a_compaction_keeps_the_newest_entries_for_watches(site: &impl Site) {
    let store = site.handle();
    let token = claim(&*store, "a").await;
    for _ in 0..20 {
        store.append(&token, put("k", "v")).await.unwrap();
    }
    let mut running = store.watch(15).await.unwrap();
    assert_eq!(store.compact(&token, 5).await.unwrap(), 20);
    let mut resumed = site.handle().watch(15).await.unwrap();
    let mut newest = site.handle().watch(20).await.unwrap();
    store.append(&token, put("k", "v")).await.unwrap();
    assert_eq!(revisions(&take(&mut running, 6).await), (16..=21).collect::<Vec<_>>());
    assert_eq!(revisions(&take(&mut resumed, 6).await), (16..=21).collect::<Vec<_>>());
    assert_eq!(revisions(&take(&mut newest, 1).await), [21]);
}

/// See the name.
pub async fn a_watch_of_compacted_entries_says_so(site: &impl Site) {
    let store = site.handle();
    let token = claim(&*store, "a").await;
    for _ in 0..20 {
        store.append(&token, put("k", "v")).await.unwrap();
    }
    store.compact(&token, 0).await.unwrap();
    for handle in [store, site.handle()] {
        let error = handle.watch(3).await.err().expect("entry 4 is gone");
        let Error::Compacted { after: 3, oldest } = error else { panic!("{error}") };
        assert!((4..=20).contains(&oldest), "{oldest}");
        drop(handle.watch(oldest).await.unwrap());
    }
}

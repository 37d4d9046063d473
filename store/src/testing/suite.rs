//! The conformance suite: what every backend must do, as one function per promise.

mod watch;

pub use watch::*;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_stream::StreamExt;

use super::{Site, candidate};
use crate::{Change, Entry, Error, Expect, Op, Revision, Store, Term, Token, Watch};

async fn claim(store: &dyn Store, name: &str) -> Token {
    let seen = store.head().await.unwrap().term();
    store.claim(&candidate(name), seen).await.unwrap()
}

fn put(key: &str, value: &str) -> Change {
    Change::at(1).put(key, value.to_owned())
}

fn value(store: &dyn Store, key: &str) -> Option<String> {
    store.view().get(key).map(|record| String::from_utf8(record.value.to_vec()).unwrap())
}

/// The next `count` entries, each of which must come within a few seconds.
async fn take(watch: &mut Watch, count: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    while entries.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(20), watch.next()).await;
        let next = next.unwrap_or_else(|_| panic!("no entry came after {entries:?}"));
        entries.push(next.expect("the watch goes on").unwrap());
    }
    entries
}

fn revisions(entries: &[Entry]) -> Vec<Revision> {
    entries.iter().map(|entry| entry.revision).collect()
}

/// See the name.
pub async fn an_empty_store_has_no_claim_and_no_keys(site: &impl Site) {
    let store = site.handle();
    for head in [store.head().await.unwrap(), store.load().await.unwrap()] {
        assert_eq!((head.claim.as_ref(), head.term()), (None, Term(0)));
    }
    assert_eq!((store.view().revision(), store.view().count("")), (0, 0));
    assert!(!store.location().is_empty());
}

/// See the name.
pub async fn terms_grow_with_every_claim_even_of_the_same_holder(site: &impl Site) {
    let store = site.handle();
    let mut before = Term(0);
    for _ in 0..4 {
        let token = claim(&*store, "a").await;
        assert!(token.term() > before, "{} after {before}", token.term());
        before = token.term();
        assert_eq!(store.head().await.unwrap().term(), before);
        store.confirm(&token).await.unwrap();
    }
    let newest = store.head().await.unwrap().claim.unwrap();
    assert_eq!((newest.candidate, newest.released), (candidate("a"), false));
}

/// See the name.
pub async fn a_claim_on_an_older_term_is_outrun(site: &impl Site) {
    let (a, b) = (site.handle(), site.handle());
    let seen = b.head().await.unwrap().term();
    let token = claim(&*a, "a").await;
    let error = b.claim(&candidate("b"), seen).await.unwrap_err();
    let Error::Outrun { seen: Term(0), newest } = error else { panic!("{error}") };
    assert_eq!(newest, token.term());
    a.confirm(&token).await.unwrap();
    a.append(&token, put("k", "v")).await.unwrap();
}

/// See the name.
pub async fn of_many_candidates_one_gets_the_term(site: &impl Site) {
    for round in 0..5 {
        let seen = site.handle().head().await.unwrap().term();
        let mut tries = JoinSet::new();
        for number in 0..6 {
            let store = site.handle();
            tries.spawn(async move {
                let claimed = store.claim(&candidate(&format!("c{number}")), seen).await;
                (number, claimed.map(|token| token.term()))
            });
        }
        let mut winners = Vec::new();
        while let Some(result) = tries.join_next().await {
            match result.unwrap() {
                (number, Ok(term)) => {
                    assert!(term > seen, "{term} after {seen}");
                    winners.push((number, term));
                }
                (_, Err(Error::Outrun { .. })) => {}
                (_, Err(error)) => panic!("{error}"),
            }
        }
        assert_eq!(winners.len(), 1, "of six that claimed in round {round}");
        let holder = site.handle().head().await.unwrap().claim.unwrap();
        let (winner, term) = winners[0];
        assert_eq!((holder.candidate, holder.term), (candidate(&format!("c{winner}")), term));
    }
}

/// See the name.
pub async fn a_deposed_holder_is_fenced_in_everything_it_tries(site: &impl Site) {
    let (a, b) = (site.handle(), site.handle());
    let old = claim(&*a, "a").await;
    a.append(&old, put("k", "old")).await.unwrap();
    let new = claim(&*b, "b").await;
    let terms = (old.term(), new.term());
    let fenced = |error: Error| {
        let Error::Fenced { own, newest } = error else { panic!("{error}") };
        assert_eq!((own, newest), terms);
    };
    fenced(a.append(&old, put("k", "late")).await.unwrap_err());
    fenced(a.compact(&old, 0).await.unwrap_err());
    fenced(a.confirm(&old).await.unwrap_err());
    fenced(a.append(&old, put("k", "later")).await.unwrap_err());
    fenced(a.release(old, None).await.unwrap_err());
    b.confirm(&new).await.unwrap();
    assert_eq!(b.append(&new, put("l", "new")).await.unwrap(), 2);
    a.load().await.unwrap();
    for store in [&a, &b] {
        assert_eq!(value(&**store, "k").as_deref(), Some("old"));
        assert_eq!(value(&**store, "l").as_deref(), Some("new"));
    }
    assert!(!site.handle().load().await.unwrap().claim.unwrap().released);
}

/// See the name.
pub async fn a_claim_names_the_one_before_and_whether_it_was_released(site: &impl Site) {
    let (a, b) = (site.handle(), site.handle());
    let first = claim(&*a, "a").await;
    assert_eq!(first.previous(), None);
    let second = claim(&*b, "b").await;
    let before = second.previous().unwrap();
    assert_eq!((before.term, before.released, &before.candidate), (first.term(), false, &candidate("a")));
    assert_eq!(before.successor, None);
    let term = second.term();
    b.release(second, Some("a")).await.unwrap();
    for head in [a.head().await.unwrap(), a.load().await.unwrap(), site.handle().head().await.unwrap()] {
        let claim = head.claim.unwrap();
        assert_eq!((claim.term, claim.released, claim.successor.as_deref()), (term, true, Some("a")));
    }
    let third = claim(&*a, "a").await;
    let before = third.previous().unwrap();
    assert_eq!((before.term, before.released, &before.candidate), (term, true, &candidate("b")));
    assert_eq!(before.successor.as_deref(), Some("a"));
    assert!(third.term() > term);
    a.release(third, None).await.unwrap();
    let claim = b.head().await.unwrap().claim.unwrap();
    assert_eq!((claim.released, claim.successor), (true, None));
}

/// See the name.
pub async fn nothing_is_appended_after_a_release(site: &impl Site) {
    let store = site.handle();
    let token = claim(&*store, "a").await;
    store.append(&token, put("k", "v")).await.unwrap();
    store.release(token.clone(), None).await.unwrap();
    let fenced = |error: Error| assert!(matches!(error, Error::Fenced { .. }), "{error}");
    fenced(store.append(&token, put("k", "late")).await.unwrap_err());
    fenced(store.compact(&token, 0).await.unwrap_err());
    fenced(store.confirm(&token).await.unwrap_err());
    fenced(store.release(token, None).await.unwrap_err());
    store.load().await.unwrap();
    assert_eq!(value(&*store, "k").as_deref(), Some("v"));
    let token = claim(&*store, "a").await;
    store.append(&token, put("k", "again")).await.unwrap();
}

/// See the name.
pub async fn an_acknowledged_change_is_read_by_every_later_load(site: &impl Site) {
    let (a, b) = (site.handle(), site.handle());
    let token = claim(&*a, "a").await;
    for number in 1..=20 {
        let revision = a.append(&token, put(&format!("k{}", number % 7), &number.to_string())).await.unwrap();
        assert_eq!((revision, a.view().revision()), (number, number));
        b.load().await.unwrap();
        let fresh = site.handle();
        fresh.load().await.unwrap();
        for store in [&b, &fresh] {
            assert_eq!(store.view().revision(), number);
            assert_eq!(store.view().scan("", None, 100), a.view().scan("", None, 100));
        }
    }
}

/// See the name.
pub async fn a_claim_brings_the_view_up_to_date(site: &impl Site) {
    let (a, b) = (site.handle(), site.handle());
    let first = claim(&*a, "a").await;
    a.append(&first, put("k", "1")).await.unwrap();
    let second = claim(&*b, "b").await;
    assert_eq!(value(&*b, "k").as_deref(), Some("1"));
    b.append(&second, put("k", "2").delete("x")).await.unwrap();
    let third = claim(&*a, "a").await;
    assert_eq!(value(&*a, "k").as_deref(), Some("2"));
    assert_eq!(a.append(&third, put("k", "3")).await.unwrap(), 3);
}

/// See the name.
pub async fn a_change_is_all_or_nothing_and_in_order(site: &impl Site) {
    let store = site.handle();
    let token = claim(&*store, "a").await;
    let change = Change::at(5).put("a", "1").put("b", "1").delete("a").put("b", "2").delete("never");
    assert_eq!(store.append(&token, change).await.unwrap(), 1);
    assert_eq!((value(&*store, "a"), value(&*store, "b").as_deref()), (None, Some("2")));
    let refused = put("c", "1").put("b", "3").expect("a", Expect::Present);
    let error = store.append(&token, refused).await.unwrap_err();
    assert!(matches!(&error, Error::Conflict { key, actual: None, .. } if &**key == "a"), "{error}");
    assert_eq!((value(&*store, "c"), value(&*store, "b").as_deref()), (None, Some("2")));
    assert_eq!(store.view().revision(), 1);
    assert_eq!(store.view().get("b").unwrap().modified, 1);
}

/// See the name.
pub async fn an_empty_change_takes_a_revision(site: &impl Site) {
    let (store, other) = (site.handle(), site.handle());
    let token = claim(&*store, "a").await;
    assert_eq!(store.append(&token, Change::at(7)).await.unwrap(), 1);
    other.load().await.unwrap();
    assert_eq!(other.view().revision(), 1);
    let entry = take(&mut other.watch(0).await.unwrap(), 1).await.remove(0);
    assert_eq!(entry, Entry { revision: 1, term: token.term().0, time_unix_ms: 7, ops: Vec::new() });
}

/// See the name.
pub async fn preconditions_are_checked_against_all_earlier_writes(site: &impl Site) {
    let store = site.handle();
    let token = claim(&*store, "a").await;
    let append = async |change: Change| store.append(&token, change).await;
    assert_eq!(append(put("k", "1").expect("k", Expect::Absent)).await.unwrap(), 1);
    let conflict = |error: Error, wanted: Option<Revision>| {
        assert!(matches!(error, Error::Conflict { actual, .. } if actual == wanted), "{error}");
    };
    conflict(append(put("k", "2").expect("k", Expect::Absent)).await.unwrap_err(), Some(1));
    conflict(append(put("k", "2").expect("k", Expect::Modified(7))).await.unwrap_err(), Some(1));
    assert_eq!(append(put("k", "2").expect("k", Expect::Modified(1))).await.unwrap(), 2);
    assert_eq!(append(put("k", "3").expect("k", Expect::Present)).await.unwrap(), 3);
    assert_eq!(append(Change::at(1).delete("k").expect("k", Expect::Modified(3))).await.unwrap(), 4);
    conflict(append(put("k", "5").expect("k", Expect::Present)).await.unwrap_err(), None);
    assert_eq!(append(put("k", "5").expect("k", Expect::Absent)).await.unwrap(), 5);
}

/// See the name.
pub async fn concurrent_appends_get_one_revision_each(site: &impl Site) {
    let store: Arc<dyn Store> = site.handle().into();
    let token = claim(&*store, "a").await;
    let mut writes = JoinSet::new();
    for number in 0..100 {
        let (store, token) = (store.clone(), token.clone());
        writes.spawn(async move {
            let key = format!("k{number:03}");
            (store.append(&token, put(&key, &key)).await.unwrap(), key)
        });
    }
    let mut written = writes.join_all().await;
    written.sort_unstable();
    assert_eq!(
        written.iter().map(|(revision, _)| *revision).collect::<Vec<_>>(),
        (1..=100).collect::<Vec<_>>()
    );
    let fresh = site.handle();
    fresh.load().await.unwrap();
    for (revision, key) in written {
        let record = fresh.view().get(&key).unwrap();
        assert_eq!((record.modified, record.value), (revision, key.as_bytes().into()));
    }
    let entries = take(&mut fresh.watch(0).await.unwrap(), 100).await;
    assert_eq!(revisions(&entries), (1..=100).collect::<Vec<_>>());
}

/// See the name.
pub async fn one_of_many_concurrent_creations_wins(site: &impl Site) {
    let store: Arc<dyn Store> = site.handle().into();
    let token = claim(&*store, "a").await;
    let mut writes = JoinSet::new();
    for number in 0..30 {
        let (store, token) = (store.clone(), token.clone());
        writes.spawn(async move {
            let change = put("k", &number.to_string()).expect("k", Expect::Absent);
            store.append(&token, change).await.map(|revision| (revision, number))
        });
    }
    let (won, lost): (Vec<_>, Vec<_>) = writes.join_all().await.into_iter().partition(Result::is_ok);
    let (revision, number) = won[0].as_ref().unwrap();
    assert_eq!((won.len(), *revision), (1, 1));
    assert!(lost.iter().all(|it| matches!(it, Err(Error::Conflict { actual: Some(1), .. }))), "{lost:?}");
    assert_eq!(value(&*store, "k"), Some(number.to_string()));
    assert_eq!(store.view().revision(), 1);
}

/// See the name.
pub async fn a_state_outlives_compactions_and_claims(site: &impl Site) {
    let follower = site.handle();
    let mut revision = 0;
    for round in 1..=4 {
        let store = site.handle();
        let token = claim(&*store, "a").await;
        for number in 0..10 {
            let key = format!("k{}", (round * number) % 17);
            let change =
                if number % 4 == 3 { Change::at(1).delete(key) } else { put(&key, &number.to_string()) };
            revision = store.append(&token, change).await.unwrap();
            if number % 5 == 4 {
                assert_eq!(store.compact(&token, number).await.unwrap(), revision);
            }
            if number == 6 {
                follower.load().await.unwrap();
            }
        }
        let fresh = site.handle();
        fresh.load().await.unwrap();
        follower.load().await.unwrap();
        for loaded in [&fresh, &follower] {
            assert_eq!(loaded.view().revision(), revision);
            assert_eq!(loaded.view().scan("", None, 100), store.view().scan("", None, 100));
        }
    }
    assert_eq!(revision, 40);
}

/// See the name.
pub async fn identity_is_the_same_for_every_handle(site: &impl Site) {
    let store = site.handle();
    let token = claim(&*store, "a").await;
    assert!(!token.cluster().is_empty());
    for handle in [store, site.handle()] {
        assert_eq!(handle.head().await.unwrap().cluster, token.cluster());
        assert_eq!(handle.load().await.unwrap().cluster, token.cluster());
    }
}

/// See the name.
pub async fn large_and_odd_values_come_back_as_they_were(site: &impl Site) {
    let store = site.handle();
    let token = claim(&*store, "a").await;
    let values: Vec<(String, Vec<u8>)> = vec![
        ("empty".into(), Vec::new()),
        ("zeros".into(), vec![0; 70_000]),
        ("ones".into(), vec![0xff; 4096]),
        ("mebibyte".into(), (0..1_200_000u32).map(|n| (n % 251) as u8).collect()),
        ("ключ/with spaces\n".into(), b"\0\x01".to_vec()),
        ("k".repeat(1000), b"long key".to_vec()),
    ];
    for (key, value) in &values {
        store.append(&token, Change::at(-5).put(key.as_str(), value.clone())).await.unwrap();
    }
    let check = async || {
        let fresh = site.handle();
        fresh.load().await.unwrap();
        for (key, value) in &values {
            assert!(fresh.view().get(key).unwrap().value[..] == value[..], "{key:.20}");
        }
    };
    check().await;
    let entries = take(&mut site.handle().watch(0).await.unwrap(), values.len()).await;
    for (entry, (key, value)) in entries.iter().zip(&values) {
        assert_eq!(entry.time_unix_ms, -5);
        assert!(matches!(&entry.ops[0], Op::Put { key: k, value: v } if **k == **key && v[..] == value[..]));
    }
    store.compact(&token, 0).await.unwrap();
    check().await;
}

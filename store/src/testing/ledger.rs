//! A workload whose every write leaves a trace, and the book of what was answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::candidate;
use crate::{Change, Error, Result, Revision, Store, Token};

/// What is known of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Begun, never answered: it may be there or not.
    None,
    Acknowledged(Revision),
    /// Not written, it was said.
    Refused,
    Unclear,
}

/// The answers, by number of the write.
#[derive(Clone, Default)]
pub(crate) struct Ledger {
    answers: Arc<Mutex<BTreeMap<u32, Answer>>>,
    /// Told of every note at once.
    listener: Option<Arc<dyn Fn(u32, Answer) + Send + Sync>>,
}

impl Ledger {
    pub(crate) fn told(listener: impl Fn(u32, Answer) + Send + Sync + 'static) -> Self {
        Self { listener: Some(Arc::new(listener)), ..Self::default() }
    }

    pub(crate) fn note(&self, number: u32, answer: Answer) {
        self.answers.lock().unwrap().insert(number, answer);
        if let Some(listener) = &self.listener {
            listener(number, answer);
        }
    }

    pub(crate) fn now(&self) -> BTreeMap<u32, Answer> {
        self.answers.lock().unwrap().clone()
    }

    /// Back to what was known at some moment.
    pub(crate) fn rewind(&self, answers: BTreeMap<u32, Answer>) {
        *self.answers.lock().unwrap() = answers;
    }

    /// Does write `number`: two keys in one change, of `size` bytes each.
    pub(crate) async fn write(&self, store: &dyn Store, token: &Token, number: u32, size: usize) -> bool {
        self.note(number, Answer::None);
        let value = filling(number, size);
        let change =
            Change::at(1).put(format!("{number}/a"), value.clone()).put(format!("{number}/b"), value);
        let answer = match store.append(token, change).await {
            Ok(revision) => Answer::Acknowledged(revision),
            Err(Error::Unclear(_)) => Answer::Unclear,
            Err(_) => Answer::Refused,
        };
        self.note(number, answer);
        matches!(answer, Answer::Acknowledged(_))
    }
}

fn filling(number: u32, size: usize) -> String {
    format!("{number}.").repeat(size / 2 + 1)
}

/// Whether a loaded store holds what the answers promise, all of it and nothing else.
pub(crate) fn check(store: &dyn Store, answers: &BTreeMap<u32, Answer>) -> std::result::Result<(), String> {
    let (revision, records) = store.view().scan("", None, usize::MAX);
    let mut found: BTreeMap<u32, Vec<Revision>> = BTreeMap::new();
    for (key, record) in &records {
        let number: u32 =
            key.split_once('/').and_then(|(number, _)| number.parse().ok()).ok_or("a foreign key")?;
        if !record.value.starts_with(format!("{number}.").as_bytes()) {
            return Err(format!("{key} has a foreign value"));
        }
        found.entry(number).or_default().push(record.modified);
    }
    let mut revisions: Vec<Revision> = Vec::new();
    for (number, modified) in &found {
        if modified.len() != 2 || modified[0] != modified[1] {
            return Err(format!("write {number} is there in part: {modified:?}"));
        }
        match answers.get(number) {
            Some(Answer::Acknowledged(revision)) if *revision != modified[0] => {
                return Err(format!("write {number} moved from revision {revision} to {}", modified[0]));
            }
            Some(Answer::Refused) | None => return Err(format!("write {number} was refused, and is there")),
            Some(_) => revisions.push(modified[0]),
        }
    }
    for (number, answer) in answers {
        if matches!(answer, Answer::Acknowledged(_)) && !found.contains_key(number) {
            return Err(format!("write {number} was acknowledged ({answer:?}), and is gone"));
        }
    }
    revisions.sort_unstable();
    if revisions != (1..=revision).collect::<Vec<_>>() {
        return Err(format!("the revisions {revisions:?} are not those up to {revision}"));
    }
    Ok(())
}

/// Loads afresh and checks; then claims, writes and checks again.
pub(crate) async fn verify<S: Store>(
    open: impl Fn() -> S,
    ledger: &Ledger,
) -> std::result::Result<(), String> {
    let told = |error: Error| error.to_string();
    let store = open();
    store.load().await.map_err(told)?;
    check(&store, &ledger.now())?;
    let token = claim(&store, "verifier").await.map_err(told)?;
    check(&store, &ledger.now())?;
    for number in 9000..9003 {
        ledger.write(&store, &token, number, 10).await;
        if !matches!(ledger.now()[&number], Answer::Acknowledged(_)) {
            return Err(format!("write {number} failed after recovery"));
        }
    }
    store.compact(&token, 1).await.map_err(told)?;
    let again = open();
    again.load().await.map_err(told)?;
    check(&again, &ledger.now())
}

/// Everything a holder does: two terms, single and concurrent writes, growth, compactions, a release. Goes on after
/// errors: claims again where it can.
pub(crate) async fn workload(store: &dyn Store, ledger: &Ledger, first: u32) {
    let mut number = first..;
    let mut next = || number.next().unwrap();
    let Ok(token) = insist(store).await else { return };
    for _ in 0..3 {
        ledger.write(store, &token, next(), 10).await;
    }
    let (a, b, c) = (next(), next(), next());
    tokio::join!(
        ledger.write(store, &token, a, 300),
        ledger.write(store, &token, b, 1000),
        ledger.write(store, &token, c, 10)
    );
    // Errors of these show in what is loaded later, or do no harm.
    drop(store.compact(&token, 2).await);
    ledger.write(store, &token, next(), 3000).await;
    ledger.write(store, &token, next(), 10).await;
    drop(store.release(token, None).await);
    let Ok(token) = insist(store).await else { return };
    ledger.write(store, &token, next(), 10).await;
    drop(store.compact(&token, 0).await);
    ledger.write(store, &token, next(), 10).await;
}

/// Claims on what a load saw.
pub(crate) async fn claim(store: &dyn Store, name: &str) -> Result<Token> {
    let seen = store.load().await?.term();
    store.claim(&candidate(name), seen).await
}

async fn insist(store: &dyn Store) -> Result<Token> {
    let mut tries = 0;
    loop {
        let claimed = claim(store, "holder").await;
        tries += 1;
        if claimed.is_ok() || tries == 3 {
            return claimed;
        }
    }
}

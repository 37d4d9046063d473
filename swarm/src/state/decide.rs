//! What a transaction answers, and what it makes of the keys.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use om_kv::{Answer, Found, Guard, Op, Range, Txn, TxnAnswer};

use super::{Fresh, Grave, Mark, Needs, Shelf, Span, State};

/// What a transaction comes to.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) answer: TxnAnswer,
    /// The keys after it; `None`: as before.
    pub(crate) next: Option<State>,
}

/// Why a transaction cannot be decided.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// Values must be fetched first.
    Needs(Needs),
    /// A read in it is not about the newest revision.
    Old(i64),
    /// A key would be written twice.
    Twice(String),
}

/// Does a transaction in memory. `nonce` is what it is known by if it writes.
pub(crate) fn decide(base: &Arc<State>, txn: &Txn, nonce: u64, shelf: &Shelf) -> Result<Decision, Unfit> {
    let mut needs = Needs::default();
    // All guards are looked at, so that whatever is needed is fetched at once.
    let failed = txn.guards.iter().filter(|guard| !holds(base, guard, shelf, &mut needs)).count();
    needs.or(()).map_err(Unfit::Needs)?;
    let succeeded = failed == 0;
    let ops = if succeeded { &txn.then } else { &txn.otherwise };
    let mut step = Step { state: State::clone(base), written: BTreeSet::new(), wrote: false };
    step.state.revision += 1;
    let mut answers = Vec::with_capacity(ops.len());
    let mut needs = Needs::default();
    for op in ops {
        answers.push(match op {
            Op::Put { key, value, lease } => step.put(key, value, *lease)?,
            Op::Delete(range) => Answer::Delete(step.delete(range)),
            Op::Get(range) => Answer::Get(step.get(base, range, shelf, &mut needs)?),
        });
    }
    needs.or(()).map_err(Unfit::Needs)?;
    let Step { mut state, wrote, .. } = step;
    let header = if wrote { state.header() } else { base.header() };
    for answer in &mut answers {
        if let Answer::Get(found) = answer {
            found.header = header;
        }
    }
    let answer = TxnAnswer { header, succeeded, answers };
    if wrote {
        state.remember(nonce);
    }
    Ok(Decision { answer, next: wrote.then_some(state) })
}

fn holds(state: &State, guard: &Guard, shelf: &Shelf, needs: &mut Needs) -> bool {
    let mark = |key: &str| state.get(key).map(|hit| hit.mark);
    match guard {
        Guard::Modified { key, revision } => mark(key).map_or(0, |mark| mark.modified) == *revision,
        Guard::Created { key, revision } => mark(key).map_or(0, |mark| mark.created) == *revision,
        Guard::Present { key } => mark(key).is_some(),
        Guard::Since { key, revision } => mark(key).map_or(0, |mark| mark.modified) >= *revision,
        Guard::Value { key, value } => {
            state.get(key).and_then(|hit| hit.value(shelf, needs)).is_some_and(|found| found == *value)
        }
        Guard::Untouched { prefix, since } => {
            state.scan(&Span::prefix(prefix)).iter().all(|hit| hit.mark.modified <= *since)
        }
    }
}

struct Step<'a> {
    state: State,
    written: BTreeSet<&'a str>,
    wrote: bool,
}

impl<'a> Step<'a> {
    fn put(&mut self, key: &'a str, value: &[u8], lease: i64) -> Result<Answer, Unfit> {
        if !self.written.insert(key) {
            return Err(Unfit::Twice(key.to_owned()));
        }
        let revision = self.state.revision;
        let created = self.state.get(key).map_or(revision, |hit| hit.mark.created);
        let mark = Mark { created, modified: revision, lease };
        let fresh = Fresh { mark, value: Bytes::copy_from_slice(value) };
        self.state.fresh.insert(key.to_owned(), fresh);
        self.wrote = true;
        Ok(Answer::Put)
    }

    fn delete(&mut self, range: &Range) -> u64 {
        let span = Span::of(range);
        let keys: Vec<String> = self.state.scan(&span).iter().map(|hit| hit.key.to_owned()).collect();
        for key in &keys {
            self.state.fresh.remove(key);
        }
        if !keys.is_empty() {
            self.wrote = true;
            let revision = self.state.revision;
            self.state.graves.push(Grave { span, revision });
        }
        keys.len() as u64
    }

    fn get(&self, base: &State, range: &Range, shelf: &Shelf, needs: &mut Needs) -> Result<Found, Unfit> {
        let state = match range.revision {
            0 => &self.state,
            revision if revision == base.revision => base,
            revision => return Err(Unfit::Old(revision)),
        };
        match state.read(range, shelf) {
            Ok(found) => Ok(found),
            Err(missing) => {
                missing.0.iter().for_each(|page| needs.add(page));
                Ok(Found::default())
            }
        }
    }
}

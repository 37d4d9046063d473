//! The requests that took effect, so that a repetition takes no effect and gets the same answer.
//!
//! A request's record is part of the same write as its effect: either both are there or neither. Records are kept for
//! an hour, at least the newest thousand and at most the newest ten thousand; that is far beyond any client's patience.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use om_api::{Error, Reason};
use om_store::{Change, View};
use prost::Message;
use tokio::runtime::RuntimeFlavor;

use super::Reign;
use crate::records::{REQUESTS, RequestRecord, key};

const LEAST_KEPT: usize = 1000;
const MOST_KEPT: usize = 10_000;
const KEPT_FOR_MS: i64 = 60 * 60 * 1000;
/// How many old records one write takes away at most: a write stays small.
const FORGOTTEN_AT_ONCE: usize = 16;
const MAX_ID: usize = 128;

/// The recorded requests, oldest first: the answers themselves are looked up in the state.
#[derive(Default)]
pub(super) struct Requests(Mutex<VecDeque<(i64, String)>>);

/// Takes in the requests of earlier reigns. Nothing waits for it: until then none of them is forgotten.
pub(super) async fn inherit(reign: Reign) {
    let store = reign.0.realm.store.clone();
    let looking = move || recorded_before(store.view());
    let old = match tokio::runtime::Handle::current().runtime_flavor() {
        // There is no other thread that it would hold up.
        RuntimeFlavor::CurrentThread => looking(),
        _ => match tokio::task::spawn_blocking(looking).await {
            Ok(old) => old,
            Err(_) => return,
        },
    };
    let mut all = reign.0.requests.0.lock().unwrap_or_else(PoisonError::into_inner);
    let own: BTreeSet<String> = all.iter().map(|(_, id)| id.clone()).collect();
    let old = old.into_iter().filter(|(_, id)| !own.contains(id));
    *all = old.chain(std::mem::take(&mut *all)).collect();
}

fn recorded_before(view: &View) -> Vec<(i64, String)> {
    let (_, records) = view.scan(REQUESTS, None, usize::MAX);
    let mut all: Vec<_> = records
        .into_iter()
        .map(|(key, record)| {
            // One that cannot be read is of no use to anybody: forgotten first.
            let time = RequestRecord::decode(&*record.value).map_or(0, |read| read.time_unix_ms);
            (time, key[REQUESTS.len()..].to_owned())
        })
        .collect();
    all.sort();
    all
}

impl Reign {
    /// The answer that a request got before, if it took effect, with the revision to answer.
    pub(super) fn answered(&self, id: &str, call: &str) -> Result<Option<(RequestRecord, u64)>, Error> {
        if id.len() > MAX_ID {
            let message = format!("the request id has {} bytes; at most {MAX_ID} are kept", id.len());
            return Err(Error::new(Reason::Refused, message).hint("use a UUID"));
        }
        if id.is_empty() {
            return Ok(None);
        }
        let Some(record) = self.0.realm.store.view().get(&key(REQUESTS, id)) else { return Ok(None) };
        let Ok(read) = RequestRecord::decode(&*record.value) else { return Ok(None) };
        if read.call != call {
            let message = format!("the request id {id} was used for another call: {}", read.call);
            return Err(Error::new(Reason::Refused, message).hint("use a new request id for a new intent"));
        }
        let revision = if read.revision == 0 { record.modified } else { read.revision };
        Ok(Some((read, revision)))
    }

    /// The same change with the request's record in it, and a few outdated records out of it.
    pub(super) fn recorded(&self, mut change: Change, id: &str, record: RequestRecord) -> Change {
        if id.is_empty() {
            return change;
        }
        let now = change.time_unix_ms;
        let mut requests = self.0.requests.0.lock().unwrap_or_else(PoisonError::into_inner);
        for old in outdated(&mut requests, now) {
            change = change.delete(key(REQUESTS, &old));
        }
        requests.push_back((now, id.to_owned()));
        change.put(key(REQUESTS, id), RequestRecord { time_unix_ms: now, ..record }.encode_to_vec())
    }
}

/// Takes out what one more write is to forget.
fn outdated(requests: &mut VecDeque<(i64, String)>, now: i64) -> Vec<String> {
    let mut old = Vec::new();
    while old.len() < FORGOTTEN_AT_ONCE {
        let count = requests.len();
        let over = |time: i64| count > MOST_KEPT || (count > LEAST_KEPT && now - time > KEPT_FOR_MS);
        let Some((_, id)) = requests.pop_front_if(|(time, _)| over(*time)) else { break };
        old.push(id);
    }
    old
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_forgotten_by_age_and_by_number_a_few_at_a_time() {
        let recorded = |count: usize| (0..count).map(|n| (0, n.to_string())).collect::<VecDeque<_>>();
        assert_eq!(outdated(&mut recorded(LEAST_KEPT), KEPT_FOR_MS + 1).len(), 0, "few are kept for ever");
        assert_eq!(outdated(&mut recorded(LEAST_KEPT + 2), KEPT_FOR_MS), Vec::<String>::new());
        assert_eq!(outdated(&mut recorded(LEAST_KEPT + 2), KEPT_FOR_MS + 1), ["0", "1"]);
        let mut many = recorded(MOST_KEPT + FORGOTTEN_AT_ONCE + 3);
        assert_eq!(outdated(&mut many, 0).len(), FORGOTTEN_AT_ONCE);
        assert_eq!(outdated(&mut many, 0), ["16", "17", "18"]);
        assert_eq!(many.len(), MOST_KEPT);
    }
}

//! The requests that took effect, so that a repetition takes no effect and gets the same answer.
//!
//! A request's record is part of the same write as its effect: either both are there or neither. Records are kept for
//! an hour, and at least the newest thousand; that is far beyond any client's patience.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use om_api::{Error, Reason};
use om_store::{Change, View};
use prost::Message;

use super::Reign;
use crate::records::{REQUESTS, RequestRecord, key};

const KEPT: usize = 1000;
const KEPT_FOR_MS: i64 = 60 * 60 * 1000;
/// How many old records one write takes away at most: a write stays small.
const FORGOTTEN_AT_ONCE: usize = 16;
const MAX_ID: usize = 128;

/// The recorded requests, oldest first.
pub(super) struct Requests(Mutex<VecDeque<(i64, String)>>);

impl Requests {
    pub(super) fn inherit(view: &View) -> Self {
        let (_, records) = view.scan(REQUESTS, None, usize::MAX);
        let mut all: Vec<_> = records
            .into_iter()
            .map(|(key, record)| {
                // One that cannot be read is of no use to anybody: forgotten first.
                let time = RequestRecord::decode(record.value).map_or(0, |read| read.time_unix_ms);
                (time, key[REQUESTS.len()..].to_owned())
            })
            .collect();
        all.sort();
        Self(Mutex::new(all.into()))
    }
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
        let Ok(read) = RequestRecord::decode(record.value) else { return Ok(None) };
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
        for _ in 0..FORGOTTEN_AT_ONCE {
            let many = requests.len() > KEPT;
            let Some((_, old)) = requests.pop_front_if(|(time, _)| many && now - *time > KEPT_FOR_MS) else {
                break;
            };
            change = change.delete(key(REQUESTS, &old));
        }
        requests.push_back((now, id.to_owned()));
        change.put(key(REQUESTS, id), RequestRecord { time_unix_ms: now, ..record }.encode_to_vec())
    }
}

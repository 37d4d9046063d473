//! Short words for histories of tests: moments are milliseconds.

use std::time::Duration;

use crate::{Answer, Deed, Event, Intent, Invariant, Kind, Rules, Seen, Stored, What, check};

/// The authority of these histories.
pub(crate) const AUTHORITY: u64 = 10;

/// The invariants that do not hold, each as often as it is found broken.
pub(crate) fn broken(history: &[Event]) -> Vec<Invariant> {
    let rules = Rules::new(Duration::from_millis(AUTHORITY));
    check(history, &rules).into_iter().map(|violation| violation.invariant).collect()
}

fn event(at: u64, what: What) -> Event {
    Event::new(Duration::from_millis(at), what)
}

pub(crate) fn called(at: u64, call: u64, service: &str, intent: Intent) -> Event {
    event(at, What::Called { call, service: service.into(), intent })
}

pub(crate) fn answered(at: u64, call: u64, answer: Answer) -> Event {
    answered_by(at, call, "", answer)
}

pub(crate) fn answered_by(at: u64, call: u64, by: &str, answer: Answer) -> Event {
    event(at, What::Answered { call, by: by.into(), answer })
}

/// Of the last attempt.
pub(crate) fn half_answered(at: u64, call: u64, answer: Answer) -> Event {
    event(at, What::Refused { call, by: String::new(), answer })
}

pub(crate) fn commit(value: u64) -> Intent {
    Intent::Commit { value, if_revision: None }
}

pub(crate) fn create(value: u64) -> Intent {
    Intent::Commit { value, if_revision: Some(0) }
}

pub(crate) fn told(revision: u64) -> Answer {
    Answer::Committed { revision, changed: true }
}

pub(crate) fn stands(value: u64, revision: u64) -> Answer {
    Answer::Stands(Some(Seen { value, revision, destroying: false }))
}

pub(crate) fn steered(at: u64, term: u64, service: &str, revision: u64) -> Event {
    let (plugin, kind, service) = (format!("of {term}"), "record".into(), service.into());
    event(at, What::Acted { plugin, kind, service, term, revision, deed: Deed::Steer })
}

pub(crate) fn died(at: u64, replica: &str) -> Event {
    event(at, What::Died { replica: replica.into() })
}

pub(crate) fn opened(at: u64, watch: u64, after: Option<u64>) -> Event {
    event(at, What::Opened { watch, service: None, after })
}

pub(crate) fn watched(at: u64, watch: u64, stored: Stored) -> Event {
    event(at, What::Watched { watch, stored })
}

pub(crate) fn committed(revision: u64, term: u64, service: &str) -> Stored {
    Stored { revision, term, service: service.into(), kind: Kind::Committed }
}

pub(crate) fn leads(revision: u64, term: u64, leader: &str) -> Stored {
    Stored { revision, term, service: String::new(), kind: Kind::Leadership(leader.into()) }
}

pub(crate) fn stood(at: u64, service: &str, seen: Option<(u64, u64)>, ready: bool) -> Event {
    let seen = seen.map(|(value, revision)| Seen { value, revision, destroying: false });
    event(at, What::Stood { service: service.into(), seen, ready, message: String::new() })
}

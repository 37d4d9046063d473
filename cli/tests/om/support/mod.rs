//! A manager to talk to, and the program to talk with.

pub(crate) mod fake;
pub(crate) mod program;

pub(crate) use fake::Fake;
pub(crate) use program::{Ended, Om};

use om_api::v1;

/// A summary of a service.
pub(crate) fn summary(name: &str, revision: u64, phase: v1::Phase, message: &str) -> v1::Summary {
    v1::Summary {
        name: name.to_owned(),
        kind: "process".to_owned(),
        revision,
        phase: phase.into(),
        message: message.to_owned(),
        labels: [("team".to_owned(), "shop".to_owned())].into(),
    }
}

/// A described service with one member.
pub(crate) fn described(name: &str, revision: u64, phase: v1::Phase, message: &str) -> v1::Description {
    v1::Description {
        summary: Some(summary(name, revision, phase, message)),
        spec_json: br#"{"members":1,"command":["sleep","inf"],"env":{"B":"yes","A":"1"}}"#.to_vec().into(),
        members: vec![v1::Member {
            name: format!("{name}-0"),
            phase: "running".to_owned(),
            address: "127.0.0.1:18080".to_owned(),
            host: "h1".to_owned(),
            message: String::new(),
            details: [("pid".to_owned(), "77".to_owned())].into(),
        }],
    }
}

/// An event of the store.
pub(crate) fn event(revision: u64, kind: v1::EventType, service: &str) -> v1::Event {
    v1::Event {
        revision,
        time_unix_ms: 1_700_000_000_007,
        r#type: kind.into(),
        service: service.to_owned(),
        kind: "process".to_owned(),
        term: 3,
        ..v1::Event::default()
    }
}

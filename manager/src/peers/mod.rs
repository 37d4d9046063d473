//! The lines between replicas, over the same addresses as everything else.

mod dial;
mod serve;

pub(crate) use dial::GrpcNetwork;
pub(crate) use serve::PeerFront;

use std::time::Duration;

use om_api::v1::{link_request as to, link_response as from};
use om_leadership::election::{Answer, Request};

/// What may wait on a line. More than that has been missed, and the next beat is worth more.
const BACKLOG: usize = 64;
/// How long the first word may take.
const GREETING: Duration = Duration::from_secs(2);

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn asked(request: Request) -> to::Message {
    match request {
        Request::Beat { term, electorate, beat, promise } => {
            // Rounded up: what is asked for is never shorter than what the asker counts on.
            let promise_ms = millis(promise).saturating_add(1);
            to::Message::Beat(to::Beat { term, electorate, beat, promise_ms })
        }
        Request::Vote { term, electorate, vote } => to::Message::Vote(to::Vote { term, electorate, vote }),
        Request::Farewell { term } => to::Message::Farewell(to::Farewell { term }),
        Request::Bequest { term, successor } => {
            to::Message::Bequest(to::Bequest { term, successor: successor.unwrap_or_default() })
        }
    }
}

fn request(message: to::Message) -> Option<Request> {
    Some(match message {
        to::Message::Beat(to::Beat { term, electorate, beat, promise_ms }) => {
            let promise = Duration::from_millis(promise_ms.into());
            Request::Beat { term, electorate, beat, promise }
        }
        to::Message::Vote(to::Vote { term, electorate, vote }) => Request::Vote { term, electorate, vote },
        to::Message::Farewell(to::Farewell { term }) => Request::Farewell { term },
        to::Message::Bequest(to::Bequest { term, successor }) => {
            Request::Bequest { term, successor: Some(successor).filter(|name| !name.is_empty()) }
        }
        to::Message::Hello(_) => return None,
    })
}

fn answered(answer: Answer) -> from::Message {
    match answer {
        Answer::Promised { beat } => from::Message::Promised(from::Promised { beat }),
        Answer::Refused { beat, term, electorate } => {
            from::Message::Refused(from::Refused { beat, term, electorate })
        }
        Answer::Ballot { vote, granted, remaining, why } => {
            // Rounded up: what was promised is never told shorter than it is.
            let remaining_ms = millis(remaining).saturating_add(1);
            from::Message::Ballot(from::Ballot { vote, granted, remaining_ms, why })
        }
    }
}

fn answer(message: from::Message) -> Option<Answer> {
    Some(match message {
        from::Message::Promised(from::Promised { beat }) => Answer::Promised { beat },
        from::Message::Refused(from::Refused { beat, term, electorate }) => {
            Answer::Refused { beat, term, electorate }
        }
        from::Message::Ballot(from::Ballot { vote, granted, remaining_ms, why }) => {
            let remaining = Duration::from_millis(remaining_ms.into());
            Answer::Ballot { vote, granted, remaining, why }
        }
        from::Message::Hello(_) => return None,
    })
}

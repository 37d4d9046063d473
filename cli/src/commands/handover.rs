//! `om handover`: the leadership moves because somebody wants it to.
//!
//! It has no request id: done twice it would move twice. So it is not asked for again once it may have been taken; whether
//! it was shows in the term, which grows with every reign.

use std::time::Duration;

use om_api::v1::{self, HandoverRequest, StatusRequest, StatusResponse};
use om_client::Error;

use super::Context;
use crate::connect::{Client, manager};
use crate::failure::{Failure, Result};
use crate::output::shapes::{Handover, Leader};
use crate::output::text;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

pub(super) async fn run(mut context: Context, to: Option<String>) -> Result<()> {
    let before = status(&mut context.client).await?.term;
    let request = HandoverRequest { to: to.unwrap_or_default() };
    let call = |channel, request| async move { manager(channel).handover(request).await };
    let asked: Result<v1::HandoverResponse, Error> = context.client.call_once(&request, call).await;
    let (leader, term) = match asked {
        Ok(v1::HandoverResponse { leader: Some(leader), term }) => (leader, term),
        Ok(v1::HandoverResponse { leader: None, .. }) => {
            return Err(
                Failure::protocol("the manager does not say who leads now").hint("`om status` shows it")
            );
        }
        Err(error) if may_have_been_taken(&error) => successor(&mut context.client, before, error).await?,
        Err(error) => return Err(error.into()),
    };
    let moved = Handover { leader: Leader { name: leader.name, endpoint: leader.endpoint }, term };
    context.out.show(&moved, |_| people(&moved))
}

fn people(Handover { leader, term }: &Handover) -> String {
    let at = if leader.endpoint.is_empty() { String::new() } else { format!(", at {}", leader.endpoint) };
    format!("{}\n", text::one_line(&format!("{} leads now{at}; term {term}", leader.name)))
}

fn may_have_been_taken(error: &Error) -> bool {
    match error {
        Error::Unreachable { under_way, .. } => *under_way,
        Error::Refused { error, .. } => error.reason == om_api::Reason::Unclear,
        Error::Status(_) | Error::TimedOut { .. } | Error::NotLeader { .. } => false,
    }
}

async fn status(client: &mut Client) -> Result<StatusResponse> {
    let call = |channel, request| async move { manager(channel).status(request).await };
    client.call(&StatusRequest {}, call).await
}

/// Who leads under a later term: then it was taken. Asks everybody who is known, in turn.
async fn successor(client: &mut Client, before: u64, error: Error) -> Result<(v1::Leader, u64)> {
    let mut pause = FIRST_PAUSE;
    loop {
        if let Ok(StatusResponse { leader: Some(leader), term, .. }) = status(client).await
            && term > before
        {
            return Ok((leader, term));
        }
        if client.deadline.passed() {
            return Err(Failure::from(error)
                .hint("whether the leadership moved is not known; `om status` shows who leads"));
        }
        client.try_next();
        client.deadline.pause(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

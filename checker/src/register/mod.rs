//! Whether the calls about each service can be put in one order that explains every answer.
//!
//! Services do not know each other, so each is a register of its own, and is searched alone: a history is linearizable
//! if that of each object is. How a service stands at the end counts as a read.

mod search;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::calls::{Call, Calls};
use crate::{Answer, Event, Intent, Invariant, Rules, Violation, What};
use search::{Outcome, Step};
use state::Move;

pub(crate) fn check(calls: &Calls<'_>, events: &[&Event], rules: &Rules, found: &mut Vec<Violation>) {
    let mut steps = BTreeMap::<&str, Vec<Step<'_>>>::new();
    for call in calls.all() {
        let Some(moves) = moves(call) else {
            let what = format!("{}: the answer is none to what was asked", call.service);
            found.push(Violation::new(Invariant::Decided, what, call.evidence()));
            continue;
        };
        let steps = steps.entry(call.service).or_default();
        let mut before = None;
        for made in moves {
            steps.push(Step {
                made,
                from: call.called.at,
                to: call.certain().map_or(Duration::MAX, |answered| answered.event.at),
                before: before.replace(steps.len()),
                evidence: call.evidence(),
            });
        }
    }
    for event in events {
        if let What::Stood { service, seen, .. } = &event.what {
            let (from, to, evidence) = (event.at, event.at, vec![*event]);
            let step = Step { made: Move::See(*seen), from, to, before: None, evidence };
            steps.entry(service).or_default().push(step);
        }
    }
    for (service, mut steps) in steps {
        tell_what_was_seen(&mut steps);
        match search::order(steps, rules.search) {
            Outcome::Found => {}
            Outcome::None { state, stuck } => {
                let what = format!("{service}: after it came to be {state}, none of these can be next");
                found.push(Violation::new(Invariant::Linearizable, what, stuck));
            }
            Outcome::GaveUp => {
                let what = format!("{service}: no order of its calls was found in {} states", rules.search);
                found.push(Violation::new(Invariant::Decided, what, []));
            }
        }
    }
}

/// A declaration that nobody was told of and somebody saw was made before that was over, at the revision that was seen.
fn tell_what_was_seen(steps: &mut [Step<'_>]) {
    let mut seen = BTreeMap::<u64, (u64, Duration)>::new();
    let mut committed = BTreeMap::<u64, usize>::new();
    for step in &*steps {
        let (value, revision) = match step.made {
            Move::See(Some(found)) => (found.value, found.revision),
            Move::Confirm { value, revision, .. } => (value, revision),
            Move::Commit { value, .. } => {
                *committed.entry(value).or_default() += 1;
                continue;
            }
            _ => continue,
        };
        let (_, to) = seen.entry(value).or_insert((revision, step.to));
        *to = step.to.min(*to);
    }
    for step in steps {
        if let Move::Commit { value, told: told @ None, .. } = &mut step.made
            && let Some((revision, to)) = seen.get(value)
            // Of two that declare the same it may have been either.
            && committed.get(value) == Some(&1)
        {
            *told = Some(*revision);
            step.to = *to;
        }
    }
}

/// What a call may do; two moves of one call follow one another. None: the answer is to something else.
fn moves(call: &Call<'_>) -> Option<Vec<Move>> {
    let answer = call.certain().map(|answered| answered.answer);
    Some(match (call.intent, answer) {
        (_, Some(Answer::Refused { .. })) | (Intent::Read, None) => Vec::new(),
        (Intent::Commit { value, if_revision }, None) => {
            vec![Move::Commit { value, if_revision, told: None }]
        }
        (Intent::Commit { value, if_revision }, Some(Answer::Committed { revision, changed: true })) => {
            vec![Move::Commit { value, if_revision, told: Some(*revision) }]
        }
        (Intent::Commit { value, if_revision }, Some(Answer::Committed { revision, changed: false })) => {
            vec![Move::Confirm { value, if_revision, revision: *revision }]
        }
        (Intent::Commit { if_revision: Some(demanded), .. }, Some(Answer::Conflict { stands_at })) => {
            vec![Move::Differ { demanded, stands_at: *stands_at }]
        }
        (Intent::Free, None) => vec![Move::Free { told: None }],
        (Intent::Free, Some(Answer::Freed { revision })) => vec![Move::Free { told: Some(*revision) }],
        (Intent::Destroy, None) => vec![Move::Destroy { told: None }],
        (Intent::Destroy, Some(Answer::Destroyed { revision, done })) => {
            let decided = Move::Destroy { told: Some(*revision) };
            if *done { vec![decided, Move::Gone] } else { vec![decided] }
        }
        (Intent::Read, Some(Answer::Stands(seen))) => vec![Move::See(*seen)],
        (Intent::Free | Intent::Read, Some(Answer::NotFound)) => vec![Move::See(None)],
        (Intent::Destroy, Some(Answer::NotFound)) => vec![Move::Miss],
        _ => return None,
    })
}

//! Violations that are planted into a history that had none.
#![allow(clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]
#![allow(clippy::ptr_arg, reason = "all plants are of one type, and some add to the history")]

use std::time::Duration;

use om_checker::{Answer, Event, Intent, Invariant, Kind, Rules, Seen, What, check};

/// Changes a history so that a promise was broken in it.
type Plant = fn(&mut Vec<Event>, &Rules);

const PLANTS: &[(&str, Invariant, Plant)] = &[
    ("the first term steers at the end", Invariant::OneTermActs, first_term_steers_at_the_end),
    ("a leader died long before its plugin stopped", Invariant::AuthorityEnds, leader_died_long_before),
    ("an acknowledged commit is not stored", Invariant::AcknowledgedIsDurable, lost_commit),
    ("a service that stood is gone at the end", Invariant::Linearizable, gone_at_the_end),
    ("a read sees what was overwritten long ago", Invariant::Linearizable, stale_read),
    ("a watcher misses an event", Invariant::WatchHasNoGaps, missed_event),
    ("a watcher sees an event twice", Invariant::WatchHasNoGaps, event_twice),
    ("two watchers see two leaders of a term", Invariant::OneTermWrites, two_leaders),
    ("a follower acknowledges", Invariant::FollowersRefuse, follower_acknowledges),
    ("a commit is stored that nobody asked for", Invariant::RetryIsSafe, commit_of_nobody),
    ("a plugin acts by what was never declared", Invariant::PersistThenForward, never_declared),
    ("a service is not ready at the end", Invariant::TakeoverIsComplete, not_ready),
];

/// Of plants that a history may offer no hold, so many at most: an event that ends a stream, a plugin whose term is over anyway.
const WITHOUT_HOLD: usize = 2;

/// The plants are found, each in the same history.
pub(crate) fn are_found(history: &[Event], rules: &Rules) {
    let missed: Vec<&str> = PLANTS
        .iter()
        .filter(|(_, invariant, plant)| {
            let mut planted = history.to_vec();
            planted.sort_by_key(|event| event.at);
            plant(&mut planted, rules);
            !check(&planted, rules).iter().any(|violation| violation.invariant == *invariant)
        })
        .map(|(what, ..)| *what)
        .collect();
    assert!(missed.len() <= WITHOUT_HOLD, "not found: {missed:?}");
}

fn end(history: &[Event]) -> Duration {
    history.last().expect("events").at + Duration::from_secs(1)
}

/// The place of the last event of which this holds.
fn last(history: &[Event], holds: impl Fn(&What) -> bool) -> usize {
    history.iter().rposition(|event| holds(&event.what)).expect("such an event")
}

fn first_term_steers_at_the_end(history: &mut Vec<Event>, _: &Rules) {
    let acts = |event: &&Event| matches!(event.what, What::Acted { .. });
    let first = history.iter().find(acts).expect("an effect").what.clone();
    history.push(Event::new(end(history), first));
}

fn leader_died_long_before(history: &mut Vec<Event>, rules: &Rules) {
    let at = last(history, |what| matches!(what, What::Acted { .. }));
    let What::Acted { term, .. } = history[at].what else { unreachable!("an effect") };
    let leader = history.iter().find_map(|event| match &event.what {
        What::Watched { stored, .. } if stored.term == term => match &stored.kind {
            Kind::Leadership(leader) => Some(leader.clone()),
            _ => None,
        },
        _ => None,
    });
    let died = history[at].at;
    let mut late = history[at].clone();
    late.at += rules.authority + Duration::from_millis(1);
    history.push(Event::new(died, What::Died { replica: leader.expect("its leader") }));
    history.push(late);
}

fn lost_commit(history: &mut Vec<Event>, _: &Rules) {
    let made =
        |what: &What| matches!(what, What::Answered { answer: Answer::Committed { changed: true, .. }, .. });
    // One in the middle: what comes after it was watched.
    let half = history.len() / 2;
    let at = last(&history[..half], made);
    let What::Answered { answer: Answer::Committed { revision, .. }, .. } = history[at].what else {
        unreachable!("a commit")
    };
    history
        .retain(|event| !matches!(&event.what, What::Watched { stored, .. } if stored.revision == revision));
}

fn gone_at_the_end(history: &mut Vec<Event>, _: &Rules) {
    let at = last(history, |what| matches!(what, What::Stood { seen: Some(_), .. }));
    let What::Stood { seen, .. } = &mut history[at].what else { unreachable!("a look at the end") };
    *seen = None;
}

fn stale_read(history: &mut Vec<Event>, _: &Rules) {
    let sees = |what: &What| matches!(what, What::Called { intent: Intent::Commit { .. }, .. });
    let at = last(history, sees);
    let What::Called { service, .. } = &history[at].what else { unreachable!("a call") };
    let service = service.clone();
    let stale = history.iter().find_map(|event| match &event.what {
        What::Called { service: other, intent: Intent::Commit { value, .. }, call } if *other == service => {
            let told = history.iter().find_map(|event| match &event.what {
                What::Answered { call: told, answer: Answer::Committed { revision, .. }, .. }
                    if told == call =>
                {
                    Some(*revision)
                }
                _ => None,
            });
            told.map(|revision| Seen { value: *value, revision, destroying: false })
        }
        _ => None,
    });
    let (call, at) = (u64::MAX, end(history));
    let answer = Answer::Stands(Some(stale.expect("a commit of it")));
    history.push(Event::new(at, What::Called { call, service, intent: Intent::Read }));
    history.push(Event::new(at, What::Answered { call, by: String::new(), answer }));
}

/// An event that has others of its stream before and after it.
fn in_a_stream(history: &[Event]) -> usize {
    let stream = |event: &Event| match event.what {
        What::Watched { watch, .. } => Some(watch),
        _ => None,
    };
    let inner = |at: usize| {
        let watch = stream(&history[at]);
        let same = |event: &Event| stream(event) == watch;
        watch.is_some() && history[..at].iter().any(same) && history[at + 1..].iter().any(same)
    };
    let half = history.len() / 2;
    (half..history.len()).find(|at| inner(*at)).expect("a stream of three")
}

fn missed_event(history: &mut Vec<Event>, _: &Rules) {
    let at = in_a_stream(history);
    history.remove(at);
}

fn event_twice(history: &mut Vec<Event>, _: &Rules) {
    let at = in_a_stream(history);
    let again = history[at].clone();
    history.insert(at, again);
}

fn two_leaders(history: &mut Vec<Event>, _: &Rules) {
    let leads = |what: &What| matches!(what, What::Watched { stored, .. } if matches!(stored.kind, Kind::Leadership(_)));
    let at = last(history, leads);
    let What::Watched { stored, .. } = &mut history[at].what else { unreachable!("a leadership") };
    stored.kind = Kind::Leadership("somebody else".to_owned());
}

fn follower_acknowledges(history: &mut Vec<Event>, _: &Rules) {
    let half = history.len() / 2;
    let made =
        |what: &What| matches!(what, What::Answered { answer: Answer::Committed { changed: true, .. }, .. });
    let at = last(&history[..half], made);
    let What::Answered { by, .. } = &mut history[at].what else { unreachable!("an answer") };
    "somebody else".clone_into(by);
}

fn commit_of_nobody(history: &mut Vec<Event>, _: &Rules) {
    // As many as there are calls without an answer, and one more.
    let unclear = history.iter().filter(|event| matches!(event.what, What::Called { .. })).count();
    let newest = history.iter().filter_map(|event| match &event.what {
        What::Watched { stored, .. } => Some(stored.clone()),
        _ => None,
    });
    let newest = newest.max_by_key(|stored| stored.revision).expect("events");
    let at = last(history, |what| matches!(what, What::Watched { .. }));
    let What::Watched { watch, .. } = history[at].what else { unreachable!("a watched event") };
    let at = end(history);
    for number in 0..=u64::try_from(unclear).expect("a number") {
        let mut stored = newest.clone();
        stored.revision += 1 + number;
        stored.kind = Kind::Committed;
        "s-0".clone_into(&mut stored.service);
        history.push(Event::new(at, What::Watched { watch, stored }));
    }
}

fn never_declared(history: &mut Vec<Event>, _: &Rules) {
    let at = last(history, |what| matches!(what, What::Acted { .. }));
    let leads = |event: &&Event| matches!(&event.what, What::Watched { stored, .. } if matches!(stored.kind, Kind::Leadership(_)));
    let What::Watched { stored, .. } = &history.iter().find(leads).expect("a leadership").what else {
        unreachable!("a leadership")
    };
    let began = stored.revision;
    let What::Acted { revision, .. } = &mut history[at].what else { unreachable!("an effect") };
    *revision = began;
}

fn not_ready(history: &mut Vec<Event>, _: &Rules) {
    let at = last(history, |what| matches!(what, What::Stood { seen: Some(_), .. }));
    let What::Stood { ready, .. } = &mut history[at].what else { unreachable!("a look at the end") };
    *ready = false;
}

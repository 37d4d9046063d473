//! Violations that are planted into a history that had none.
#![allow(clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]
#![allow(clippy::ptr_arg, reason = "all plants are of one type, and some add to the history")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use om_checker::{Answer, Event, Intent, Invariant, Kind, Rules, Seen, Stored, What, check};

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

/// Every plant is found, each in the same history.
pub(crate) fn all_are_found(history: &[Event], rules: &Rules) {
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
    assert!(missed.is_empty(), "not found: {missed:?}");
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
    let leaders: BTreeMap<u64, &String> = history.iter().filter_map(leadership).collect();
    let led = |what: &What| matches!(what, What::Acted { term, .. } if leaders.contains_key(term));
    let at = last(history, led);
    let What::Acted { term, .. } = history[at].what else { unreachable!("an effect") };
    let died = What::Died { replica: leaders[&term].clone() };
    let mut late = history[at].clone();
    late.at += rules.authority + Duration::from_millis(1);
    history.push(Event::new(history[at].at, died));
    history.push(late);
}

fn lost_commit(history: &mut Vec<Event>, _: &Rules) {
    let half = history.len() / 2;
    let at = last(&history[..half], |what| made(what).is_some_and(|revision| is_passed(history, revision)));
    let lost = made(&history[at].what);
    history.retain(
        |event| !matches!(&event.what, What::Watched { stored, .. } if Some(stored.revision) == lost),
    );
}

/// The revision of a commit that was acknowledged.
fn made(what: &What) -> Option<u64> {
    match what {
        What::Answered { answer: Answer::Committed { revision, changed: true }, .. } => Some(*revision),
        _ => None,
    }
}

/// Whether a stream began before this revision and went on after it: without such a one nobody can tell that the
/// revision is missing, for where a leader dies all streams end, and all are resumed after what they saw.
fn is_passed(history: &[Event], revision: u64) -> bool {
    let mut began = BTreeSet::new();
    history.iter().any(|event| match &event.what {
        What::Opened { watch, service: None, after: Some(after) } if *after < revision => {
            began.insert(*watch);
            false
        }
        What::Watched { watch, stored } => stored.revision > revision && began.contains(watch),
        _ => false,
    })
}

fn gone_at_the_end(history: &mut Vec<Event>, _: &Rules) {
    let unclear = unclear_ends(history);
    let stays = |what: &What| matches!(what, What::Stood { seen: Some(_), service, .. } if !unclear.contains(service));
    let at = last(history, stays);
    let What::Stood { seen, .. } = &mut history[at].what else { unreachable!("a look at the end") };
    *seen = None;
}

/// The services that a call may still end of which nobody was told what became.
fn unclear_ends(history: &[Event]) -> BTreeSet<String> {
    let answered: BTreeSet<u64> = history
        .iter()
        .filter_map(|event| match &event.what {
            What::Answered { call, .. } => Some(*call),
            _ => None,
        })
        .collect();
    let ends = history.iter().filter_map(|event| match &event.what {
        What::Called { call, service, intent: Intent::Free | Intent::Destroy }
            if !answered.contains(call) =>
        {
            Some(service.clone())
        }
        _ => None,
    });
    ends.collect()
}

fn stale_read(history: &mut Vec<Event>, _: &Rules) {
    let mut asked = BTreeMap::new();
    // By service: what its first commit made, and how many there were.
    let mut commits = BTreeMap::<String, (Seen, usize)>::new();
    for event in history.iter() {
        match &event.what {
            What::Called { call, service, intent: Intent::Commit { value, .. } } => {
                asked.insert(*call, (service, *value));
            }
            What::Answered { call, answer: Answer::Committed { revision, changed: true }, .. } => {
                let (service, value) = asked[call];
                let first = Seen { value, revision: *revision, destroying: false };
                commits.entry(service.clone()).or_insert((first, 0)).1 += 1;
            }
            _ => {}
        }
    }
    let (service, (stale, count)) =
        commits.into_iter().max_by_key(|(_, (_, count))| *count).expect("commits");
    assert!(count > 1, "nothing was overwritten");
    let (call, at) = (u64::MAX, end(history));
    let answer = Answer::Stands(Some(stale));
    history.push(Event::new(at, What::Called { call, service, intent: Intent::Read }));
    history.push(Event::new(at, What::Answered { call, by: String::new(), answer }));
}

/// An event that has others of its stream before and after it, and that another stream brought, too.
fn in_a_stream(history: &[Event]) -> usize {
    let watched = |event: &Event| match &event.what {
        What::Watched { watch, stored } => Some((*watch, stored.clone())),
        _ => None,
    };
    let all: Vec<_> = history.iter().map(watched).collect();
    let of =
        |part: &[Option<(u64, Stored)>], watch: u64| part.iter().flatten().any(|(other, _)| *other == watch);
    let inner = |at: &usize| {
        let Some((watch, stored)) = &all[*at] else { return false };
        let elsewhere = all.iter().flatten().any(|(other, same)| other != watch && same == stored);
        elsewhere && of(&all[..*at], *watch) && of(&all[at + 1..], *watch)
    };
    (history.len() / 2..history.len()).find(inner).expect("a stream of three")
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
    let mut seen = BTreeSet::new();
    let again = |event: &Event| leadership(event).is_some_and(|(term, _)| !seen.insert(term));
    let at = history.iter().rev().position(again).expect("a leadership that two streams brought");
    let at = history.len() - 1 - at;
    let What::Watched { stored, .. } = &mut history[at].what else { unreachable!("a leadership") };
    stored.kind = Kind::Leadership("somebody else".to_owned());
}

/// The term that began, and its leader.
fn leadership(event: &Event) -> Option<(u64, &String)> {
    match &event.what {
        What::Watched { stored: Stored { term, kind: Kind::Leadership(leader), .. }, .. } => {
            Some((*term, leader))
        }
        _ => None,
    }
}

fn follower_acknowledges(history: &mut Vec<Event>, _: &Rules) {
    let half = history.len() / 2;
    let led: BTreeSet<u64> = history.iter().filter_map(leadership).map(|(term, _)| term).collect();
    let known: BTreeSet<u64> = history
        .iter()
        .filter_map(|event| match &event.what {
            What::Watched { stored, .. } if led.contains(&stored.term) => Some(stored.revision),
            _ => None,
        })
        .collect();
    let at = last(&history[..half], |what| made(what).is_some_and(|revision| known.contains(&revision)));
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
    let began = history.iter().find_map(|event| match &event.what {
        What::Watched { stored, .. } if leadership(event).is_some() => {
            is_passed(history, stored.revision).then_some(stored.revision)
        }
        _ => None,
    });
    let What::Acted { revision, .. } = &mut history[at].what else { unreachable!("an effect") };
    *revision = began.expect("a leadership");
}

fn not_ready(history: &mut Vec<Event>, _: &Rules) {
    let at = last(history, |what| matches!(what, What::Stood { seen: Some(_), .. }));
    let What::Stood { ready, .. } = &mut history[at].what else { unreachable!("a look at the end") };
    *ready = false;
}

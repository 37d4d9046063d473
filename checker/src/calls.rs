//! What clients asked and were told, beside the stored history.

use std::collections::BTreeMap;

use crate::journal::Journal;
use crate::{Answer, Event, Intent, Invariant, Kind, Violation, What};

/// One call: all attempts of one intent.
#[derive(Clone, Copy)]
pub(crate) struct Call<'e> {
    pub(crate) service: &'e str,
    pub(crate) intent: Intent,
    pub(crate) called: &'e Event,
    pub(crate) answered: Option<Answered<'e>>,
}

#[derive(Clone, Copy)]
pub(crate) struct Answered<'e> {
    pub(crate) by: &'e str,
    pub(crate) answer: &'e Answer,
    pub(crate) open: bool,
    pub(crate) event: &'e Event,
}

impl<'e> Call<'e> {
    /// What shows it.
    pub(crate) fn evidence(&self) -> Vec<&'e Event> {
        std::iter::once(self.called).chain(self.answered.map(|answered| answered.event)).collect()
    }

    /// The answer that speaks of all its attempts.
    pub(crate) fn certain(&self) -> Option<Answered<'e>> {
        self.answered.filter(|answered| !answered.open)
    }

    /// The revision that it made, if it was told so.
    pub(crate) fn made(&self) -> Option<u64> {
        match self.answered?.answer {
            Answer::Committed { revision, changed: true }
            | Answer::Freed { revision }
            | Answer::Destroyed { revision, .. } => Some(*revision),
            _ => None,
        }
    }

    /// Whether it may have taken effect, or still may, and nobody was told.
    pub(crate) fn is_unclear(&self) -> bool {
        self.answered.is_none_or(|answered| answered.open)
    }
}

/// All calls, in the order in which they began.
pub(crate) struct Calls<'e>(Vec<Call<'e>>);

impl<'e> Calls<'e> {
    pub(crate) fn read(events: &[&'e Event], found: &mut Vec<Violation>) -> Self {
        let mut calls = Vec::new();
        let mut open = BTreeMap::<u64, usize>::new();
        let mut undecided = |what: String, event: &Event| {
            found.push(Violation::new(Invariant::Decided, what, [event]));
        };
        for event in events {
            match &event.what {
                What::Called { call, service, intent } => {
                    if open.insert(*call, calls.len()).is_some() {
                        undecided(format!("two calls have the number {call}"), event);
                    }
                    calls.push(Call { service, intent: *intent, called: event, answered: None });
                }
                What::Answered { call, by, answer } | What::Refused { call, by, answer } => {
                    let maybe = matches!(event.what, What::Refused { .. });
                    match open.get(call) {
                        Some(at) if calls[*at].answered.is_none() => {
                            calls[*at].answered = Some(Answered { by, answer, open: maybe, event });
                        }
                        _ => undecided(format!("call {call} was not made, or was answered before"), event),
                    }
                }
                _ => {}
            }
        }
        Self(calls)
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Call<'e>> {
        self.0.iter()
    }

    /// Those about one service.
    pub(crate) fn about<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a Call<'e>> {
        self.0.iter().filter(move |call| call.service == service)
    }

    /// By service.
    pub(crate) fn by_service(&self) -> BTreeMap<&'e str, Vec<&Call<'e>>> {
        let mut all = BTreeMap::<_, Vec<_>>::new();
        for call in &self.0 {
            all.entry(call.service).or_default().push(call);
        }
        all
    }
}

pub(crate) fn check(calls: &Calls<'_>, journal: &Journal<'_>, found: &mut Vec<Violation>) {
    for call in calls.all() {
        durable(call, journal, found);
        refused_by_followers(call, journal, found);
    }
    let by_service = calls.by_service();
    for service in journal.services() {
        let about = by_service.get(service).map_or(&[][..], Vec::as_slice);
        once(service, about, journal, found);
    }
    for (service, about) in &by_service {
        retried(service, about, found);
    }
}

/// What was acknowledged is stored where it was said to be.
fn durable(call: &Call<'_>, journal: &Journal<'_>, found: &mut Vec<Violation>) {
    let Some(revision) = call.made() else { return };
    let kind = match call.intent {
        Intent::Commit { .. } => Kind::Committed,
        Intent::Free => Kind::Freed,
        // That it is decided is no event.
        Intent::Destroy | Intent::Read => return,
    };
    let known = journal.at(revision, call.service);
    if known.is_some_and(|(stored, _)| stored.kind == kind) || (known.is_none() && !journal.covers(revision))
    {
        return;
    }
    let what = format!("it was acknowledged at revision {revision}, which does not say so");
    let evidence = call.evidence().into_iter().chain(known.map(|(_, event)| event));
    found.push(Violation::new(Invariant::AcknowledgedIsDurable, what, evidence));
}

/// Who acknowledges led when it was written, or later.
fn refused_by_followers(call: &Call<'_>, journal: &Journal<'_>, found: &mut Vec<Violation>) {
    let Some(Answered { by, answer, .. }) = call.answered else { return };
    if let Answer::Refused { reason, leader: Some(named) } = answer
        && (named.name.is_empty() || named.endpoint.is_empty() || named.term == 0)
    {
        let what =
            format!("{by:?} refuses with {reason}, and does not say who leads, where, and in which term");
        found.push(Violation::new(Invariant::FollowersRefuse, what, call.evidence()));
    }
    let Some(term) = call.made().and_then(|revision| journal.term_of(revision)) else { return };
    let Some((_, began)) = journal.leader(term) else { return };
    if !by.is_empty() && journal.terms_of(by).next_back().is_none_or(|newest| newest < term) {
        let what = format!("{by} acknowledged what was written in term {term}, and never led since");
        let evidence = call.evidence().into_iter().chain([began]);
        found.push(Violation::new(Invariant::FollowersRefuse, what, evidence));
    }
}

/// There are no more commits and frees of a service than were asked for.
fn once(service: &str, about: &[&Call<'_>], journal: &Journal<'_>, found: &mut Vec<Violation>) {
    for (kind, wanted) in [(Kind::Committed, true), (Kind::Freed, false)] {
        let is = |call: &&&Call<'_>| match call.intent {
            Intent::Commit { .. } => wanted,
            Intent::Free => !wanted,
            _ => false,
        };
        let told: Vec<u64> = about.iter().filter(is).filter_map(|call| call.made()).collect();
        let unclear = about.iter().filter(is).filter(|call| call.is_unclear()).count();
        let stored = journal.all().filter(|(stored, _)| stored.service == service && stored.kind == kind);
        let nobodys: Vec<&Event> =
            stored.filter(|(stored, _)| !told.contains(&stored.revision)).map(|(_, event)| event).collect();
        if nobodys.len() > unclear {
            let what = format!(
                "{service}: {} of its {kind:?} were acknowledged to nobody, and only {unclear} calls are unclear",
                nobodys.len()
            );
            found.push(Violation::new(Invariant::RetryIsSafe, what, nobodys));
        }
    }
}

/// Nobody is told of a conflict with what it did itself, and two calls never made one revision.
fn retried(service: &str, about: &[&Call<'_>], found: &mut Vec<Violation>) {
    let mut values = BTreeMap::<u64, (u64, &Event)>::new();
    let mut made = BTreeMap::<u64, &Call<'_>>::new();
    for call in about {
        let Some(Answered { answer, event, .. }) = call.answered else { continue };
        if let Answer::Stands(Some(seen)) = answer {
            values.insert(seen.revision, (seen.value, event));
        }
        if let Some(revision) = call.made()
            && let Some(other) = made.insert(revision, call)
        {
            let what = format!("{service}: two calls were told that they made revision {revision}");
            let evidence = other.evidence().into_iter().chain(call.evidence());
            found.push(Violation::new(Invariant::RetryIsSafe, what, evidence));
        }
    }
    for call in about {
        let (Intent::Commit { value, .. }, Some(Answered { answer: Answer::Conflict { stands_at }, .. })) =
            (call.intent, call.answered)
        else {
            continue;
        };
        if let Some((seen, event)) = values.get(stands_at)
            && *seen == value
            && !about.iter().any(|other| other.is_another(call, value))
        {
            let what =
                format!("{service}: it was told of a conflict with revision {stands_at}, which is its own");
            let evidence = call.evidence().into_iter().chain([*event]);
            found.push(Violation::new(Invariant::RetryIsSafe, what, evidence));
        }
    }
}

impl Call<'_> {
    /// Whether this is another commit of the same value than that one.
    fn is_another(&self, than: &Self, value: u64) -> bool {
        !std::ptr::eq(self.called, than.called)
            && matches!(self.intent, Intent::Commit { value: own, .. } if own == value)
    }
}

#[cfg(test)]
mod tests {
    use crate::Invariant::{AcknowledgedIsDurable, Decided, FollowersRefuse, RetryIsSafe};
    use crate::testing::*;
    use crate::{Answer, Event, Invariant, Kind, Named, Stored};

    /// A leads in term 1 from revision 1 on, B in term 2 from revision 3 on.
    fn with(more: &[Event], second: Stored) -> Vec<Invariant> {
        let mut history = vec![
            opened(0, 1, Some(0)),
            watched(9, 1, leads(1, 1, "a")),
            watched(9, 1, second),
            watched(9, 1, leads(3, 2, "b")),
            watched(9, 1, committed(4, 2, "y")),
            called(0, 100, "y", commit(7)),
        ];
        history.extend_from_slice(more);
        broken(&history)
    }

    fn acknowledged(by: &str, revision: u64) -> [Event; 2] {
        [called(1, 1, "x", commit(1)), answered_by(2, 1, by, told(revision))]
    }

    #[test]
    fn what_is_stored_as_it_was_acknowledged_is_fine_whoever_repeats_the_answer() {
        for by in ["a", "b", ""] {
            assert_eq!(with(&acknowledged(by, 2), committed(2, 1, "x")), []);
        }
    }

    #[test]
    fn what_was_acknowledged_and_is_not_stored_is_found() {
        let lost = with(&acknowledged("a", 2), Stored { kind: Kind::Freed, ..committed(2, 1, "x") });
        assert!(lost.contains(&AcknowledgedIsDurable), "{lost:?}");
        let lost = with(&acknowledged("a", 3), committed(2, 1, "x"));
        assert!(lost.contains(&AcknowledgedIsDurable), "{lost:?}");
        let beyond = [called(1, 1, "x", commit(1)), answered(2, 1, told(99))];
        assert_eq!(
            broken(&[vec![opened(0, 1, Some(0))], beyond.to_vec()].concat()),
            [],
            "nobody looked there"
        );
    }

    #[test]
    fn an_acknowledgement_of_who_never_led_since_is_found() {
        assert_eq!(with(&acknowledged("c", 2), committed(2, 1, "x")), [FollowersRefuse]);
        let by_a = [called(1, 1, "y", commit(1)), answered_by(2, 1, "a", told(4))];
        let history = with(&by_a, committed(2, 1, "x"));
        assert!(history.contains(&FollowersRefuse), "{history:?}");
    }

    #[test]
    fn a_refusal_that_sends_nowhere_is_found() {
        let refused = |name: &str, endpoint: &str, term| {
            let named = Named { name: name.into(), endpoint: endpoint.into(), term };
            let answer = Answer::Refused { reason: "NOT_LEADER".into(), leader: Some(named) };
            broken(&[called(1, 1, "x", commit(1)), answered(2, 1, answer)])
        };
        assert_eq!(refused("a", "tcp://a", 1), []);
        for found in [refused("", "tcp://a", 1), refused("a", "", 1), refused("a", "tcp://a", 0)] {
            assert_eq!(found, [FollowersRefuse]);
        }
    }

    #[test]
    fn a_request_that_took_effect_twice_is_found_and_an_unclear_one_may_once() {
        let twice = |answer: &[Event]| {
            let mut history = vec![
                opened(0, 1, Some(0)),
                watched(9, 1, committed(1, 1, "x")),
                called(1, 1, "x", commit(1)),
            ];
            history.extend_from_slice(answer);
            let once = broken(&history);
            history.push(watched(9, 1, committed(2, 1, "x")));
            (once, broken(&history))
        };
        assert_eq!(twice(&[answered(2, 1, told(1))]), (vec![], vec![RetryIsSafe]));
        assert_eq!(twice(&[]), (vec![], vec![RetryIsSafe]));
    }

    #[test]
    fn a_conflict_with_ones_own_write_is_found() {
        let saw = |value, revision| {
            [called(5, 2, "x", crate::Intent::Read), answered(6, 2, stands(value, revision))]
        };
        let told_of =
            |stands_at| [called(1, 1, "x", create(1)), answered(2, 1, Answer::Conflict { stands_at })];
        let found = broken(&[told_of(3), saw(1, 3)].concat());
        assert!(found.contains(&RetryIsSafe), "{found:?}");
        let other = [called(0, 3, "x", commit(2)), answered(1, 3, told(3))];
        assert_eq!(broken(&[other, told_of(3), saw(2, 3)].concat()), []);
    }

    #[test]
    fn a_history_with_calls_of_one_number_cannot_be_judged() {
        let read = crate::Intent::Read;
        assert!(broken(&[called(1, 1, "x", read), called(2, 1, "x", read)]).contains(&Decided));
        assert_eq!(broken(&[answered(2, 1, told(1))]), [Decided]);
    }
}

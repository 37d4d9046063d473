//! What plugins did: by one term at a time, by what was declared, and to nothing that is to be left alone.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::calls::{Call, Calls};
use crate::journal::Journal;
use crate::{Answer, Deed, Event, Intent, Invariant, Kind, Rules, Violation, What};

#[derive(Clone, Copy)]
struct Effect<'e> {
    event: &'e Event,
    kind: &'e str,
    service: &'e str,
    term: u64,
    revision: u64,
    deed: Deed,
}

pub(crate) fn check(
    events: &[&Event],
    calls: &Calls<'_>,
    journal: &Journal<'_>,
    rules: &Rules,
    found: &mut Vec<Violation>,
) {
    let effects: Vec<Effect<'_>> = events.iter().filter_map(|event| Effect::of(event)).collect();
    one_term_acts(&effects, found);
    authority_ends(events, &effects, journal, rules.authority, found);
    declared_before(&effects, calls, journal, found);
    left_alone(&effects, calls, rules.authority, found);
}

impl<'e> Effect<'e> {
    fn of(event: &'e Event) -> Option<Self> {
        let What::Acted { kind, service, term, revision, deed, .. } = &event.what else { return None };
        Some(Self { event, kind, service, term: *term, revision: *revision, deed: *deed })
    }
}

/// Over all services of a kind; what happened at one moment has no order.
fn one_term_acts(effects: &[Effect<'_>], found: &mut Vec<Violation>) {
    // By kind: the first effect of the newest term.
    let mut newest = BTreeMap::<&str, Effect<'_>>::new();
    for effect in effects {
        match newest.get(effect.kind) {
            Some(newer) if newer.term > effect.term && newer.event.at < effect.event.at => {
                let what = format!("term {} acted after term {} had begun to", effect.term, newer.term);
                found.push(Violation::new(Invariant::OneTermActs, what, [newer.event, effect.event]));
            }
            Some(newer) if newer.term >= effect.term => {}
            _ => _ = newest.insert(effect.kind, *effect),
        }
    }
}

fn authority_ends(
    events: &[&Event],
    effects: &[Effect<'_>],
    journal: &Journal<'_>,
    authority: Duration,
    found: &mut Vec<Violation>,
) {
    let mut first = BTreeMap::<u64, Duration>::new();
    let mut last = BTreeMap::<u64, Effect<'_>>::new();
    for effect in effects {
        first.entry(effect.term).or_insert(effect.event.at);
        last.insert(effect.term, *effect);
    }
    for event in events {
        let What::Died { replica } = &event.what else { continue };
        for term in journal.terms_of(replica) {
            // A term of a later life begins later.
            let (Some(begun), Some(effect)) = (first.get(&term), last.get(&term)) else { continue };
            if *begun <= event.at && effect.event.at > event.at + authority {
                let late = effect.event.at.saturating_sub(event.at);
                let what = format!("term {term} acted {late:?} after the death of its leader {replica}");
                found.push(Violation::new(Invariant::AuthorityEnds, what, [*event, effect.event]));
            }
        }
    }
}

/// Each declaration that was acted by is in the stored history, of a term that is not newer, and was asked for before.
fn declared_before(
    effects: &[Effect<'_>],
    calls: &Calls<'_>,
    journal: &Journal<'_>,
    found: &mut Vec<Violation>,
) {
    let asked: BTreeMap<(&str, u64), &Call<'_>> =
        calls.all().filter_map(|call| Some(((call.service, call.made()?), call))).collect();
    // The first effect by each declaration in each term is enough.
    let mut seen = std::collections::BTreeSet::new();
    for effect in effects {
        if !seen.insert((effect.service, effect.revision, effect.term)) {
            continue;
        }
        let mut report = |what: String, other: Option<&Event>| {
            let evidence = other.into_iter().chain([effect.event]);
            found.push(Violation::new(Invariant::PersistThenForward, what, evidence));
        };
        let (service, revision) = (effect.service, effect.revision);
        match journal.at(revision, service) {
            Some((stored, event)) if stored.term > effect.term => {
                report(format!("term {} acted by what term {} wrote", effect.term, stored.term), Some(event));
            }
            Some((stored, event)) if stored.kind != Kind::Committed => {
                report(format!("{service} was not declared at revision {revision}"), Some(event));
            }
            None if journal.covers(revision) => {
                report(format!("{service} was not declared at revision {revision}"), None);
            }
            _ => {}
        }
        if let Some(call) = asked.get(&(service, revision))
            && call.called.at > effect.event.at
        {
            report(format!("{service} was acted on before it was asked for"), Some(call.called));
        }
    }
}

/// What was freed is left alone from the end of the authority on; what is gone, at once. Until it is asked for again.
fn left_alone(effects: &[Effect<'_>], calls: &Calls<'_>, authority: Duration, found: &mut Vec<Violation>) {
    let mut by_service = BTreeMap::<&str, Vec<&Effect<'_>>>::new();
    for effect in effects {
        by_service.entry(effect.service).or_default().push(effect);
    }
    for (service, effects) in by_service {
        let about: Vec<&Call<'_>> = calls.about(service).collect();
        for call in &about {
            let Some(answered) = call.answered else { continue };
            let (grace, word) = match answered.answer {
                Answer::Freed { .. } => (authority, "freed"),
                Answer::Destroyed { done: true, .. } => (Duration::ZERO, "destroyed"),
                _ => continue,
            };
            // A tearing down may follow a freeing, and the other way round nothing may.
            let again = |by: &Call<'_>| {
                let counts = match by.intent {
                    Intent::Commit { .. } => true,
                    Intent::Destroy => word == "freed",
                    _ => false,
                };
                counts
                    && by.may_declare()
                    && (by.is_unclear() || by.answered.is_some_and(|told| told.event.at >= call.called.at))
            };
            let from = effects.partition_point(|effect| effect.event.at <= answered.event.at + grace);
            let Some(effect) = effects.get(from) else { continue };
            // Of all effects after that the first is the judge: what excuses one excuses every later one.
            let mut asked = about.iter().take_while(|by| by.called.at <= effect.event.at);
            if !asked.any(|by| again(by)) {
                let what = format!("{service} was acted on ({:?}) after it had been {word}", effect.deed);
                let evidence = call.evidence().into_iter().chain([effect.event]);
                found.push(Violation::new(Invariant::LeftAlone, what, evidence));
            }
        }
    }
}

impl Call<'_> {
    /// Whether it may have had a part in that the service is acted on.
    fn may_declare(&self) -> bool {
        let stands = |answer: &Answer| matches!(answer, Answer::Committed { .. });
        self.is_unclear()
            || self.made().is_some()
            || self.answered.is_some_and(|answered| stands(answered.answer))
    }
}

#[cfg(test)]
mod tests {
    use crate::Intent::{Destroy, Free};
    use crate::Invariant::{AuthorityEnds, LeftAlone, OneTermActs, PersistThenForward};
    use crate::testing::*;
    use crate::{Answer, Event};

    #[test]
    fn terms_that_act_after_one_another_are_fine() {
        assert_eq!(broken(&[steered(1, 1, "x", 1), steered(2, 1, "x", 1), steered(5, 3, "x", 1)]), []);
        assert_eq!(broken(&[steered(5, 2, "x", 1), steered(5, 1, "x", 1)]), [], "at one moment");
    }

    #[test]
    fn an_older_term_that_acts_after_a_newer_one_is_found_whatever_the_service() {
        let history = [steered(1, 1, "x", 1), steered(2, 2, "x", 1), steered(3, 1, "y", 1)];
        assert_eq!(broken(&history), [OneTermActs]);
    }

    #[test]
    fn a_term_that_acts_long_after_its_leader_died_is_found() {
        let history = |last| {
            [
                opened(0, 1, Some(0)),
                watched(0, 1, leads(1, 1, "a")),
                watched(1, 1, committed(2, 1, "x")),
                called(1, 1, "x", commit(1)),
                steered(2, 1, "x", 2),
                died(3, "a"),
                steered(last, 1, "x", 2),
            ]
        };
        assert_eq!(broken(&history(3 + AUTHORITY)), []);
        assert_eq!(broken(&history(4 + AUTHORITY)), [AuthorityEnds]);
    }

    #[test]
    fn the_next_life_of_a_replica_that_died_may_lead() {
        let history = [
            opened(0, 1, Some(0)),
            watched(0, 1, leads(1, 1, "a")),
            died(3, "a"),
            watched(4, 1, leads(2, 2, "a")),
            watched(4, 1, committed(3, 2, "x")),
            called(4, 1, "x", commit(1)),
            steered(100, 2, "x", 3),
        ];
        assert_eq!(broken(&history), []);
    }

    #[test]
    fn what_was_never_declared_is_not_acted_by() {
        let history = |revision, term| {
            [
                opened(0, 1, Some(0)),
                watched(0, 1, leads(1, 2, "a")),
                called(1, 1, "x", commit(1)),
                watched(1, 1, committed(2, 2, "x")),
                watched(1, 1, leads(3, 3, "b")),
                steered(2, term, "x", revision),
            ]
        };
        assert_eq!(broken(&history(2, 2)), []);
        assert_eq!(broken(&history(2, 3)), []);
        assert_eq!(broken(&history(3, 3)), [PersistThenForward]);
        assert_eq!(broken(&history(1, 2)), [PersistThenForward]);
        assert_eq!(broken(&history(2, 1)), [PersistThenForward]);
    }

    #[test]
    fn nobody_acts_by_what_was_not_asked_for_yet() {
        let history = |at| [steered(at, 1, "x", 2), called(3, 1, "x", commit(1)), answered(4, 1, told(2))];
        assert_eq!(broken(&history(3)), []);
        assert_eq!(broken(&history(2)), [PersistThenForward]);
    }

    fn then(answer: Answer, intent: crate::Intent, effect: u64, more: &[Event]) -> Vec<crate::Invariant> {
        let mut history = vec![
            called(1, 1, "x", commit(1)),
            answered(2, 1, told(2)),
            called(3, 2, "x", intent),
            answered(5, 2, answer),
            steered(effect, 1, "x", 2),
        ];
        history.extend_from_slice(more);
        broken(&history)
    }

    #[test]
    fn what_was_destroyed_is_left_alone_until_it_is_asked_for_again() {
        let done = |effect, more: &[Event]| {
            then(Answer::Destroyed { revision: 3, done: true }, Destroy, effect, more)
        };
        assert_eq!(done(5, &[]), []);
        assert_eq!(done(6, &[]), [LeftAlone]);
        assert_eq!(done(6, &[called(6, 3, "x", commit(2))]), []);
        assert_eq!(done(6, &[called(4, 3, "x", commit(2)), answered(9, 3, told(4))]), []);
        assert_eq!(done(6, &[called(7, 3, "x", commit(2))]), [LeftAlone]);
        let refused = Answer::Refused { reason: "REFUSED".into(), leader: None };
        assert_eq!(done(6, &[called(4, 3, "x", commit(2)), answered(9, 3, refused)]), [LeftAlone]);
    }

    #[test]
    fn what_was_freed_is_left_alone_when_the_authority_is_over() {
        let freed = |effect, more: &[Event]| then(Answer::Freed { revision: 3 }, Free, effect, more);
        assert_eq!(freed(5 + AUTHORITY, &[]), []);
        assert_eq!(freed(6 + AUTHORITY, &[]), [LeftAlone]);
        assert_eq!(freed(6 + AUTHORITY, &[called(6, 3, "x", Destroy)]), []);
    }
}

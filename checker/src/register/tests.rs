//! Histories of one service that can be explained, and histories that cannot.

use crate::Intent::{Destroy, Free, Read};
use crate::Invariant::{Decided, Linearizable};
use crate::testing::*;
use crate::{Answer, Event, Intent, Invariant, Rules, Seen, check};

/// Calls of one service: when each begins and ends, what was asked, and what was told; none: nothing.
type Told = (u64, u64, Intent, Option<Answer>);

fn history(calls: &[Told]) -> Vec<Event> {
    let mut history = Vec::new();
    for (number, (from, to, intent, answer)) in (1..).zip(calls) {
        history.push(called(*from, number, "x", *intent));
        history.extend(answer.clone().map(|answer| answered(*to, number, answer)));
    }
    history
}

fn explained(calls: &[Told]) {
    assert_eq!(broken(&history(calls)), [], "{calls:#?}");
}

fn rejected(calls: &[Told]) {
    let found = broken(&history(calls));
    assert!(found.contains(&Linearizable), "{found:?} in {calls:#?}");
}

fn saw(value: u64, revision: u64) -> Option<Answer> {
    Some(stands(value, revision))
}

const NOTHING: Option<Answer> = Some(Answer::Stands(None));

fn freed(revision: u64) -> Option<Answer> {
    Some(Answer::Freed { revision })
}

fn destroyed(revision: u64, done: bool) -> Option<Answer> {
    Some(Answer::Destroyed { revision, done })
}

fn dying(value: u64, revision: u64) -> Option<Answer> {
    Some(Answer::Stands(Some(Seen { value, revision, destroying: true })))
}

fn at(revision: u64, value: u64) -> Intent {
    Intent::Commit { value, if_revision: Some(revision) }
}

fn ok(revision: u64) -> Option<Answer> {
    Some(told(revision))
}

#[test]
fn calls_one_after_another_are_explained() {
    explained(&[
        (1, 2, Read, NOTHING),
        (3, 4, create(7), ok(1)),
        (5, 6, Read, saw(7, 1)),
        (7, 8, at(1, 8), ok(2)),
        (9, 10, Read, saw(8, 2)),
        (11, 12, commit(8), Some(Answer::Committed { revision: 2, changed: false })),
        (13, 14, Free, freed(4)),
        (15, 16, Read, NOTHING),
        (17, 18, Free, Some(Answer::NotFound)),
        (19, 20, create(9), ok(5)),
        (21, 22, Destroy, destroyed(6, true)),
        (23, 24, Read, NOTHING),
        (25, 26, Destroy, Some(Answer::NotFound)),
        (27, 28, create(9), ok(8)),
    ]);
}

#[test]
fn a_read_of_what_was_overwritten_before_it_began_is_rejected() {
    let calls = |from| [(1, 2, commit(1), ok(1)), (3, 5, commit(2), ok(2)), (from, 9, Read, saw(1, 1))];
    explained(&calls(4));
    explained(&calls(5));
    rejected(&calls(6));
}

#[test]
fn two_reads_that_see_a_write_and_then_not_are_rejected_though_it_is_under_way() {
    let new_then_old = |second| {
        [(1, 2, commit(1), ok(1)), (3, 9, commit(2), ok(2)), (4, 5, Read, saw(2, 2)), (6, 7, Read, second)]
    };
    explained(&new_then_old(saw(2, 2)));
    rejected(&new_then_old(saw(1, 1)));
}

#[test]
fn an_acknowledged_write_that_is_lost_is_rejected() {
    rejected(&[(1, 2, commit(1), ok(1)), (3, 4, Read, NOTHING)]);
    rejected(&[(1, 2, commit(1), ok(1)), (3, 4, commit(2), ok(2)), (5, 6, Read, saw(1, 1))]);
    rejected(&[(1, 2, commit(1), ok(1)), (3, 4, Read, saw(1, 2))]);
}

#[test]
fn a_write_that_was_not_answered_may_be_seen_late_or_never_but_not_in_between() {
    explained(&[(1, 0, commit(1), None), (2, 3, Read, NOTHING), (4, 5, Read, saw(1, 3))]);
    explained(&[(1, 0, commit(1), None), (2, 3, Read, NOTHING), (4, 5, commit(2), ok(1))]);
    explained(&[(1, 0, commit(1), None), (4, 5, at(3, 2), ok(4))]);
    explained(&[
        (1, 2, commit(1), ok(1)),
        (3, 0, Destroy, None),
        (4, 5, Read, saw(1, 1)),
        (6, 7, Read, NOTHING),
    ]);
    rejected(&[(1, 0, commit(1), None), (2, 3, Read, saw(1, 3)), (4, 5, Read, NOTHING)]);
    rejected(&[(1, 0, commit(1), None), (2, 3, Read, saw(1, 3)), (4, 5, Read, saw(1, 4))]);
    rejected(&[(4, 0, commit(1), None), (2, 3, Read, saw(1, 3))]);
}

#[test]
fn a_request_that_takes_effect_a_second_time_is_rejected() {
    rejected(&[
        (1, 2, commit(1), ok(1)),
        (3, 4, commit(2), ok(2)),
        (5, 6, Read, saw(1, 3)),
        (7, 8, Read, saw(1, 3)),
    ]);
}

#[test]
fn what_was_refused_had_no_effect() {
    let refused = || Some(Answer::Refused { reason: "NO_LEADER".into(), leader: None });
    explained(&[(1, 2, commit(1), refused()), (3, 4, Read, NOTHING)]);
    rejected(&[(1, 2, commit(1), refused()), (3, 4, Read, saw(1, 1))]);
}

#[test]
fn of_what_was_refused_after_an_attempt_without_an_answer_anything_may_be_true() {
    for seen in [stands(1, 1), Answer::Stands(None)] {
        let refused = Answer::Refused { reason: "REFUSED".into(), leader: None };
        let write = [called(1, 1, "x", commit(1)), half_answered(2, 1, refused)];
        assert_eq!(broken(&[write, [called(3, 2, "x", Read), answered(4, 2, seen)]].concat()), []);
    }
}

#[test]
fn writes_are_in_the_order_of_their_revisions() {
    explained(&[(1, 9, commit(1), ok(2)), (1, 9, commit(2), ok(1)), (10, 11, Read, saw(1, 2))]);
    rejected(&[(1, 9, commit(1), ok(2)), (1, 9, commit(2), ok(1)), (10, 11, Read, saw(2, 1))]);
    rejected(&[(1, 2, commit(1), ok(2)), (3, 4, commit(2), ok(1))]);
}

#[test]
fn of_two_that_demand_one_revision_one_wins() {
    let lost = |stands_at| Some(Answer::Conflict { stands_at });
    explained(&[(1, 2, commit(1), ok(1)), (3, 9, at(1, 2), ok(2)), (3, 9, at(1, 3), lost(2))]);
    rejected(&[(1, 2, commit(1), ok(1)), (3, 9, at(1, 2), ok(2)), (3, 9, at(1, 3), ok(3))]);
    rejected(&[(1, 2, commit(1), ok(1)), (3, 4, at(1, 2), lost(1))]);
    rejected(&[(1, 2, commit(1), ok(1)), (3, 4, at(7, 2), lost(0))]);
    rejected(&[(1, 2, commit(1), ok(1)), (3, 4, create(2), ok(2))]);
}

#[test]
fn what_is_being_torn_down_may_be_gone_at_any_moment_and_stays_so() {
    let one = (1, 2, commit(1), ok(1));
    for after in [dying(1, 1), NOTHING] {
        explained(&[one.clone(), (3, 4, Destroy, destroyed(2, false)), (5, 6, Read, after)]);
    }
    let destroy = |done| (3, 4, Destroy, destroyed(2, done));
    rejected(&[one.clone(), destroy(true), (5, 6, Read, dying(1, 1))]);
    rejected(&[one.clone(), destroy(false), (5, 6, Read, saw(1, 1))]);
    rejected(&[one.clone(), destroy(false), (5, 6, Read, NOTHING), (7, 8, Read, dying(1, 1))]);
    explained(&[one.clone(), destroy(false), (5, 6, create(2), ok(4))]);
    explained(&[one.clone(), destroy(false), (3, 4, Destroy, destroyed(3, true)), (5, 6, create(2), ok(5))]);
    rejected(&[one, destroy(false), (5, 6, Read, dying(1, 1)), (7, 8, Free, freed(3))]);
}

#[test]
fn what_was_freed_is_remembered_to_be_torn_down() {
    let freed = [(1, 2, commit(1), ok(1)), (3, 4, Free, freed(2))];
    let then = |call: Told| [&freed[..], &[call]].concat();
    explained(&then((5, 6, Destroy, destroyed(3, true))));
    rejected(&then((5, 6, Destroy, Some(Answer::NotFound))));
    rejected(&then((5, 6, Read, saw(1, 1))));
}

#[test]
fn how_it_stands_at_the_end_counts() {
    let mut calls = history(&[(1, 2, commit(1), ok(1))]);
    for (seen, fine) in [(Some((1, 1)), true), (Some((2, 1)), false), (None, false)] {
        calls.push(stood(9, "x", seen, true));
        assert_eq!(broken(&calls).is_empty(), fine, "{seen:?}");
        calls.pop();
    }
}

#[test]
fn an_answer_to_something_else_cannot_be_judged() {
    assert_eq!(broken(&history(&[(1, 2, Read, freed(1))])), [Decided]);
}

#[test]
fn a_declaration_that_nobody_was_told_of_is_made_once_where_it_is_seen() {
    let unclear = || (1, 0, commit(5), None);
    let seen = [unclear(), (4, 5, Read, saw(5, 3)), (6, 7, commit(6), ok(4))];
    explained(&[&seen[..], &[(8, 9, Read, saw(6, 4))]].concat());
    rejected(&[&seen[..], &[(8, 9, Read, saw(5, 3))]].concat());
    rejected(&[unclear(), (2, 3, Read, saw(5, 3)), (4, 5, Read, saw(5, 4))]);
    explained(&[unclear(), unclear(), (2, 3, Read, saw(5, 3)), (4, 5, Read, saw(5, 4))]);
}

#[test]
fn a_search_that_takes_too_long_says_so() {
    // Each of them may have come anywhere, and none of them explains what is seen.
    let mut calls: Vec<Told> = (10..30).map(|value| (1, 0, commit(value), None)).collect();
    calls.push((2, 3, Read, saw(1, 1)));
    let rules = Rules { search: 10, ..Rules::new(std::time::Duration::ZERO) };
    let found: Vec<Invariant> =
        check(&history(&calls), &rules).into_iter().map(|violation| violation.invariant).collect();
    assert_eq!(found, [Decided]);
}

#[test]
fn a_long_history_of_many_clients_is_explained() {
    let mut calls: Vec<Told> = Vec::new();
    for turn in 0..2000 {
        let from = turn * 10;
        // Three that overlap, their revisions in another order than their beginnings, and one in fifty without an answer.
        for client in 0..3 {
            let revision = turn * 3 + (client + turn) % 3 + 1;
            calls.push((from + client, from + 8, commit(revision), ok(revision)));
        }
        if turn % 50 == 0 {
            calls.push((from, 0, commit(1_000_000 + turn), None));
        }
        calls.push((from + 8, from + 9, Read, saw(turn * 3 + 3, turn * 3 + 3)));
    }
    explained(&calls);
    let last = calls.len() - 1;
    calls[last].3 = saw(5999, 5999);
    let rules = Rules { search: 100_000, ..Rules::new(std::time::Duration::ZERO) };
    assert!(!check(&history(&calls), &rules).is_empty());
}

//! What the model says of the rules as they are, and of rules with one mistake in them.

use om_model::{Constellation, Mistake, Move, SEEN, explore};

const ONE_TAKEOVER: Constellation = Constellation::ONE_TAKEOVER;
const TWO_TAKEOVERS: Constellation = Constellation { terms: 3, any_electorate: false, ..ONE_TAKEOVER };

/// What a mistake breaks, and the moves that lead there. The counterexample is a shortest one.
fn counterexample(bounds: Constellation, mistake: Mistake) -> (&'static str, Vec<Move>) {
    let found = explore(Constellation { mistake: Some(mistake), ..bounds }, 1);
    let [(what, moves)] = &found.broken[..] else { panic!("{mistake:?} is not found: {found}") };
    println!("{mistake:?}: {found}");
    (what, moves.clone())
}

fn breaks(bounds: Constellation, mistake: Mistake, what: &str) {
    let (broken, moves) = counterexample(bounds, mistake);
    assert_eq!(broken, what, "{mistake:?} by {moves:?}");
}

#[test]
fn a_takeover_keeps_every_promise_whatever_happens_and_when() {
    let found = explore(ONE_TAKEOVER, 1);
    assert!(found.is_sound(), "{found}");
    assert_eq!(found.seen, SEEN, "a model in which nothing happens proves nothing");
}

#[test]
fn a_plugin_without_a_deadline_steers_beside_its_successor() {
    breaks(ONE_TAKEOVER, Mistake::NoDeadline, "one term acts");
}

#[test]
fn a_claim_that_ignores_promises_acts_beside_the_leader_before() {
    breaks(ONE_TAKEOVER, Mistake::PromiseIgnored, "one term acts");
}

#[test]
fn one_vote_too_few_takes_over_from_a_leader_that_others_promised() {
    breaks(ONE_TAKEOVER, Mistake::QuorumOffByOne, "one term acts");
}

#[test]
fn a_stop_that_is_told_too_early_lets_two_act() {
    breaks(ONE_TAKEOVER, Mistake::ToldBeforeTheStop, "one term acts");
}

#[test]
fn who_votes_and_promises_serves_two_leaders() {
    breaks(ONE_TAKEOVER, Mistake::VotedAndPromised, "one term acts");
}

#[test]
fn a_promise_counted_from_its_answer_lasts_too_long() {
    let bounds = Constellation { slow_promises: true, any_electorate: false, ..ONE_TAKEOVER };
    breaks(bounds, Mistake::CountedFromTheAnswer, "one term acts");
}

#[test]
fn a_claim_that_no_heartbeat_refuses_acts_beside_who_wrote_it() {
    breaks(ONE_TAKEOVER, Mistake::HeartbeatUnguarded, "one term acts");
}

#[test]
fn a_lease_that_ran_out_ends_no_authority() {
    breaks(ONE_TAKEOVER, Mistake::LeaseEndsAuthority, "one term acts");
}

#[test]
fn a_second_claim_counts_on_what_the_first_inherited() {
    breaks(TWO_TAKEOVERS, Mistake::NothingInherited, "one term acts");
}

#[test]
fn without_a_fence_an_old_write_lands() {
    breaks(Constellation { writes: true, ..ONE_TAKEOVER }, Mistake::NoFence, "one term writes");
}

#[test]
fn a_fence_that_compares_names_lets_an_old_write_of_the_same_replica_land() {
    breaks(Constellation { writes: true, ..ONE_TAKEOVER }, Mistake::FenceByName, "one term writes");
}

#[test]
fn a_plugin_that_takes_older_terms_goes_back_to_a_leader_that_was_replaced() {
    breaks(ONE_TAKEOVER, Mistake::OldTermAttends, "terms only grow");
}

#[test]
fn the_last_word_of_an_earlier_session_says_nothing_of_the_next() {
    breaks(ONE_TAKEOVER, Mistake::OldWordCounts, "one term acts");
}

//! Scripts that read as a story, and what must hold whatever happens.

mod invariants;
mod script;

macro_rules! scripts {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            script::check(stringify!($name), include_str!(concat!("tests/testdata/", stringify!($name), ".txt")));
        }
    )*};
}

scripts! {
    a_replica_that_is_named_claims_confirms_and_leads_until_another_is_named
    a_leader_that_cannot_see_goes_on_until_the_deadline
    a_leader_that_cannot_confirm_steps_down_before_its_authority_runs_out
    a_fenced_leader_ends_at_once_and_claims_again_ever_more_slowly
    a_store_that_is_away_is_asked_again_with_longer_pauses
    a_state_that_must_not_be_ruled_over_is_looked_at_again_slowly
    a_claim_that_hangs_is_given_up_and_its_late_answer_is_of_no_use
    a_term_granted_too_late_is_confirmed_before_it_begins
    who_has_resigned_leads_again_only_after_somebody_else_was_named
    who_slept_through_its_deadline_first_learns_that_it_is_over
}

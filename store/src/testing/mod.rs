//! What the tests of a backend need: the conformance suite, and disks that misbehave.
//!
//! A backend says how several handles on one new store are made, a [`Site`], and calls
//! [`conformance_tests!`](crate::conformance_tests) in a test module.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "only tests call this, and a panic is their verdict"
)]

#[cfg(test)]
pub(crate) mod ledger;
mod power;
pub mod suite;
mod twisted;

pub use power::{Dice, Fate, MemoryDisk};
pub use twisted::{Call, Twist, TwistedDisk};

use crate::{Candidate, Store};

/// One store, and handles on it.
pub trait Site: Send + Sync {
    /// One more handle, as another replica has it.
    fn handle(&self) -> Box<dyn Store>;
}

impl<F: Fn() -> Box<dyn Store> + Send + Sync> Site for F {
    fn handle(&self) -> Box<dyn Store> {
        self()
    }
}

/// A candidate of this name.
#[must_use]
pub fn candidate(name: &str) -> Candidate {
    Candidate { name: name.to_owned(), endpoint: format!("unix:///run/{name}.sock"), authority_ms: 2000 }
}

/// The conformance suite as tests: `conformance_tests!(site)`, where `site()` makes a new, empty store and returns an
/// `impl Site`. What it needs may be missing: `conformance_tests!(site, if available())`.
#[macro_export]
macro_rules! conformance_tests {
    ($site:expr) => {
        $crate::conformance_tests!($site, if true);
    };
    ($site:expr, if $available:expr) => {
        $crate::conformance_tests!($site, $available;
            an_empty_store_has_no_claim_and_no_keys,
            terms_grow_with_every_claim_even_of_the_same_holder,
            a_claim_on_an_older_term_is_outrun,
            of_many_candidates_one_gets_the_term,
            a_deposed_holder_is_fenced_in_everything_it_tries,
            a_claim_names_the_one_before_and_whether_it_was_released,
            nothing_is_appended_after_a_release,
            an_acknowledged_change_is_read_by_every_later_load,
            a_claim_brings_the_view_up_to_date,
            a_change_is_all_or_nothing_and_in_order,
            an_empty_change_takes_a_revision,
            preconditions_are_checked_against_all_earlier_writes,
            concurrent_appends_get_one_revision_each,
            one_of_many_concurrent_creations_wins,
            a_state_outlives_compactions_and_claims,
            a_watch_gives_every_entry_once_and_in_order,
            a_watch_sees_what_other_handles_write,
            a_watch_goes_on_across_takeovers,
            a_slow_watch_loses_nothing_and_blocks_nobody,
            a_compaction_keeps_the_newest_entries_for_watches,
            a_watch_of_compacted_entries_says_so,
            identity_is_the_same_for_every_handle,
            large_and_odd_values_come_back_as_they_were,
        );
    };
    ($site:expr, $available:expr; $($name:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if !$available {
                    return;
                }
                $crate::testing::suite::$name(&$site()).await;
            }
        )*
    };
}

//! Judges a history by the promises: what plugins did, what clients asked and were told, what watchers saw, and how
//! everything stood at the end.
//!
//! It knows no process, no clock and no file. Whoever makes a history, real processes or a simulation, hands it over as
//! a list of [`Event`]s, in any order but those of one moment as they followed, and gets every [`Violation`]: the [`Invariant`] that does not hold, and the
//! events that show it. No violation means that nothing in *this* history contradicts the promises.
//!
//! What a history must be, for its judgement to mean something:
//!
//! * **One clock.** Every `at` is read from one clock that never goes back, whatever the clocks of the processes show.
//! * **An effect is stamped before its permission is asked**, and recorded only if that was given. A plugin that is
//!   stopped between its check and its effect cannot know it.
//! * **A call is [`Called`](What::Called) before its first attempt, and [`Answered`](What::Answered) after its last**,
//!   with the answer that its client believes: all attempts of one intent, under one request id, are one call. A call
//!   that was never answered has no `Answered`: it may have taken effect, or may still. A refusal that speaks of the last
//!   attempt only, after one that was not answered, is [`Refused`](What::Refused).
//! * **Every call that changes a service is in the history**, and the service did not exist before it. What imports
//!   a whole state is not understood.
//! * **A value stands for a whole declaration**: two are equal if and only if the declarations are.
//! * **Terms, revisions and services are of one store.**

mod calls;
mod effects;
mod event;
mod invariant;
mod journal;
mod last;
mod register;
mod watches;

use std::time::Duration;

pub use event::{Answer, Deed, Event, Intent, Kind, Named, Seen, Stored, What};
pub use invariant::{Invariant, Violation};

/// What cannot be read off a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How long a plugin may go on steering at most after its leader's last sign of life.
    pub authority: Duration,
    /// How many states of one service are searched for an order of its calls before [`Invariant::Decided`] gives up.
    pub search: usize,
}

impl Rules {
    /// With this authority, and a search that takes seconds at most.
    #[must_use]
    pub fn new(authority: Duration) -> Self {
        Self { authority, search: 1_000_000 }
    }
}

/// Everything in this history that contradicts a promise; empty: nothing does.
#[must_use]
pub fn check(history: &[Event], rules: &Rules) -> Vec<Violation> {
    let mut events: Vec<&Event> = history.iter().collect();
    events.sort_by_key(|event| event.at);
    let mut found = Vec::new();
    let journal = journal::Journal::read(&events, &mut found);
    let calls = calls::Calls::read(&events, &mut found);
    watches::check(&events, &journal, &mut found);
    calls::check(&calls, &journal, &mut found);
    effects::check(&events, &calls, &journal, rules, &mut found);
    register::check(&calls, &events, rules, &mut found);
    last::check(&events, &mut found);
    found
}

#[cfg(test)]
mod testing;

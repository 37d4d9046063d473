//! A model of how leadership passes from one replica to another, explored exhaustively: every order in which things can
//! happen to three replicas, the plugins of two hosts and two services.
//!
//! It says in a few hundred lines what `om-leadership` (the seat: voter, candidacy, rule), the manager (grants, wills,
//! handover) and the plugin SDK (authority, sessions) do in thousands. It shares no code with them, so that a thing done
//! wrong there is not taken for right here. What it leaves out is written down in `docs/reliability.md`.
//!
//! * Time is discrete. Every deadline is kept as what is left of it, so that there is no end of time: what is explored
//!   are runs of any length.
//! * Nothing ever has to happen but that time passes. A replica that is stopped does nothing for any time, one that is cut
//!   off is not heard; so pauses and partitions need no moves of their own, and there may be any number of them, of any
//!   shape and length. A lease may run out, a session break and a follower take a leader for lost at any time. Only
//!   whether somebody leads in the end asks whether a replica is dead.
//! * What can only make matters worse happens at once: see `State::hasten`.
//! * What is bounded are the claims: see [`Constellation`].
//!
//! A [`Mistake`] breaks one rule; that each is found is what the tests of this crate are about.

mod election;
mod explore;
mod moves;
mod plugins;
mod promises;
mod rules;
mod state;
mod time;

pub use explore::{Found, explore};
pub use moves::Move;
pub use promises::{SEEN, SHOULD_HOLD};
pub use rules::{Constellation, Mistake};
pub use state::{By, State};

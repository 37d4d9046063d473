//! What only the mode `swarm` does: the leader keeps to the Swarm's own leader, and nobody leads from a node that cannot.
//!
//! `stand` says what follows from what the engine says of its node, `follow` when to hand over; `task` does it.

mod follow;
mod stand;
mod task;

pub(crate) use task::Attendant;

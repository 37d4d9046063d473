//! What an engine says of its node and of its Swarm: whether it can be asked, who leads, who is there.
//!
//! This is advice, for who should lead and for what a user is told; whoever decides by it must not need it to be right.

mod sight;
mod state;
mod watcher;

pub use sight::{Availability, Manager, Role, Sight};
pub use state::NodeState;
pub use watcher::{NodeOptions, NodeWatch};

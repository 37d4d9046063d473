//! What an engine says of its node and of its Swarm.

mod state;

pub use state::NodeState;

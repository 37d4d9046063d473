//! A Docker Swarm as the place where keys are kept: a [`Keyspace`](om_kv::Keyspace) in the state that its managers
//! replicate, and what an engine says of its node and its Swarm.

mod engine;
mod keyspace;
pub mod node;
mod state;
#[cfg(feature = "testing")]
pub mod testing;
mod wire;

pub use engine::{DEFAULT_HOST, Engine, EngineOptions, OptionsError};
pub use keyspace::{SwarmKeyspace, SwarmOptions};
pub use node::NodeState;

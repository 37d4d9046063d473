//! The daemon `om-manager`: detects the leader, keeps the state, stands before the plugins.
//!
//! A [`config::Config`] becomes an [`app::App`]: addresses are taken, a detector, a store and a campaign are put
//! together, and the front is served. What the campaign says becomes a `Reign` (`succession`), the one value that
//! everything leader-only hangs on; `replica` is what the front asks who this is at the moment; `records` says what
//! stands in the store.

pub mod app;
mod board;
pub mod config;
mod errors;
mod front;
pub mod ground;
mod handover;
mod hub;
mod locks;
mod machinery;
mod office;
mod outlet;
mod packing;
mod peers;
mod records;
mod reflection;
mod reign;
mod renewal;
mod replica;
mod serve;
mod succession;
mod swarm;
mod wills;

/// The version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

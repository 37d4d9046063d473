//! The election through etcd.

mod candidacy;
mod election;
mod io;
mod line;
mod pace;
mod rule;
mod seat;
#[cfg(test)]
mod tests;
mod voter;

pub use election::{At, Election};
pub use io::{Guard, Warrant};
pub use line::{Answer, Incoming, Network, Outgoing, Request};

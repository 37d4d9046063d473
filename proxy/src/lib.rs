//! HOW calls reach plugins.
//!
//! [`discovery`] finds the sockets in the plugins directory; [`upstream`] is the connection to one of them, which
//! comes back by itself after a restart; [`route`] is the port through which a manager says, per call, where it goes;
//! [`passthrough`] carries it there as bytes, never decoding a message that it does not own, or refuses it with the
//! leader's name; [`drain`] counts what is under way, so that a shutdown can wait for it; [`lane`] is the one thread that
//! all of this is quickest on, [`gather`] has what it writes leave together, and `vigil` keeps it awake for what comes back at
//! once.
//!
//! A server is built as `om_api::socket::server().layer(drain.layer()).layer(PassThroughLayer::new(router))`, with the
//! manager's own services inside.

mod cut;
pub mod discovery;
pub mod drain;
pub mod gather;
pub mod lane;
pub mod passthrough;
pub mod route;
pub mod upstream;
mod vigil;

pub use discovery::{Directory, Found, Peer, PeerState, Peers, Refusal, Registry, RegistryOptions};
pub use drain::{Drain, DrainLayer};
pub use gather::Gathered;
pub use lane::{Aside, Lane};
pub use passthrough::PassThroughLayer;
pub use route::{Call, Leader, Passage, Route, Router};
pub use upstream::{Link, Upstream};

#[cfg(test)]
mod testing;

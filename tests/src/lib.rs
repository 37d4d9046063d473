//! Tests of the real programs, together.
//!
//! A [`Bed`] is one machine's worth of OpenManage in a temporary directory: it starts the programs as processes,
//! freezes and kills them, asks `om` and gRPC, and leaves nothing behind. What programs *say* is never enough here:
//! the member program and the plugin of this package write [records](record) of what they did and when, and the
//! tests read the promises off those.
//!
//! The programs are those of the workspace, found beside the tests: `cargo build --workspace --bins` makes them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's harness fails by panicking, with a reason"
)]

mod ask;
mod bed;
mod clocks;
mod etcd;
mod group;
mod hammer;
mod hosts;
mod http;
mod output;
mod part;
mod port;
mod procfs;
mod program;
mod random;
pub mod record;
mod replicas;
mod rpc;
mod settings;
mod specs;
mod swarm;
mod users;
mod wait;

pub use bed::Bed;
pub use clocks::{clocks_possible, shifted};
pub use etcd::{EtcdCluster, Pace};
pub use group::{ETCD_AUTHORITY, Group, NAMES};
pub use hammer::{Accepted, Hammer, Told, longest_gap};
pub use hosts::{Host, Net};
pub use om_api::Reason;

/// The authority deadline of a manager in `os` mode as it comes: how long a plugin may go on steering after the last
/// sign of life of its leader.
pub const AUTHORITY: std::time::Duration = std::time::Duration::from_secs(2);

pub use http::http;
pub use output::{Output, Refusal};
pub use part::{measured, part};
pub use port::free_ports;
pub use program::Program;
pub use random::Random;
pub use rpc::{Client, Failure, Following, channel};
pub use settings::{Settings, environment, moved};
pub use specs::{Spec, container, process, recorded};
pub use swarm::{ELECTION, Engine, IMAGE, IMAGE_2, Swarm, left_of};
pub use users::{Met, Users};
pub use wait::{SOON, wait_for, wait_until};

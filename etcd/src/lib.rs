//! A keyspace in an etcd cluster.
//!
//! A client library that spreads its calls over all endpoints and waits for as long as the caller does is no good for a
//! failover: a call sent to a member that is frozen, cut off or without a leader hangs, and the next one is sent there
//! again. So an [`Etcd`] keeps to one endpoint, gives every attempt a short time, and moves to the next endpoint when
//! one fails. What must hold:
//!
//! * **Nothing is sent twice that does harm twice.** Reads are repeated as they are. A [transaction](om_kv::Txn) is repeated
//!   too, and so may be applied more than once, or late: its guards must make that harmless. Whoever sends one reads
//!   from the answer what holds now, not what this attempt did.
//! * **A slow cluster is not hammered.** Attempts that fail make the next ones longer.
//!
//! Not a failover's worth of time is lost to a member that keeps silent: another is asked beside it.

mod convert;
mod endpoint;
mod etcd;
mod hints;
mod judge;
mod lease;
mod options;
mod pin;
#[cfg(feature = "testing")]
pub mod testing;
mod watch;

pub use etcd::Etcd;
pub use options::{EtcdOptions, OptionsError, Tls};

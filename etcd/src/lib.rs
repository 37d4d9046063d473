//! The way to an etcd cluster, for `leadership` and `store`, which must not know each other.
//!
//! A client library that spreads its calls over all endpoints and waits for as long as the caller does is no good for a
//! failover: a call sent to a member that is frozen, cut off or without a leader hangs, and the next one is sent there
//! again. So an [`Etcd`] keeps to one endpoint, gives every attempt a short time, and moves to the next endpoint when
//! one fails. What must hold:
//!
//! * **Nothing is sent twice that does harm twice.** Reads are repeated as they are. A [transaction](Txn) is repeated
//!   too, and so may be applied more than once, or late: its guards must make that harmless. Whoever sends one reads
//!   from the answer what holds now, not what this attempt did.
//! * **An error says what is known.** [`Error::Unavailable`]: it was not done. [`Error::Unclear`]: it may have been
//!   done, or may still be.
//! * **A slow cluster is not hammered.** Attempts that fail make the next ones longer.
//!
//! [`layout`] has the keys that both look at.

mod endpoint;
mod error;
mod etcd;
mod judge;
pub mod layout;
mod lease;
mod options;
mod pin;
mod range;
#[cfg(feature = "testing")]
pub mod testing;
mod txn;
mod watch;

pub use error::{Error, Failure, Result};
pub use etcd::Etcd;
pub use lease::Granted;
pub use options::{EtcdOptions, OptionsError, Tls};
pub use range::{Found, Header, Kv, Range};
pub use txn::{Answer, Guard, Op, Txn, TxnAnswer};
pub use watch::{Batch, Event, Watching};

//! The wire of OpenManage.
//!
//! Everything that two programs of OpenManage must agree on, and nothing else: the gRPC messages and services
//! ([`v1`]), the [reasons](error::Reason) of errors, the [metadata] that calls carry, the
//! [places] where sockets are found, how a [socket] is bound, the [snapshot] file, and the one
//! [clock] that deadlines are read from. The feature `testing` has certificates for tests.

pub mod clock;
mod codec;
pub mod error;
pub mod metadata;
pub mod names;
mod outcome;
pub mod places;
pub mod snapshot;
pub mod socket;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use error::{Error, Reason};

/// The messages and services of package `om.v1`, generated from `proto/om/v1`.
pub mod v1 {
    tonic::include_proto!("om.v1");

    /// The encoded `FileDescriptorSet` of the package, for server reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("om_v1");
}

/// The version of the interface, as a handshake names it.
pub const PROTOCOL: &str = "om.v1";

/// The largest `spec_json` that is accepted, in bytes. Every store can hold a service of this size in one write.
pub const MAX_SPEC_BYTES: usize = 1024 * 1024;

/// The largest plugin state that is accepted for one service, in bytes.
pub const MAX_STATE_BYTES: usize = 256 * 1024;

/// The largest message that a server of OpenManage reads, in bytes: above what it accepts, so that too large a spec
/// is refused with a reason instead of a transport error.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

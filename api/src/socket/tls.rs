//! TLS for TCP: mutual, 1.3, by rustls with ring.
//!
//! Both sides show a certificate of the same CA. The server asks for the client's at the handshake and leaves it
//! optional there; [`KnownCallers`] then refuses every call that came without, but the one whose token is its proof.
//! Nothing of a session outlives its connection (no tickets), so that a certificate counts anew each time.

mod accept;
mod credentials;
mod files;
mod guard;
mod problem;
#[cfg(test)]
mod tests;

pub use accept::{Accepted, Caller, TcpIncoming};
pub use credentials::{ClientTls, CredentialsError, ServerTls};
pub use files::{CredentialFiles, Credentials};
pub use guard::{GuardService, KnownCallers};
pub use problem::TlsProblem;

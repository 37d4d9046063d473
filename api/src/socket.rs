//! Sockets: unix sockets that are bound so that a live one is never stolen and a stale one never stands in the way; TCP,
//! by TLS; and the way to somebody else's.
//!
//! [`bind`] is the only way in which programs of OpenManage make their socket, [`TcpIncoming`] the way in which they take
//! connections over TCP. [`Address`] is the one parser of endpoint URLs, [`channel`] and [`connect`] the one place that
//! opens connections for generated clients, by a [`Dialer`]; [`server`] is the one set-up of a gRPC server.

mod address;
mod bind;
mod connect;
mod local;
mod server;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

pub use address::{Address, AddressError};
pub use bind::{BindError, BoundSocket, MAX_PATH_BYTES, SocketOptions, bind};
pub use connect::{ConnectError, Dialer, Dialling, Security, channel, connect, connect_by, system};
pub use local::LocalStream;
pub use server::server;
pub use stream::Connection;
pub use tls::{
    Accepted, Caller, ClientTls, CredentialFiles, Credentials, CredentialsError, GuardService, KnownCallers,
    ServerTls, TcpIncoming, TlsProblem,
};

/// Bytes of one HTTP/2 frame, at most; told to the peer by whoever opens or takes a connection. A message of 16 KiB
/// with its prefix is longer than the frames of a peer that was told nothing: it comes in one, and not in two.
pub const MAX_FRAME: u32 = 64 * 1024;

//! Unix sockets: bound so that a live one is never stolen and a stale one never stands in the way; and the way to
//! somebody else's.
//!
//! [`bind`] is the only way in which programs of OpenManage make their socket. [`Address`] is the one parser of
//! endpoint URLs, [`channel`] and [`connect`] the one place that opens connections for generated clients, [`server`]
//! the one set-up of a gRPC server.

mod address;
mod bind;
mod server;
#[cfg(test)]
mod tests;

pub use address::{Address, AddressError, ConnectError, channel, connect};
pub use bind::{BindError, BoundSocket, MAX_PATH_BYTES, SocketOptions, bind};
pub use server::server;

//! The one way in which programs of OpenManage set up a gRPC server.

use tonic::transport::Server;

use super::MAX_FRAME;

/// Calls that one connection may have under way. A manager puts all of its calls to a plugin on one.
const MAX_STREAMS: u32 = 4096;

/// HTTP/2 servers break a connection whose peer resets streams before they were looked at, as a guard against floods
/// (20 of them by default, h2). Here the peer is a proxy whose clients may well give up in crowds; a connection broken
/// for it would take every other call with it, a leader's session too.
const MAX_RESETS: usize = 4096;

/// Bytes of one request that wait to be read, at most.
const STREAM_WINDOW: u32 = 256 * 1024;

/// The largest that HTTP/2 knows: a request that nobody reads must not hold up the others on its connection.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// A server that many callers can share a connection to. Add layers and services, then serve on a
/// [`BoundSocket`](super::BoundSocket).
#[must_use]
pub fn server() -> Server {
    Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_pending_accept_reset_streams(Some(MAX_RESETS))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
}

//! What a replica stands on: this machine, or a simulation of one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use om_api::clock::{self, Clock};
use om_api::socket::{self, Connection, Dialer};
use om_kv::Keyspace;
use om_leadership::{Alarm, Detector};
use om_proxy::discovery::{self, Directory};
use om_store::Store;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_stream::Stream;
use tonic::transport::server::Connected;

use crate::config::Config;

/// Everything outside of the process that a replica touches in the modes `os` and `etcd`.
pub struct Ground {
    /// What deadlines are read from.
    pub clock: Clock,
    /// What wakes the campaign.
    pub alarm: Alarm,
    /// The way to other programs.
    pub dialer: Dialer,
    /// Where plugins are looked for.
    pub directory: Box<dyn Directory>,
    /// Where the state is kept, and who says who leads.
    pub kept: Kept,
    /// Stands before the store in which the state is kept, for everybody but the office, which claims in it.
    pub before_store: Option<BeforeStore>,
}

/// Where the state is kept.
pub enum Kept {
    /// Where the configuration says.
    AsConfigured,
    /// In the mode `etcd`: in these keys, which the election is kept in, too.
    Keys(Arc<dyn Keyspace>),
    /// In the mode `os`: in a store, and the detector says who leads.
    Shared(Arc<dyn Store>, Arc<dyn Detector>),
}

/// Puts something before a store.
pub type BeforeStore = Box<dyn FnOnce(Arc<dyn Store>) -> Arc<dyn Store> + Send>;

impl Ground {
    /// This machine.
    pub(crate) fn machine(config: &Config) -> Self {
        Self {
            clock: clock::boot(),
            alarm: Alarm::machine().unwrap_or_else(|_| Alarm::runtime()),
            dialer: socket::system(),
            directory: discovery::directory(&config.plugins_dir),
            kept: Kept::AsConfigured,
            before_store: None,
        }
    }
}

/// Connections that somebody else takes, at one address.
pub type Incoming = Pin<Box<dyn Stream<Item = io::Result<Taken>> + Send>>;

/// A connection that somebody else took. Who is on the other side is not known.
pub struct Taken(Box<dyn Connection>);

impl Taken {
    /// A connection.
    #[must_use]
    pub fn new(connection: impl Connection + 'static) -> Self {
        Self(Box::new(connection))
    }
}

impl Connected for Taken {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Taken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Taken {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

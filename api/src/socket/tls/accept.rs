//! Connections that come over TCP.
//!
//! What must hold: who connects and is silent, or slow, holds up nobody else, and there are never more of them than a
//! fixed number: then the one that has been silent longest goes.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tonic::transport::server::Connected;

use super::{ServerTls, TlsProblem};

/// How long a handshake may take.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes under way at one time.
const HANDSHAKES: usize = 256;
/// How long, and for how many bytes, the other side is listened to after its handshake failed: closed at once, the
/// kernel would throw away what was said to it last.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELL_BYTES: u64 = 64 * 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who is at the other end of a connection over TCP. Every call on it carries this among its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Where it comes from.
    pub remote: SocketAddr,
    /// Whether the connection is encrypted.
    pub encrypted: bool,
    /// Whether it showed a certificate of a CA that is trusted.
    pub verified: bool,
}

/// A connection over TCP, encrypted or not.
pub struct Accepted {
    stream: Inner,
    caller: Caller,
}

enum Inner {
    Clear(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Accepted").field(&self.caller).finish()
    }
}

impl Connected for Accepted {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller
    }
}

/// Told of whoever failed to shake hands.
type OnFailure = Arc<dyn Fn(SocketAddr, &io::Error) + Send + Sync>;

/// The connections of a listener, for `serve_with_incoming`: it never ends, and waits out a shortage of descriptors
/// instead of failing. With TLS a connection appears when its handshake is done.
pub struct TcpIncoming {
    listener: TcpListener,
    tls: Option<ServerTls>,
    on_failure: OnFailure,
    handshakes: JoinSet<Option<Accepted>>,
    /// Oldest first.
    order: VecDeque<AbortHandle>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl fmt::Debug for TcpIncoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpIncoming").field(&self.listener).finish()
    }
}

impl TcpIncoming {
    /// Accepts by TLS, or in the clear. `on_failure` is told of each handshake that failed.
    pub fn new(
        listener: TcpListener,
        tls: Option<ServerTls>,
        on_failure: impl Fn(SocketAddr, &io::Error) + Send + Sync + 'static,
    ) -> Self {
        Self {
            listener,
            tls,
            on_failure: Arc::new(on_failure),
            handshakes: JoinSet::new(),
            order: VecDeque::new(),
            pause: None,
        }
    }

    fn shake_hands(&mut self, tls: &ServerTls, stream: TcpStream, remote: SocketAddr) {
        self.order.retain(|handshake| !handshake.is_finished());
        if self.order.len() >= HANDSHAKES
            && let Some(oldest) = self.order.pop_front()
        {
            oldest.abort();
        }
        let (acceptor, on_failure) = (tls.acceptor(), self.on_failure.clone());
        let handshake = async move {
            let accepting = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream).into_fallible());
            match accepting.await {
                Ok(Ok(stream)) => {
                    let verified = stream.get_ref().1.peer_certificates().is_some();
                    let caller = Caller { remote, encrypted: true, verified };
                    return Some(Accepted { stream: Inner::Encrypted(Box::new(stream)), caller });
                }
                Ok(Err((error, stream))) => {
                    on_failure(remote, &TlsProblem::of_handshake(error));
                    // It may not be listening any more.
                    let _ = tokio::time::timeout(FAREWELL, farewell(stream)).await;
                }
                Err(_) => {
                    let why = format!("no TLS handshake within {HANDSHAKE:?}");
                    on_failure(remote, &io::Error::new(io::ErrorKind::TimedOut, why));
                }
            }
            None
        };
        self.order.push_back(self.handshakes.spawn(handshake));
    }
}

async fn farewell(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(FAREWELL_BYTES), &mut tokio::io::sink()).await?;
    Ok(())
}

impl Stream for TcpIncoming {
    type Item = io::Result<Accepted>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            while let Poll::Ready(Some(done)) = self.handshakes.poll_join_next(context) {
                if let Ok(Some(accepted)) = done {
                    return Poll::Ready(Some(Ok(accepted)));
                }
            }
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            match std::task::ready!(self.listener.poll_accept(context)) {
                Ok((stream, remote)) => {
                    // Only slower without.
                    let _ = stream.set_nodelay(true);
                    let Some(tls) = self.tls.clone() else {
                        let caller = Caller { remote, encrypted: false, verified: false };
                        return Poll::Ready(Some(Ok(Accepted { stream: Inner::Clear(stream), caller })));
                    };
                    self.shake_hands(&tls, stream, remote);
                }
                // Too many open files, no memory, a peer that is gone already: the next one may do better.
                Err(_) => self.pause = Some(Box::pin(tokio::time::sleep(ACCEPT_PAUSE))),
            }
        }
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Inner::Clear(stream) => Pin::new(stream).poll_read(context, buffer),
            Inner::Encrypted(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Inner::Clear(stream) => Pin::new(stream).poll_write(context, bytes),
            Inner::Encrypted(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Inner::Clear(stream) => Pin::new(stream).poll_flush(context),
            Inner::Encrypted(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Inner::Clear(stream) => Pin::new(stream).poll_shutdown(context),
            Inner::Encrypted(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

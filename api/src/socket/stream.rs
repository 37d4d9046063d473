//! A client's connection over TCP, which says what is wrong with it in words that help.
//!
//! With TLS 1.3 a client hears of the refusal of its certificate only when it reads, long after its own side of the
//! handshake is done; and who speaks in the clear to a port of TLS reads an alert where HTTP/2 should be.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::tls::TlsProblem;

/// A connection to another program, of whatever kind.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// The first two bytes of an alert of TLS 1.0 to 1.3. As HTTP/2 they would begin a frame of more than a megabyte,
/// larger than any first frame.
const ALERT: [u8; 2] = [0x15, 0x03];

/// A connection that translates its errors.
pub(super) struct ClientStream {
    inner: Inner,
    /// Whether anything was read.
    begun: bool,
}

enum Inner {
    Clear(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl ClientStream {
    pub(super) fn clear(stream: TcpStream) -> Self {
        Self { inner: Inner::Clear(stream), begun: false }
    }

    pub(super) fn encrypted(stream: TlsStream<TcpStream>) -> Self {
        Self { inner: Inner::Encrypted(Box::new(stream)), begun: false }
    }

    /// Why writing failed: the other side may have said why it closed before it did.
    fn last_word(&mut self, context: &mut Context<'_>, error: io::Error) -> io::Error {
        let mut byte = [0];
        let read = Pin::new(self).poll_read(context, &mut ReadBuf::new(&mut byte));
        match read {
            Poll::Ready(Err(said)) if TlsProblem::within(&said).is_some() => said,
            _ => error,
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match &mut self.inner {
            Inner::Encrypted(stream) => {
                ready!(Pin::new(stream).poll_read(context, buffer)).map_err(TlsProblem::translate)?;
            }
            Inner::Clear(stream) => {
                ready!(Pin::new(stream).poll_read(context, buffer))?;
                if !self.begun && buffer.filled()[before..].starts_with(&ALERT) {
                    return Poll::Ready(Err(TlsProblem::Encrypted.into()));
                }
            }
        }
        self.begun = true;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.inner {
            Inner::Encrypted(stream) => ready!(Pin::new(stream).poll_write(context, bytes)),
            Inner::Clear(stream) => ready!(Pin::new(stream).poll_write(context, bytes)),
        };
        Poll::Ready(written.map_err(|error| self.last_word(context, error)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match &mut self.inner {
            Inner::Encrypted(stream) => ready!(Pin::new(stream).poll_flush(context)),
            Inner::Clear(stream) => ready!(Pin::new(stream).poll_flush(context)),
        };
        Poll::Ready(flushed.map_err(|error| self.last_word(context, error)))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Encrypted(stream) => Pin::new(stream).poll_shutdown(context),
            Inner::Clear(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

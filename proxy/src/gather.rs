//! Writes that are gathered: what one turn of a thread writes to a connection leaves by one call of the system.
//!
//! HTTP/2 as we have it writes the headers of a call, its message, and each larger frame of a stream by a call of its own,
//! and each wakes the reader. Between these calls nothing happens but other tasks of the same thread, some microseconds of
//! them. So a [`Gathered`] keeps what is written, and a task beside it, which lets the others go first, writes it out.
//! That costs a copy, and the thread hop that a runtime of several threads would make of it: it is for runtimes of one.

#[cfg(test)]
mod tests;

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::task::TaskTracker;
use tonic::transport::server::Connected;

use crate::vigil::Expectation;

/// Bytes that wait to be written, at most; then the writer waits.
const LIMIT: usize = 64 * 1024;

/// So many bytes at once leave at once, with what waits before them: to copy them would cost more than a call.
const LARGE: usize = 8 * 1024;

/// A buffer this small is kept; a larger one is given back, so that ten thousand idle connections hold nothing.
const KEPT: usize = 512;

/// How often the others go first: a task that was woken wakes another one, whose write is to be among the gathered.
const TURNS: u8 = 2;

/// A connection whose writes are gathered. When it is dropped, what waits is written as far as the other side takes it
/// at once.
#[derive(Debug)]
pub struct Gathered<S>(Arc<Mutex<Shared<S>>>);

#[derive(Debug)]
struct Shared<S> {
    stream: S,
    waiting: Vec<u8>,
    /// So many of them are written.
    written: usize,
    /// What writing ended with, for the next who writes.
    failed: Option<io::Error>,
    /// The connection was dropped.
    over: bool,
    flusher: Option<Waker>,
    writer: Option<Waker>,
    expectation: Expectation,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Gathered<S> {
    /// Begins to gather, on the runtime that this is called on.
    #[must_use]
    pub fn new(stream: S) -> Self {
        let shared = Arc::new(Mutex::new(Shared {
            stream,
            waiting: Vec::new(),
            written: 0,
            failed: None,
            over: false,
            flusher: None,
            writer: None,
            expectation: Expectation::new(),
        }));
        // Its owner is the connection, whose end ends it.
        TaskTracker::new().spawn(Flusher { shared: shared.clone(), turn: 0 });
        Self(shared)
    }
}

// Each change under a lock is whole before anything in it can panic.
fn lock<S>(shared: &Mutex<Shared<S>>) -> MutexGuard<'_, Shared<S>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl<S: AsyncWrite + Unpin> Shared<S> {
    fn put(&mut self, context: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Some(failed) = self.failed.take() {
            return Poll::Ready(Err(failed));
        }
        let total = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        if total >= LARGE
            && let Some(taken) = self.put_through(context, pieces)
        {
            return Poll::Ready(taken);
        }
        let mut room = LIMIT.saturating_sub(self.waiting.len());
        if room == 0 {
            self.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let before = self.waiting.len();
        self.waiting.reserve(total.min(room));
        for piece in pieces {
            let taken = &piece[..piece.len().min(room)];
            self.waiting.extend_from_slice(taken);
            room -= taken.len();
        }
        wake(&mut self.flusher);
        Poll::Ready(Ok(self.waiting.len() - before))
    }

    /// Writes at once, behind what waits; `None` if nothing of it was taken. Then it is gathered, so that whatever waits is
    /// the flusher's to write.
    fn put_through(
        &mut self,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Option<io::Result<usize>> {
        let before = self.waiting.len() - self.written;
        let mut all = Vec::with_capacity(pieces.len() + 1);
        if before > 0 {
            all.push(IoSlice::new(&self.waiting[self.written..]));
        }
        all.extend(pieces.iter().map(|piece| IoSlice::new(piece)));
        match Pin::new(&mut self.stream).poll_write_vectored(context, &all) {
            Poll::Pending => None,
            Poll::Ready(Ok(written)) if written < before => {
                self.written += written;
                None
            }
            Poll::Ready(Ok(written)) => {
                self.emptied();
                Some(Ok(written - before)).filter(|taken| before == 0 || !matches!(taken, Ok(0)))
            }
            Poll::Ready(Err(error)) => Some(Err(error)),
        }
    }

    fn emptied(&mut self) {
        self.written = 0;
        self.waiting.clear();
        self.waiting.shrink_to(KEPT);
    }

    /// Ready when nothing waits any more, or nothing can be written.
    fn write_out(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.written < self.waiting.len() {
            let rest = &self.waiting[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest)) {
                Ok(0) => self.failed = Some(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.written += written;
                    continue;
                }
                Err(error) => self.failed = Some(error),
            }
            break;
        }
        self.emptied();
        self.expectation.wrote();
        wake(&mut self.writer);
        Poll::Ready(())
    }
}

/// Writes out what waits.
struct Flusher<S> {
    shared: Arc<Mutex<Shared<S>>>,
    /// How often the others went first.
    turn: u8,
}

impl<S: AsyncWrite + Unpin> Future for Flusher<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut shared = lock(&this.shared);
        if shared.over {
            let _ = shared.write_out(context);
            return Poll::Ready(());
        }
        if shared.waiting.is_empty() {
            this.turn = 0;
            shared.flusher = Some(context.waker().clone());
            return Poll::Pending;
        }
        if this.turn < TURNS {
            this.turn += 1;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        // To be woken by a drop while the other side does not read.
        shared.flusher = Some(context.waker().clone());
        if shared.write_out(context).is_ready() {
            this.turn = 0;
        }
        Poll::Pending
    }
}

impl<S> Drop for Gathered<S> {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        shared.over = true;
        wake(&mut shared.flusher);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.0);
        let read = Pin::new(&mut shared.stream).poll_read(context, buffer);
        if read.is_ready() {
            shared.expectation.read();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        lock(&self.0).put(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).put(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What waits leaves soon without anybody's doing.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(lock(&self.0).failed.take().map_or(Ok(()), Err))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.0);
        if let Some(failed) = shared.failed.take() {
            return Poll::Ready(Err(failed));
        }
        if !shared.waiting.is_empty() {
            shared.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        Pin::new(&mut shared.stream).poll_shutdown(context)
    }
}

impl<S: Connected> Connected for Gathered<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> S::ConnectInfo {
        lock(&self.0).stream.connect_info()
    }
}

//! A connection over a unix socket that is woken for what it waits for, and for nothing else.
//!
//! tokio has the system tell of every change, also that there is room to write again: whenever the other side reads. So a
//! program that has asked, and sleeps until the answer comes, is woken in between for nothing; where processes share a
//! processor, that pushes aside the very one that is at work on the answer. Here room is waited for only while there is none.

use std::cell::RefCell;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tonic::transport::server::Connected;

/// Bytes that are read at once, at most.
const PIECE: usize = 16 * 1024;

thread_local! {
    /// What is read goes through here, since a reader's own room may not be written to before, and that costs more.
    static PIECES: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE].into());
}

/// The connection.
#[derive(Debug)]
pub struct LocalStream {
    stream: AsyncFd<UnixStream>,
    /// While there is no room to write.
    full: Option<AsyncFd<UnixStream>>,
}

impl LocalStream {
    /// From one of tokio's, on the runtime that this is called on.
    ///
    /// # Errors
    /// The system cannot watch it.
    pub fn new(stream: tokio::net::UnixStream) -> io::Result<Self> {
        Ok(Self { stream: watch(stream.into_std()?, Interest::READABLE)?, full: None })
    }

    fn write(
        &mut self,
        context: &mut Context<'_>,
        write: impl Fn(&UnixStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(full) = &self.full {
                // A new look each time, since whoever waits here may be another task than before.
                ready!(full.poll_write_ready(context))?.clear_ready();
            }
            let written = loop {
                let written = write(self.stream.get_ref());
                if !matches!(&written, Err(error) if error.kind() == io::ErrorKind::Interrupted) {
                    break written;
                }
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.full.is_none() {
                        // Watched beside the stream itself. If room comes before, the watch begins with that.
                        let watched = self.stream.get_ref().try_clone()?;
                        self.full = Some(watch(watched, Interest::WRITABLE)?);
                    }
                }
                written => {
                    self.full = None;
                    return Poll::Ready(written);
                }
            }
        }
    }
}

#[expect(deprecated, reason = "sound for a stream that stays the same; its successor is unsafe to call")]
fn watch(stream: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    AsyncFd::with_interest(stream, interest)
}

impl AsyncRead for LocalStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wanted = buffer.remaining().min(PIECE);
        if wanted == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            let mut readable = ready!(self.stream.poll_read_ready(context))?;
            let read = PIECES.with_borrow_mut(|pieces| {
                let read = self.stream.get_ref().read(&mut pieces[..wanted])?;
                buffer.put_slice(&pieces[..read]);
                Ok::<_, io::Error>(read)
            });
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => readable.clear_ready(),
                Err(error) => return Poll::Ready(Err(error)),
                Ok(read) => {
                    // Less than was wanted is all there was: the system tells when there is more, and is not asked.
                    if 0 < read && read < wanted {
                        readable.clear_ready();
                    }
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl AsyncWrite for LocalStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(context, |mut stream| stream.write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(context, |mut stream| stream.write_vectored(pieces))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.get_ref().shutdown(Shutdown::Write))
    }
}

impl Connected for LocalStream {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn pair() -> (LocalStream, LocalStream) {
        let (one, other) = tokio::net::UnixStream::pair().unwrap();
        (LocalStream::new(one).unwrap(), LocalStream::new(other).unwrap())
    }

    #[tokio::test]
    async fn whatever_is_written_is_read_however_slowly() {
        let (mut one, mut other) = pair();
        let sent: Vec<u8> =
            (0..4_000_000_u32).map(|number| number.to_le_bytes()[number as usize % 3]).collect();
        let expected = sent.clone();
        let writing = async move {
            one.write_all(&sent).await.unwrap();
            one.shutdown().await.unwrap();
            let mut answer = String::new();
            one.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let reading = async move {
            let mut all = Vec::new();
            let mut piece = [0; 40_000];
            loop {
                let read = other.read(&mut piece).await.unwrap();
                if read == 0 {
                    break;
                }
                all.extend_from_slice(&piece[..read]);
                tokio::task::yield_now().await;
            }
            other.write_all(b"thanks").await.unwrap();
            all
        };
        let (answer, all) = tokio::join!(writing, reading);
        assert!(all == expected);
        assert_eq!(answer, "thanks");
    }

    #[tokio::test]
    async fn a_writer_that_waits_for_room_hears_that_the_other_side_is_gone() {
        let (mut one, other) = pair();
        let writing = async {
            loop {
                if let Err(error) = one.write_all(&[0; PIECE]).await {
                    return error.kind();
                }
            }
        };
        let going = async {
            // sleeps: the writer is to find no room first; if it has some still, the test holds as well
            tokio::time::sleep(Duration::from_millis(50)).await;
            drop(other);
        };
        let (error, ()) = tokio::join!(writing, going);
        assert_eq!(error, io::ErrorKind::BrokenPipe);
    }
}

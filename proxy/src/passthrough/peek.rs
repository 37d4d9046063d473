//! Looking at the first message of a call without taking it away.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tonic::Status;
use tonic::body::Body;

use super::MAX_PEEKED;
use crate::route;

/// A gRPC message is preceded by a flag (compressed or not) and its length, four bytes.
const PREFIX: usize = 5;

/// What the look has found.
pub(super) enum First {
    /// Nobody looked.
    Unread,
    /// The first message.
    Message(Bytes),
    /// Compressed, too large, cut off, or no message: left to the server's own services to judge.
    Odd,
}

impl First {
    pub(super) fn message(&self) -> Option<&[u8]> {
        match self {
            Self::Message(bytes) => Some(bytes),
            Self::Unread | Self::Odd => None,
        }
    }
}

/// Reads until the first message is whole; the body that is returned yields every byte again.
pub(super) async fn peek(mut body: Body, text_fields: &[u32]) -> (First, Upward) {
    let mut joined = Bytes::new();
    let mut last = None;
    let first = loop {
        match whole(&joined) {
            Progress::Message(message) => {
                let fine = route::check(&message, text_fields).is_ok();
                break if fine { First::Message(message) } else { First::Odd };
            }
            Progress::Odd => break First::Odd,
            Progress::More => {}
        }
        match body.frame().await.map(|frame| frame.map(Frame::into_data)) {
            // The usual case, all in one frame, copies nothing.
            Some(Ok(Ok(data))) if joined.is_empty() => joined = data,
            Some(Ok(Ok(data))) => joined = join(joined, &data),
            Some(Ok(Err(trailers))) => {
                last = Some(Ok(trailers));
                break First::Odd;
            }
            Some(Err(status)) => {
                last = Some(Err(status));
                break First::Odd;
            }
            None => break First::Odd,
        }
    };
    // Joined, not as they came: a million frames of one byte would cost a hundred times their bytes.
    let read = (!joined.is_empty()).then(|| Ok(Frame::data(joined))).into_iter().chain(last).collect();
    (first, Upward { read, rest: body, cut: None })
}

fn join(joined: Bytes, more: &[u8]) -> Bytes {
    // Back into the buffer that it was frozen from, which has room to grow: many small frames cost no square.
    let mut buffer = joined.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    buffer.extend_from_slice(more);
    buffer.freeze()
}

enum Progress {
    Message(Bytes),
    More,
    Odd,
}

fn whole(joined: &Bytes) -> Progress {
    let Some((flag, rest)) = joined.split_first() else { return Progress::More };
    if *flag != 0 {
        return Progress::Odd;
    }
    let Some((length, message)) = rest.split_first_chunk() else { return Progress::More };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > MAX_PEEKED {
        Progress::Odd
    } else if message.len() < length {
        Progress::More
    } else {
        Progress::Message(joined.slice(PREFIX..PREFIX + length))
    }
}

/// A request's body on its way to a plugin: what was read already, then the rest.
pub(super) struct Upward {
    read: VecDeque<Result<Frame<Bytes>, Status>>,
    rest: Body,
    cut: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl From<Body> for Upward {
    fn from(rest: Body) -> Self {
        Self { read: VecDeque::new(), rest, cut: None }
    }
}

impl Upward {
    /// The same, broken off when the guard is dropped. What is here as a whole needs none.
    pub(super) fn guarded(mut self) -> (Self, Option<DropGuard>) {
        if http_body::Body::is_end_stream(&self.rest) {
            return (self, None);
        }
        let over = CancellationToken::new();
        self.cut = Some(Box::pin(over.clone().cancelled_owned()));
        (self, Some(over.drop_guard()))
    }

    pub(super) fn into_body(self) -> Body {
        if self.read.is_empty() && self.cut.is_none() { self.rest } else { Body::new(self) }
    }
}

impl http_body::Body for Upward {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(cut) = &mut self.cut
            && cut.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Some(Err(Status::cancelled("the call is over"))));
        }
        match self.read.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && http_body::Body::is_end_stream(&self.rest)
    }
}

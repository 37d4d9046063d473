//! Calls as fast as they are answered, by one thread. Nothing of an answer is decoded but its end.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use om_api::clock::since_boot;
use om_api::socket::MAX_FRAME;
use prost::Message;
use tokio::net::UnixStream;
use tokio::task::{JoinSet, LocalSet};

use super::Load;

/// Large enough that a client never waits for windows.
const WINDOW: u32 = 4 << 20;
/// Before every message: whether it is compressed, and its length.
pub(crate) const PREFIX: usize = 5;
/// The first calls are on the house.
const WARM_UP: Duration = Duration::from_millis(50);

/// A connection.
pub(crate) type Sender = SendRequest<Full<Bytes>>;

/// A call.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    path: &'static str,
    body: Bytes,
}

impl Question {
    /// With this message.
    pub(crate) fn new(path: &'static str, message: &impl Message) -> Self {
        let message = message.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let mut body = vec![0];
        body.extend(length.to_be_bytes());
        body.extend(message);
        Self { path, body: body.into() }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Answered {
    /// Of each call, in nanoseconds.
    pub(crate) latencies: Vec<u64>,
    /// All messages of all calls.
    pub(crate) messages: usize,
    /// From the first call to the last answer.
    pub(crate) took: Duration,
}

/// Puts a load on a socket for so long; `counted` is called when the warming up is over.
pub(super) fn ask(socket: &Path, load: &Load, lasting: Duration, counted: impl FnOnce()) -> Result<Answered> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let (mut senders, mut drivers) = (Vec::new(), JoinSet::new());
        for _ in 0..load.connections {
            let sender = connect(socket, &mut drivers).await?;
            senders.extend(std::iter::repeat_n(sender, load.wide));
        }
        rounds(&senders, &load.question, WARM_UP).await?;
        counted();
        let begun = since_boot();
        let mut answered = rounds(&senders, &load.question, lasting).await?;
        answered.took = since_boot() - begun;
        Ok(answered)
    })
}

/// A connection to a socket; it stands as long as its driver.
pub(crate) async fn connect(socket: &Path, drivers: &mut JoinSet<Result<()>>) -> Result<Sender> {
    let stream = UnixStream::connect(socket).await.context("cannot connect")?;
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW * 16)
        .max_frame_size(MAX_FRAME)
        .handshake(TokioIo::new(stream))
        .await?;
    drivers.spawn(async move { Ok(connection.await?) });
    Ok(sender)
}

async fn rounds(senders: &[Sender], question: &Question, lasting: Duration) -> Result<Answered> {
    let end = since_boot() + lasting;
    let mut askers = JoinSet::new();
    for sender in senders {
        let (mut sender, question) = (sender.clone(), question.clone());
        askers.spawn_local(async move {
            let mut all = Answered::default();
            loop {
                let begun = since_boot();
                if begun >= end {
                    return Ok(all);
                }
                all.messages += call(&mut sender, &question).await?;
                all.latencies.push(u64::try_from((since_boot() - begun).as_nanos()).unwrap_or(u64::MAX));
            }
        });
    }
    let mut all = Answered::default();
    while let Some(asked) = askers.join_next().await {
        let asked: Result<Answered> = asked?;
        let asked = asked?;
        all.latencies.extend(asked.latencies);
        all.messages += asked.messages;
    }
    Ok(all)
}

/// Sends a call; its answer has begun when this returns.
pub(crate) async fn send(sender: &mut Sender, question: &Question) -> Result<Response<Incoming>> {
    sender.ready().await?;
    let uri = Uri::builder().scheme("http").authority("localhost").path_and_query(question.path).build()?;
    let request = Request::post(uri)
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .body(Full::new(question.body.clone()))?;
    Ok(sender.send_request(request).await?)
}

/// How many messages came.
async fn call(sender: &mut Sender, question: &Question) -> Result<usize> {
    let (head, mut body) = send(sender, question).await?.into_parts();
    let mut counter = Counter::default();
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => counter.take(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    let status = |headers: &HeaderMap| headers.get("grpc-status").map(|code| code.as_bytes().to_vec());
    let end = trailers.as_ref().and_then(status).or_else(|| status(&head.headers));
    if end.as_deref() != Some(b"0") {
        bail!("answered {} {:?} {trailers:?}", head.status, head.headers);
    }
    ensure!(counter.messages > 0 && counter.left == 0, "an answer broke off");
    Ok(counter.messages)
}

/// Counts messages in whatever pieces they come.
#[derive(Default)]
struct Counter {
    messages: usize,
    /// Of the message that is under way.
    left: usize,
    prefix: Vec<u8>,
}

impl Counter {
    fn take(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let skipped = self.left.min(data.len());
            self.left -= skipped;
            data = &data[skipped..];
            if self.left > 0 || data.is_empty() {
                continue;
            }
            let missing = (PREFIX - self.prefix.len()).min(data.len());
            self.prefix.extend_from_slice(&data[..missing]);
            data = &data[missing..];
            if let Ok([_, length @ ..]) = <[u8; PREFIX]>::try_from(&self.prefix[..]) {
                self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                self.messages += 1;
                self.prefix.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_in_whatever_pieces_they_come() {
        let stream: Vec<u8> = [&[0, 0, 0, 0, 3, 1, 2, 3][..], &[0, 0, 0, 0, 0], &[0, 0, 0, 0, 1, 9]].concat();
        for size in 1..=stream.len() {
            let mut counter = Counter::default();
            stream.chunks(size).for_each(|piece| counter.take(piece));
            assert_eq!((counter.messages, counter.left), (3, 0), "pieces of {size}");
        }
        let mut counter = Counter::default();
        counter.take(&stream[..7]);
        assert_eq!((counter.messages, counter.left), (1, 1), "broken off");
    }
}

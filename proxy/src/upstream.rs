//! The connection to one plugin socket.
//!
//! An [`Upstream`] is connected at its first call and again after every loss; calls that arrive together share one
//! attempt and one connection. It is a tower service, so a generated client works on it as on a channel:
//! `ServicePluginClient::new(upstream)`.
//!
//! Why not tonic's channel: it adds a task hop and a buffer to each call, and it tells nobody when a connection is
//! lost. Here [`Upstream::link`] says so at once.
//!
//! What must hold: a call that may have reached the plugin is never sent a second time. A response that nobody reads
//! holds up no other call: its stream has a window of [`STREAM_WINDOW`] bytes, the connection's window is unlimited.

use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::Shared;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use om_api::socket::{Address, Dialer, MAX_FRAME, Security, system};
use om_api::{Error, Reason};
use tokio::sync::{oneshot, watch};
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::gather::Gathered;

/// How long connecting may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of one response that are under way or waiting to be read, at most.
pub const STREAM_WINDOW: u32 = 256 * 1024;

/// Flow control is per stream; the largest window that HTTP/2 knows takes the connection's out of the way.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
const SEND_BUFFER: usize = 256 * 1024;

/// Whether a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// There is none, or not yet.
    Down,
    /// The connection with this number; each has another one, growing.
    Up(u64),
}

/// A handle to one plugin socket. Clones share the connection, which ends when the last of them is gone and the
/// calls under way are over.
#[derive(Clone)]
pub struct Upstream(Arc<Inner>);

struct Inner {
    dialer: Dialer,
    socket: PathBuf,
    slot: Mutex<Slot>,
    link: watch::Sender<Link>,
    tasks: TaskTracker,
    apart: OnceLock<Upstream>,
    /// Whether writes are [gathered](Gathered).
    gathers: bool,
}

struct Slot {
    /// Of the newest attempt.
    number: u64,
    state: State,
}

enum State {
    Idle,
    Opening(Shared<oneshot::Receiver<Result<Line, Arc<str>>>>),
    Open(Line),
}

#[derive(Clone)]
struct Line {
    number: u64,
    sender: SendRequest<Body>,
}

impl Upstream {
    /// A handle to `socket`; nothing is connected yet.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self::by(system(), socket)
    }

    /// The same, by a way of the caller's.
    #[must_use]
    pub fn by(dialer: Dialer, socket: impl Into<PathBuf>) -> Self {
        Self::with(dialer, socket.into(), false)
    }

    fn with(dialer: Dialer, socket: PathBuf, gathers: bool) -> Self {
        Self(Arc::new(Inner {
            dialer,
            socket,
            slot: Mutex::new(Slot { number: 0, state: State::Idle }),
            link: watch::Sender::new(Link::Down),
            tasks: TaskTracker::new(),
            apart: OnceLock::new(),
            gathers,
        }))
    }

    /// A second connection to the same socket, always the same one, for who runs on another runtime, of one thread: the
    /// runtime of the call that connects is the one that reads and writes. It is given up with this one.
    #[must_use]
    pub fn apart(&self) -> &Self {
        self.0.apart.get_or_init(|| Self::with(self.0.dialer.clone(), self.0.socket.clone(), true))
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.0.socket
    }

    /// Follows the connection: a loss shows here the moment the system tells it.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<Link> {
        self.0.link.subscribe()
    }

    /// Connects, if no connection stands, and says its number.
    ///
    /// # Errors
    /// `UNAVAILABLE`, reason `PLUGIN_UNAVAILABLE`, naming the socket.
    pub async fn connect(&self) -> Result<u64, Status> {
        Ok(self.line().await?.number)
    }

    /// Returns when the connection with this number is lost or given up. Cancel safe.
    pub async fn closed(&self, number: u64) {
        // Cannot fail: the sender lives in self.
        let _ = self.link().wait_for(|link| *link != Link::Up(number)).await;
    }

    /// Gives the connection up: calls under way go on, the next call connects anew.
    pub fn reset(&self) {
        self.0.slot().state = State::Idle;
        self.0.link.send_replace(Link::Down);
        if let Some(apart) = self.0.apart.get() {
            apart.reset();
        }
    }

    async fn line(&self) -> Result<Line, Status> {
        let opening = {
            let mut slot = self.0.slot();
            match &slot.state {
                State::Open(line) if !line.sender.is_closed() => return Ok(line.clone()),
                State::Opening(opening) => opening.clone(),
                State::Idle | State::Open(_) => {
                    slot.number += 1;
                    let opening = self.open(slot.number);
                    slot.state = State::Opening(opening.clone());
                    opening
                }
            }
        };
        match opening.await {
            Ok(Ok(line)) => Ok(line),
            Ok(Err(why)) => Err(unavailable(self.socket(), "cannot be reached", &why)),
            Err(_) => Err(unavailable(self.socket(), "cannot be reached", "the program is ending")),
        }
    }

    /// In a task of its own, so that it goes on when the call that began it is given up.
    fn open(&self, number: u64) -> Shared<oneshot::Receiver<Result<Line, Arc<str>>>> {
        let (done, opening) = oneshot::channel();
        let inner = self.0.clone();
        self.0.tasks.spawn(async move {
            let opened = match tokio::time::timeout(CONNECT_TIMEOUT, inner.dial(number)).await {
                Ok(Ok(line)) => Ok(line),
                Ok(Err(why)) => Err(Arc::from(why)),
                Err(_) => Err(Arc::from(format!("no connection within {CONNECT_TIMEOUT:?}"))),
            };
            inner.opened(number, &opened);
            let _ = done.send(opened);
        });
        opening.shared()
    }

    fn prepare(request: Request<Body>) -> Result<Request<Body>, Status> {
        let (mut head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        head.uri = Uri::builder()
            .scheme("http")
            .authority("localhost")
            .path_and_query(path)
            .build()
            .map_err(|cause| Status::internal(cause.to_string()))?;
        head.version = http::Version::HTTP_2;
        head.headers.entry(header::TE).or_insert(HeaderValue::from_static("trailers"));
        Ok(Request::from_parts(head, body))
    }

    async fn send(self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let mut request = Self::prepare(request)?;
        let mut again = true;
        loop {
            let mut line = self.line().await?;
            match line.sender.try_send_request(request).await {
                Ok(response) => {
                    let socket = self.0.socket.clone();
                    return Ok(response.map(|body| Body::new(Downward { body, socket })));
                }
                Err(mut failure) => match failure.take_message() {
                    // It never left: the connection ended between the look at it and the call.
                    Some(unsent) if again => {
                        again = false;
                        self.0.lost(line.number);
                        request = unsent;
                    }
                    _ => return Err(explain(self.socket(), failure.into_error())),
                },
            }
        }
    }
}

impl Inner {
    // Each change under the lock is one assignment: a panic leaves it whole.
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn dial(self: &Arc<Self>, number: u64) -> Result<Line, String> {
        let opening = (self.dialer)(&Address::Unix(self.socket.clone()), &Security::Clear);
        let stream = opening.await.map_err(|cause| match cause.kind() {
            std::io::ErrorKind::NotFound => "there is no such socket".to_owned(),
            std::io::ErrorKind::ConnectionRefused => "nobody serves it".to_owned(),
            _ => cause.to_string(),
        })?;
        let stream = if self.gathers { Box::new(Gathered::new(stream)) } else { stream };
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(MAX_FRAME)
            .max_send_buf_size(SEND_BUFFER)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|cause| cause.to_string())?;
        // Holds no handle: it ends when all of them and the calls under way are gone, or the connection is.
        let inner: Weak<Self> = Arc::downgrade(self);
        self.tasks.spawn(async move {
            let ended = connection.await;
            if let Some(inner) = inner.upgrade() {
                tracing::debug!(socket = %inner.socket.display(), number, ?ended, "connection ended");
                inner.lost(number);
            }
        });
        Ok(Line { number, sender })
    }

    fn opened(&self, number: u64, result: &Result<Line, Arc<str>>) {
        let mut slot = self.slot();
        // Given up meanwhile, or even replaced: those who waited for it still use it.
        if slot.number != number || !matches!(slot.state, State::Opening(_)) {
            return;
        }
        slot.state = State::Idle;
        if let Ok(line) = result
            && !line.sender.is_closed()
        {
            slot.state = State::Open(line.clone());
            self.link.send_replace(Link::Up(number));
        }
    }

    fn lost(&self, number: u64) {
        let mut slot = self.slot();
        if matches!(&slot.state, State::Open(line) if line.number == number) {
            slot.state = State::Idle;
        }
        self.link.send_if_modified(|link| {
            let was = *link == Link::Up(number);
            if was {
                *link = Link::Down;
            }
            was
        });
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let link = *self.0.link.borrow();
        f.debug_struct("Upstream")
            .field("socket", &self.0.socket)
            .field("link", &link)
            .finish_non_exhaustive()
    }
}

impl tower::Service<Request<Body>> for Upstream {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

/// A response's body whose errors name the socket.
struct Downward {
    body: Incoming,
    socket: PathBuf,
}

impl http_body::Body for Downward {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| frame.map_err(|cause| explain(&self.socket, cause))))
    }

    fn is_end_stream(&self) -> bool {
        http_body::Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}

fn unavailable(socket: &Path, what: &str, why: &str) -> Status {
    let text = format!("the plugin at {} {what}: {why}", socket.display());
    Error::new(Reason::PluginUnavailable, text).with("socket", socket.display()).into()
}

/// What the plugin did to this one call keeps its code (it gave the call up, it wants fewer of them); all else is
/// the connection's end or a peer that does not speak gRPC.
fn explain(socket: &Path, cause: hyper::Error) -> Status {
    let mut why = cause.to_string();
    let mut source = std::error::Error::source(&cause);
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    // tonic calls a connection that ended before the call was sent "cancelled"; the caller cancelled nothing.
    if cause.is_canceled() {
        return unavailable(socket, "was lost", &why);
    }
    match Status::from_error(Box::new(cause)).code() {
        code @ (Code::Cancelled | Code::ResourceExhausted | Code::PermissionDenied) => {
            Status::new(code, format!("the plugin at {} broke the call off: {why}", socket.display()))
        }
        _ => unavailable(socket, "was lost", &why),
    }
}

#[cfg(test)]
mod tests;

//! Shutting down without cutting answers off.
//!
//! A [`Drain`] counts the calls under way. [`Drain::close`] refuses new ones and cuts the streams that would never end
//! by themselves, telling their clients why; [`Drain::wait`] waits for the rest. A client that does not read (a paused
//! pager) cannot be told; such a stream is waited for only shortly.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use om_api::{Error, Reason};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;

use crate::cut::{CutBody, End};

/// Methods that end when their client says so; cut at once.
const STREAMS: [&str; 6] = [
    "/om.v1.ServicePlugin/Attend",
    "/om.v1.ServicePlugin/Watch",
    "/om.v1.ServicePlugin/Run",
    "/om.v1.Manager/History",
    "/om.v1.Peer/Link",
    "/grpc.health.v1.Health/Watch",
];

/// Answers that the program is stopping better than a refusal does.
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// A call of another method whose answer has begun is nearly over, unless it is a stream too: it gets this long.
const GRACE: Duration = Duration::from_secs(1);

/// How long the clients of streams are given to take notice.
const STREAM_PATIENCE: Duration = Duration::from_millis(500);

/// Counts calls, and ends their admission. Clones share the count.
#[derive(Clone, Debug)]
pub struct Drain(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    under_way: watch::Sender<Counts>,
    closed: CancellationToken,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    calls: usize,
    streams: usize,
}

impl Counts {
    fn of(&mut self, is_stream: bool) -> &mut usize {
        if is_stream { &mut self.streams } else { &mut self.calls }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl Drain {
    /// Open, with nothing under way.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Shared { under_way: watch::Sender::default(), closed: CancellationToken::new() }))
    }

    /// The layer that counts. The outermost: what it does not see it cannot wait for.
    #[must_use]
    pub fn layer(&self) -> DrainLayer {
        DrainLayer(self.clone())
    }

    /// Number of calls under way, streams among them.
    #[must_use]
    pub fn calls(&self) -> usize {
        let Counts { calls, streams } = *self.0.under_way.borrow();
        calls + streams
    }

    /// Refuses new calls from now on, and cuts the streams. Idempotent.
    pub fn close(&self) {
        self.0.closed.cancel();
    }

    /// Whether new calls are refused.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.closed.is_cancelled()
    }

    /// Waits until no call is under way, at most this long, and half a second for the streams that were cut. Returns
    /// how many are left.
    pub async fn wait(&self, at_most: Duration) -> usize {
        let mut counts = self.0.under_way.subscribe();
        // The outcome is what is left.
        let _ = tokio::time::timeout(at_most, async {
            let _ = counts.wait_for(|counts| counts.calls == 0).await;
            let _ =
                tokio::time::timeout(STREAM_PATIENCE, counts.wait_for(|counts| counts.streams == 0)).await;
        })
        .await;
        self.calls()
    }

    /// `None` when closed. Counted before the look, so that nobody who waits can miss a call that was let in.
    fn admit(&self, is_stream: bool) -> Option<Admitted> {
        self.0.under_way.send_modify(|counts| *counts.of(is_stream) += 1);
        let admitted = Admitted { shared: self.0.clone(), is_stream };
        (!self.is_closed()).then_some(admitted)
    }

    fn end(&self, grace: Duration) -> End {
        let closed = self.0.closed.clone();
        Box::pin(async move {
            closed.cancelled().await;
            if !grace.is_zero() {
                tokio::time::sleep(grace).await;
            }
            stopping()
        })
    }
}

fn stopping() -> Status {
    Error::new(Reason::NoLeader, "this program is stopping")
        .hint("ask again soon: another replica takes over")
        .into()
}

/// One call under way.
struct Admitted {
    shared: Arc<Shared>,
    is_stream: bool,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.shared.under_way.send_modify(|counts| *counts.of(self.is_stream) -= 1);
    }
}

/// Puts a [`Drain`] before a server.
#[derive(Clone, Debug)]
pub struct DrainLayer(Drain);

impl<S> tower::Layer<S> for DrainLayer {
    type Service = DrainService<S>;

    fn layer(&self, inner: S) -> DrainService<S> {
        DrainService { drain: self.0.clone(), inner }
    }
}

/// What [`DrainLayer`] makes.
#[derive(Clone, Debug)]
pub struct DrainService<S> {
    drain: Drain,
    inner: S,
}

impl<S> tower::Service<Request<Body>> for DrainService<S>
where
    S: tower::Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        if path == HEALTH {
            return Box::pin(self.inner.call(request));
        }
        let is_stream = STREAMS.contains(&path);
        let Some(admitted) = self.drain.admit(is_stream) else {
            return Box::pin(std::future::ready(Ok(stopping().into_http())));
        };
        let drain = self.drain.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            if !is_stream {
                let end = drain.end(GRACE);
                return Ok(CutBody::around(answer.await?, admitted, end));
            }
            let mut end = drain.end(Duration::ZERO);
            tokio::select! {
                biased;
                status = &mut end => Ok(status.into_http()),
                answer = answer => Ok(CutBody::around(answer?, admitted, end)),
            }
        })
    }
}

#[cfg(test)]
mod tests;

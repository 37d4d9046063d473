//! Calls carried to a plugin as bytes.
//!
//! The layer stands before a server's own services and asks the [`Router`] about each call that is not plainly the
//! server's own. Only the frame around a first message is looked into, and in the message only its outermost fields:
//! what a newer plugin and a newer client say to each other survives an older manager between them.
//!
//! What must hold: `om-term` and `om-cluster` that a client sent never reach a plugin; a call is cut the moment its
//! term ends or its `grpc-timeout` is up, also in the midst of a stream; a client that goes away ends the plugin's
//! side; a message of any size passes with bounded memory.

mod peek;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Request, Response};
use om_api::{Error, Reason, metadata};
use tonic::Status;
use tonic::body::Body;
use tower::Service as _;

use crate::cut::{CutBody, Deadline, End, parse_timeout};
use crate::route::{Call, Leader, Passage, Route, Router};
use peek::{First, Upward, peek};

/// The largest first message that is looked into, in bytes. A larger one is the server's own to refuse.
pub const MAX_PEEKED: usize = 1024 * 1024;

/// The plugin hears of the client's deadline with this much added: the proxy keeps it, and answers it alike for
/// every plugin; the plugin's own is for the case that the proxy dies.
const DEADLINE_MARGIN: Duration = Duration::from_millis(250);

/// How a call is to be treated before anything of its body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// The server's own.
    Own,
    /// About one service, whose name stands in the first message; these fields must be text.
    Service(&'static [u32]),
    /// Of a service that is not ours; its headers say where it goes.
    Foreign,
}

impl Class {
    fn of<B>(request: &Request<B>) -> Self {
        let grpc = request
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        match request.uri().path() {
            _ if !grpc => Self::Own,
            "/om.v1.ServicePlugin/Describe" => Self::Service(&[1]),
            "/om.v1.ServicePlugin/Run" => Self::Service(&[1, 2]),
            path if path.starts_with("/om.v1.") => Self::Own,
            path if path.starts_with("/grpc.health.") || path.starts_with("/grpc.reflection.") => Self::Own,
            _ => Self::Foreign,
        }
    }
}

/// Puts pass-through before a server's services.
#[derive(Clone)]
pub struct PassThroughLayer {
    router: Arc<dyn Router>,
    apart: bool,
}

impl PassThroughLayer {
    /// With the router that decides.
    #[must_use]
    pub fn new(router: Arc<dyn Router>) -> Self {
        Self { router, apart: false }
    }

    /// Over connections [of its own](crate::Upstream::apart): for a server on a [lane](crate::Lane).
    #[must_use]
    pub fn apart(self) -> Self {
        Self { apart: true, ..self }
    }
}

impl<S> tower::Layer<S> for PassThroughLayer {
    type Service = PassThrough<S>;

    fn layer(&self, inner: S) -> PassThrough<S> {
        PassThrough { router: self.router.clone(), apart: self.apart, inner }
    }
}

/// What [`PassThroughLayer`] makes.
#[derive(Clone)]
pub struct PassThrough<S> {
    router: Arc<dyn Router>,
    apart: bool,
    inner: S,
}

impl<S> tower::Service<Request<Body>> for PassThrough<S>
where
    S: tower::Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
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
        let class = Class::of(&request);
        let deadline = Deadline::of(request.headers());
        if class == Class::Own {
            return Box::pin(own(self.inner.call(request), deadline));
        }
        // The one that is ready is called; its clone is for the next call.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let (router, apart) = (self.router.clone(), self.apart);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let (first, body) = match class {
                Class::Service(fields) => tokio::select! {
                    biased;
                    peeked = peek(body, fields) => peeked,
                    status = deadline.passed() => return Ok(status.into_http()),
                },
                Class::Own | Class::Foreign => (First::Unread, Upward::from(body)),
            };
            let route = match &first {
                First::Odd => Route::Own,
                First::Unread | First::Message(_) => router.route(&Call {
                    path: head.uri.path(),
                    headers: &head.headers,
                    first: first.message(),
                }),
            };
            let request = Request::from_parts(head, body);
            match route {
                Route::Own => own(inner.call(request.map(Upward::into_body)), deadline).await,
                Route::Local(mut passage) => {
                    if apart {
                        passage.upstream = passage.upstream.apart().clone();
                    }
                    Ok(forward(request, passage, deadline).await)
                }
                Route::Elsewhere(Leader { name, endpoint, term }) => {
                    Ok(refuse(Error::not_leader(&name, &endpoint, term)))
                }
                Route::Nobody { why } => Ok(refuse(Error::new(Reason::NoLeader, why))),
                Route::Refuse(error) => Ok(refuse(error)),
            }
        })
    }
}

/// tonic keeps a deadline until the answer begins; its streams are ours to cut.
async fn own<E>(
    answer: impl Future<Output = Result<Response<Body>, E>> + Send,
    deadline: Deadline,
) -> Result<Response<Body>, E> {
    let answer = answer.await?;
    if !deadline.is_set() {
        return Ok(answer);
    }
    Ok(CutBody::around(answer, (), Box::pin(deadline.passed())))
}

fn refuse(error: Error) -> Response<Body> {
    Status::from(error).into_http()
}

async fn forward(request: Request<Upward>, passage: Passage, deadline: Deadline) -> Response<Body> {
    let Passage { mut upstream, term, cluster, until } = passage;
    if until.is_cancelled() {
        return leadership_lost().into_http();
    }
    let mut end: End = Box::pin(async move {
        tokio::select! {
            biased;
            () = until.cancelled() => leadership_lost(),
            status = deadline.passed() => status,
        }
    });
    // When the answer ends, for whatever reason, the plugin need not wait for more of the question.
    let (head, body) = request.into_parts();
    let (body, held) = body.guarded();
    let mut outgoing = Request::new(body.into_body());
    *outgoing.uri_mut() = head.uri;
    *outgoing.method_mut() = head.method;
    *outgoing.headers_mut() = onward(head.headers, term, &cluster);
    tokio::select! {
        biased;
        status = &mut end => status.into_http(),
        answer = upstream.call(outgoing) => match answer {
            Ok(answer) => CutBody::around(answer, held, end),
            Err(status) => status.into_http(),
        },
    }
}

fn leadership_lost() -> Status {
    Error::new(Reason::NoLeader, "leadership was lost")
        .hint("ask again soon: another replica takes over")
        .into()
}

/// The headers as the plugin gets them: without what is between two hops only (RFC 9110, 7.6.1), and with the term
/// that counts.
fn onward(mut headers: HeaderMap, term: u64, cluster: &str) -> HeaderMap {
    const HOP: [HeaderName; 7] = [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::HOST,
        header::CONTENT_LENGTH,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ];
    for name in HOP {
        headers.remove(name);
    }
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert(metadata::TERM, HeaderValue::from(term));
    match HeaderValue::from_str(cluster) {
        Ok(cluster) => headers.insert(metadata::CLUSTER, cluster),
        Err(_) => headers.remove(metadata::CLUSTER),
    };
    if let Some(timeout) =
        headers.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(parse_timeout)
    {
        let millis = (timeout + DEADLINE_MARGIN).as_millis();
        // At most eight digits: beyond that (a day) seconds are fine enough.
        let text = if millis < 100_000_000 {
            format!("{millis}m")
        } else {
            format!("{}S", (millis / 1000).min(99_999_999))
        };
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert("grpc-timeout", value);
        }
    }
    headers
}

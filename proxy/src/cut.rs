//! Ending a call from the middle: with trailers that say why, not with a broken stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;

/// Resolves when a call must end, with what its client is told.
pub(crate) type End = Pin<Box<dyn Future<Output = Status> + Send>>;

/// A response's body that is cut with trailers when `end` resolves, and turns an error into trailers. `held` is
/// dropped with the body it belongs to, as early as that is over.
pub(crate) struct CutBody<H> {
    open: Option<(Body, H)>,
    end: End,
}

impl<H: Send + Unpin + 'static> CutBody<H> {
    /// Wraps a response; one that has no body left is over at once.
    pub(crate) fn around(mut response: Response<Body>, held: H, end: End) -> Response<Body> {
        response.headers_mut().remove(http::header::CONTENT_LENGTH);
        response.map(|body| {
            if http_body::Body::is_end_stream(&body) {
                return body;
            }
            Body::new(Self { open: Some((body, held)), end })
        })
    }

    fn finish(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.open = None;
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(match status.add_header(&mut trailers) {
            Ok(()) => Ok(Frame::trailers(trailers)),
            Err(status) => Err(status),
        }))
    }
}

impl<H: Send + Unpin + 'static> http_body::Body for CutBody<H> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some((body, _)) = &mut this.open else { return Poll::Ready(None) };
        // Before the body: one that always has more must be cut as well.
        if let Poll::Ready(status) = this.end.as_mut().poll(context) {
            return this.finish(&status);
        }
        match ready!(Pin::new(body).poll_frame(context)) {
            Some(Ok(frame)) => {
                if frame.is_trailers() {
                    this.open = None;
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(status)) => this.finish(&status),
            None => {
                this.open = None;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.open.as_ref().is_none_or(|(body, _)| http_body::Body::is_end_stream(body))
    }

    fn size_hint(&self) -> SizeHint {
        // What is left may be cut: nothing can be promised.
        SizeHint::default()
    }
}

/// When a call's time is up, by its `grpc-timeout` header (the gRPC protocol's `Timeout`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// Counted from now. A header that cannot be read counts as none, as tonic has it.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let timeout =
            headers.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(parse_timeout);
        Self(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    pub(crate) fn is_set(self) -> bool {
        self.0.is_some()
    }

    /// Never, if there is none.
    pub(crate) async fn passed(self) -> Status {
        match self.0 {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
        Status::deadline_exceeded("the call's time (grpc-timeout) is up")
    }
}

pub(crate) fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("250m", Some(Duration::from_millis(250))),
            ("0u", Some(Duration::ZERO)),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("", None),
            ("S", None),
            ("1", None),
            ("1x", None),
            ("-1S", None),
            ("123456789S", None),
            ("1ä", None),
        ] {
            assert_eq!(parse_timeout(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_longest_timeout_overflows_nothing() {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", http::HeaderValue::from_static("99999999H"));
        let _ = Deadline::of(&headers);
    }
}

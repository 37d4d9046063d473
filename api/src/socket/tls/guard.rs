//! Who may call over TLS: only who showed a certificate, except for one call that brings its own proof.

use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;

use super::Caller;
use crate::{Error, Reason};

/// A plugin whose leader died says that it has stopped. It needs no certificate: the token that its leader left it is
/// its proof.
const TESTIFY: &str = "/om.v1.Peer/Testify";

/// Refuses every call that came over TLS without a client certificate. What came over a unix socket, or in the clear,
/// is let through: there others decide who may connect.
#[derive(Clone, Copy, Debug, Default)]
pub struct KnownCallers;

impl<S> tower::Layer<S> for KnownCallers {
    type Service = GuardService<S>;

    fn layer(&self, inner: S) -> GuardService<S> {
        GuardService(inner)
    }
}

/// What [`KnownCallers`] makes.
#[derive(Clone, Debug)]
pub struct GuardService<S>(S);

impl<S> tower::Service<Request<Body>> for GuardService<S>
where
    S: tower::Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let caller = request.extensions().get::<Caller>();
        let unknown = caller.is_some_and(|caller| caller.encrypted && !caller.verified);
        if unknown && request.uri().path() != TESTIFY {
            return Box::pin(std::future::ready(Ok(refusal().into_http())));
        }
        Box::pin(self.0.call(request))
    }
}

fn refusal() -> Status {
    Error::new(Reason::Unauthenticated, "a client certificate is wanted here, and none was shown")
        .hint("give one with --tls-cert FILE and --tls-key FILE, signed by the CA of the replicas")
        .into()
}

//! Server reflection, so that generic clients know the interface.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};

/// Describes the interface of a replica to those who ask. Hardly anybody does, and the description takes up as much
/// memory as a hundred services: it is made for the first who asks.
pub(crate) fn service() -> Late<ServerReflectionServer<impl ServerReflection>> {
    Late { made: Arc::default(), make }
}

fn make() -> Result<ServerReflectionServer<impl ServerReflection>, String> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(om_api::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|error| error.to_string())
}

/// A service that is made when it is called for the first time.
pub(crate) struct Late<S> {
    made: Arc<OnceLock<Result<S, String>>>,
    make: fn() -> Result<S, String>,
}

impl<S> Clone for Late<S> {
    fn clone(&self) -> Self {
        Self { made: Arc::clone(&self.made), make: self.make }
    }
}

impl<S> NamedService for Late<S> {
    const NAME: &'static str = "grpc.reflection.v1.ServerReflection";
}

impl<S> Service<http::Request<Body>> for Late<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + Clone,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match self.made.get_or_init(self.make) {
            Ok(service) => Box::pin(service.clone().call(request)),
            Err(why) => {
                let answer =
                    Status::internal(format!("the embedded descriptors are broken: {why}")).into_http();
                Box::pin(async move { Ok(answer) })
            }
        }
    }
}

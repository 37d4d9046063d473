//! A thread of its own for the calls that pass through.
//!
//! To pass a call on is some microseconds of work; to hand it from one thread to another, and its answer back, costs
//! more than that. So on a [`Lane`] one thread does all of it: it reads from clients, asks the router, writes to the
//! plugins, over connections that are [its own](crate::PassThroughLayer::apart). What must not run there is whatever
//! takes its time: a server's own services are put [`Aside`].

use std::io;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tonic::body::Body;

use crate::vigil;

/// The thread. When this is dropped, it ends with everything that runs on it.
#[derive(Debug)]
pub struct Lane {
    handle: Handle,
    _running: DropGuard,
}

impl Lane {
    /// Starts it.
    ///
    /// # Errors
    /// No thread, or no file descriptors.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let over = CancellationToken::new();
        let running = over.clone().drop_guard();
        std::thread::Builder::new().name("om-lane".to_owned()).spawn(move || {
            runtime.spawn(vigil::keep());
            runtime.block_on(over.cancelled());
            // Who looks up names there is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, _running: running })
    }

    /// Where to spawn what is to run on it.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// Works out calls on another runtime than the one that they come in on. The innermost layer.
#[derive(Clone, Debug)]
pub struct Aside(Handle);

impl Aside {
    /// On this runtime.
    #[must_use]
    pub fn to(handle: Handle) -> Self {
        Self(handle)
    }
}

impl<S> tower::Layer<S> for Aside {
    type Service = AsideService<S>;

    fn layer(&self, inner: S) -> AsideService<S> {
        AsideService { handle: self.0.clone(), inner }
    }
}

/// What [`Aside`] makes.
#[derive(Clone, Debug)]
pub struct AsideService<S> {
    handle: Handle,
    inner: S,
}

impl<S> tower::Service<Request<Body>> for AsideService<S>
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
        // A caller who leaves ends it, as if it ran right here.
        let call = AbortOnDropHandle::new(self.handle.spawn(self.inner.call(request)));
        Box::pin(async move {
            match call.await {
                Ok(answer) => answer,
                Err(ended) => match ended.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    Err(_) => Ok(Status::unavailable("this program is ending").into_http()),
                },
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::thread::{self, ThreadId};

    use tokio::sync::mpsc;
    use tower::{Layer as _, ServiceExt as _};

    use super::*;
    use crate::testing::soon;

    async fn here() -> ThreadId {
        thread::current().id()
    }

    #[tokio::test]
    async fn what_is_spawned_on_a_lane_runs_on_its_one_thread() {
        let lane = Lane::start().unwrap();
        let first = lane.handle().spawn(here()).await.unwrap();
        let second = lane.handle().spawn(here()).await.unwrap();
        assert_eq!(first, second);
        assert_ne!(first, thread::current().id());
    }

    #[tokio::test]
    async fn a_lane_that_is_dropped_ends_what_runs_on_it() {
        let lane = Lane::start().unwrap();
        let task = lane.handle().spawn(std::future::pending::<()>());
        drop(lane);
        assert!(soon("the task's end", task).await.unwrap_err().is_cancelled());
    }

    #[tokio::test]
    async fn a_call_that_is_put_aside_runs_elsewhere_and_ends_with_its_caller() {
        let lane = Lane::start().unwrap();
        let (began, mut begun) = mpsc::channel::<ThreadId>(1);
        let service = tower::service_fn(move |_: Request<Body>| {
            let began = began.clone();
            async move {
                began.send(thread::current().id()).await.unwrap();
                let answer = std::future::pending::<Result<Response<Body>, Infallible>>().await;
                // Held until the call is dropped.
                drop(began);
                answer
            }
        });
        let aside = Aside::to(lane.handle().clone()).layer(service);
        let call =
            AbortOnDropHandle::new(Handle::current().spawn(aside.oneshot(Request::new(Body::empty()))));
        let thread = soon("the call", begun.recv()).await.unwrap();
        assert_ne!(thread, thread::current().id());
        drop(call);
        assert!(soon("the end of the call", begun.recv()).await.is_none());
    }
}

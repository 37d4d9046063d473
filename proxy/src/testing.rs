//! What the tests of this crate share: plugins, proxies and clients on real sockets.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use om_api::socket::{SocketOptions, bind};
use om_api::v1;
use om_api::v1::service_plugin_server::{ServicePlugin, ServicePluginServer};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt as _};
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Status, Streaming};
use tower::Service;

use crate::{Call, Drain, PassThroughLayer, Passage, Route, Router, Upstream};

const LONG: Duration = Duration::from_secs(20);

/// Waits for what must come, with a reason.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LONG, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long: {what}"),
    }
}

/// A directory for sockets.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn dir(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }
}

/// A server on a runtime of its own: to end that is to break every connection, as a `kill -9` does.
pub(crate) struct Running {
    pub(crate) path: PathBuf,
    runtime: Option<Runtime>,
}

impl Running {
    /// Returns when every socket of it is closed.
    pub(crate) fn kill(mut self) {
        if let Some(runtime) = self.runtime.take() {
            std::thread::spawn(move || runtime.shutdown_timeout(LONG)).join().unwrap();
        }
    }

    pub(crate) fn upstream(&self) -> Upstream {
        Upstream::new(&self.path)
    }

    /// Runs any program on a runtime of its own.
    pub(crate) fn start<F: Future<Output = ()> + Send + 'static>(
        path: &Path,
        program: impl FnOnce() -> F,
    ) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let entered = runtime.enter();
        let program = program();
        drop(entered);
        runtime.spawn(program);
        Self { path: path.to_owned(), runtime: Some(runtime) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Serves a plugin.
pub(crate) fn serve_plugin(path: &Path, plugin: TestPlugin) -> Running {
    Running::start(path, || {
        let socket = bind(path, &SocketOptions::default()).unwrap();
        let service = ServicePluginServer::new(plugin).max_decoding_message_size(om_api::MAX_MESSAGE_BYTES);
        let server = om_api::socket::server().add_service(service);
        async move { server.serve_with_incoming(socket).await.unwrap() }
    })
}

/// Serves whatever answers HTTP requests, below gRPC.
pub(crate) fn serve_raw<F, A>(path: &Path, answer: F) -> Running
where
    F: Fn(Request<Body>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    Running::start(path, || {
        let socket = bind(path, &SocketOptions::default()).unwrap();
        let layer = tower::layer::layer_fn(move |_: Routes| Raw(answer.clone()));
        let server = om_api::socket::server().layer(layer).add_routes(Routes::default());
        async move { server.serve_with_incoming(socket).await.unwrap() }
    })
}

#[derive(Clone)]
struct Raw<F>(F);

impl<F, A> Service<Request<Body>> for Raw<F>
where
    F: Fn(Request<Body>) -> A,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = (self.0)(request);
        Box::pin(async { Ok(answer.await) })
    }
}

/// Serves a proxy before a plugin called `own`, which stands for the manager's own services.
pub(crate) fn serve_proxy(
    path: &Path,
    drain: &Drain,
    route: impl Fn(&Call<'_>) -> Route + Send + Sync + 'static,
) -> Running {
    let router: Arc<dyn Router> = Arc::new(Closure(route));
    Running::start(path, || {
        let socket = bind(path, &SocketOptions::default()).unwrap();
        let own = ServicePluginServer::new(TestPlugin::named("own"))
            .max_decoding_message_size(om_api::MAX_MESSAGE_BYTES);
        let server = om_api::socket::server()
            .layer(drain.layer())
            .layer(PassThroughLayer::new(router))
            .add_service(own);
        async move { server.serve_with_incoming(socket).await.unwrap() }
    })
}

struct Closure<F>(F);

impl<F: Fn(&Call<'_>) -> Route + Send + Sync + 'static> Router for Closure<F> {
    fn route(&self, call: &Call<'_>) -> Route {
        (self.0)(call)
    }
}

pub(crate) fn passage(upstream: &Upstream) -> Passage {
    Passage { upstream: upstream.clone(), term: 7, cluster: "c7".to_owned(), until: Default::default() }
}

/// A plugin that does as its calls say and remembers what it saw.
#[derive(Clone)]
pub(crate) struct TestPlugin {
    pub(crate) handshake: v1::HandshakeResponse,
    /// The metadata of every Describe and Run.
    pub(crate) seen: Arc<Mutex<Vec<HeaderMap>>>,
    /// Runs and waits that were begun and are not over.
    pub(crate) streams: watch::Sender<usize>,
    /// Messages that streams have handed out.
    pub(crate) sent: watch::Sender<usize>,
}

struct Begun(watch::Sender<usize>);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.send_modify(|streams| *streams -= 1);
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl TestPlugin {
    pub(crate) fn named(name: &str) -> Self {
        let handshake = v1::HandshakeResponse {
            protocol: om_api::PROTOCOL.to_owned(),
            role: v1::Role::Plugin.into(),
            name: name.to_owned(),
            version: "1".to_owned(),
            instance: "first".to_owned(),
            ..v1::HandshakeResponse::default()
        };
        let (streams, sent) = (watch::Sender::new(0), watch::Sender::new(0));
        Self { handshake, seen: Arc::default(), streams, sent }
    }

    pub(crate) fn instance(mut self, instance: &str) -> Self {
        self.handshake.instance = instance.to_owned();
        self
    }

    fn saw<T>(&self, request: &tonic::Request<T>) {
        self.seen.lock().unwrap().push(request.metadata().clone().into_headers());
    }
}

#[async_trait::async_trait]
impl ServicePlugin for TestPlugin {
    type AttendStream = Answers<v1::AttendResponse>;
    type CommitManyStream = Answers<v1::CommitManyResponse>;
    type WatchStream = Answers<v1::WatchResponse>;
    type RunStream = Answers<v1::RunResponse>;

    async fn handshake(
        &self,
        _: tonic::Request<v1::HandshakeRequest>,
    ) -> Result<tonic::Response<v1::HandshakeResponse>, Status> {
        Ok(tonic::Response::new(self.handshake.clone()))
    }

    async fn attend(
        &self,
        _: tonic::Request<Streaming<v1::AttendRequest>>,
    ) -> Result<tonic::Response<Self::AttendStream>, Status> {
        Err(Status::unimplemented("attend"))
    }

    async fn commit(
        &self,
        _: tonic::Request<v1::CommitRequest>,
    ) -> Result<tonic::Response<v1::CommitResponse>, Status> {
        Ok(tonic::Response::new(v1::CommitResponse {
            name: self.handshake.name.clone(),
            ..Default::default()
        }))
    }

    async fn commit_many(
        &self,
        _: tonic::Request<Streaming<v1::CommitRequest>>,
    ) -> Result<tonic::Response<Self::CommitManyStream>, Status> {
        Err(Status::unimplemented("commit_many"))
    }

    async fn free(
        &self,
        _: tonic::Request<v1::FreeRequest>,
    ) -> Result<tonic::Response<v1::FreeResponse>, Status> {
        Ok(tonic::Response::new(Default::default()))
    }

    async fn destroy(
        &self,
        _: tonic::Request<v1::DestroyRequest>,
    ) -> Result<tonic::Response<v1::DestroyResponse>, Status> {
        Ok(tonic::Response::new(Default::default()))
    }

    /// Says which plugin answers, and for what; asked about `wait`, not before anything was `sent`.
    async fn describe(
        &self,
        request: tonic::Request<v1::DescribeRequest>,
    ) -> Result<tonic::Response<v1::DescribeResponse>, Status> {
        self.saw(&request);
        let name = request.into_inner().name;
        if name == "wait" {
            self.streams.send_modify(|calls| *calls += 1);
            let _begun = Begun(self.streams.clone());
            self.sent.subscribe().wait_for(|sent| *sent > 0).await.map_err(|_| Status::internal("gone"))?;
        }
        let kind = self.handshake.name.clone();
        let message = self.handshake.instance.clone();
        let summary = Some(v1::Summary { name, kind, message, ..v1::Summary::default() });
        let service = Some(v1::Description { summary, ..v1::Description::default() });
        Ok(tonic::Response::new(v1::DescribeResponse { service }))
    }

    async fn list(
        &self,
        _: tonic::Request<v1::ListRequest>,
    ) -> Result<tonic::Response<v1::ListResponse>, Status> {
        Ok(tonic::Response::new(Default::default()))
    }

    async fn watch(
        &self,
        _: tonic::Request<v1::WatchRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        Ok(tonic::Response::new(Box::pin(tokio_stream::pending())))
    }

    /// Sends `count` messages of `size` bytes, then ends or, with the action `follow`, stays silent.
    async fn run(
        &self,
        request: tonic::Request<v1::RunRequest>,
    ) -> Result<tonic::Response<Self::RunStream>, Status> {
        self.saw(&request);
        let v1::RunRequest { action, args, .. } = request.into_inner();
        let number = |name: &str| args.get(name).and_then(|text| text.parse().ok()).unwrap_or(1_usize);
        let (count, size) = (number("count"), number("size"));
        self.streams.send_modify(|streams| *streams += 1);
        let (begun, sent) = (Begun(self.streams.clone()), self.sent.clone());
        let messages = tokio_stream::iter(0..count).map(move |index| {
            sent.send_modify(|sent| *sent += 1);
            Ok(output(index, size))
        });
        let rest: Answers<v1::RunResponse> = if action == "follow" {
            Box::pin(tokio_stream::pending())
        } else {
            Box::pin(tokio_stream::empty())
        };
        let stream: Self::RunStream = Box::pin(messages.chain(rest).map(move |message| {
            let _until_dropped = &begun;
            message
        }));
        Ok(tonic::Response::new(stream))
    }
}

pub(crate) fn output(index: usize, size: usize) -> v1::RunResponse {
    let bytes = vec![u8::try_from(index % 251).unwrap(); size];
    v1::RunResponse { message: Some(v1::run_response::Message::Output(bytes.into())) }
}

pub(crate) fn run_request(action: &str, count: usize, size: usize) -> v1::RunRequest {
    let args = [("count".to_owned(), count.to_string()), ("size".to_owned(), size.to_string())].into();
    v1::RunRequest { name: "web".to_owned(), action: action.to_owned(), args, ..v1::RunRequest::default() }
}

/// A gRPC frame around a message.
pub(crate) fn framed(flag: u8, message: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(flag);
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.put_slice(message);
    frame.freeze()
}

/// A request below gRPC.
pub(crate) fn raw_request(path: &str, body: Body) -> Request<Body> {
    Request::post(path).header("content-type", "application/grpc").body(body).unwrap()
}

//! A manager that answers as it is told, and remembers what it was asked.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use om_api::socket::{self, KnownCallers, ServerTls, SocketOptions, TcpIncoming};
use om_api::v1::manager_server::{Manager, ManagerServer};
use om_api::v1::service_plugin_server::{ServicePlugin, ServicePluginServer};
use om_api::v1::{self, EventType};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

/// What one call carried.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) request_id: String,
    /// Whether it named a time limit.
    pub(crate) limited: bool,
}

/// What a stream of a watch does: its messages, then whether it stays open.
#[derive(Debug, Default)]
pub(crate) struct WatchScript {
    pub(crate) messages: Vec<Result<v1::WatchResponse, Status>>,
    pub(crate) stays_open: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) calls: Vec<Call>,
    /// Refusals of a method, each used once.
    pub(crate) refusals: HashMap<&'static str, VecDeque<Status>>,
    /// Refuses commits after so many.
    pub(crate) refuse_after: Option<(usize, Status)>,
    /// A refusal of every call of a method.
    pub(crate) always: HashMap<&'static str, om_api::Error>,
    /// Calls of this method are never answered.
    pub(crate) hangs: Option<&'static str>,
    pub(crate) committed: Vec<v1::CommitRequest>,
    pub(crate) commit_answers: VecDeque<v1::CommitResponse>,
    pub(crate) freed: Vec<v1::FreeRequest>,
    pub(crate) destroyed: Vec<v1::DestroyRequest>,
    pub(crate) destroy_answer: v1::DestroyResponse,
    /// Answers to Describe, one after another; the last one stays. None: no such service.
    pub(crate) describe: HashMap<String, VecDeque<Option<v1::Description>>>,
    pub(crate) services: Vec<v1::Summary>,
    pub(crate) listed: Vec<v1::ListRequest>,
    pub(crate) revision: u64,
    pub(crate) watches: VecDeque<WatchScript>,
    pub(crate) watched: Vec<v1::WatchRequest>,
    pub(crate) runs: Vec<v1::RunRequest>,
    pub(crate) run_messages: Vec<Result<v1::RunResponse, Status>>,
    pub(crate) status: v1::StatusResponse,
    pub(crate) history: Vec<v1::Event>,
    pub(crate) operations: Vec<v1::Operation>,
    pub(crate) snapshot: Vec<u8>,
    pub(crate) snapshot_breaks: bool,
    pub(crate) imported: Vec<v1::ImportSnapshotRequest>,
}

/// The served side.
#[derive(Clone, Debug)]
struct Served(Arc<Mutex<Script>>);

/// A manager at an address of its own; ends with the value.
pub(crate) struct Fake {
    script: Arc<Mutex<Script>>,
    endpoint: String,
    runtime: Option<Runtime>,
}

/// A plugins directory.
pub(crate) fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

impl Fake {
    /// Serves `name` in a directory.
    pub(crate) fn serve(directory: &Path, name: &str) -> Self {
        Self::serve_with(directory, name, Arc::new(Mutex::new(Script::default())))
    }

    /// Serves what another, perhaps gone, was told and remembers.
    pub(crate) fn serve_with(directory: &Path, name: &str, script: Arc<Mutex<Script>>) -> Self {
        let socket = directory.join(name);
        let endpoint = format!("unix://{}", socket.display());
        Self::start(endpoint, script, || socket::bind(&socket, &SocketOptions::default()).unwrap())
    }

    /// Serves at a port of the loopback, by TLS or in the clear.
    pub(crate) fn serve_tcp(tls: Option<ServerTls>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
        Self::start(endpoint, Arc::default(), || {
            TcpIncoming::new(tokio::net::TcpListener::from_std(listener).unwrap(), tls, |_, _| ())
        })
    }

    fn start<I, C>(endpoint: String, script: Arc<Mutex<Script>>, bind: impl FnOnce() -> I) -> Self
    where
        I: Stream<Item = std::io::Result<C>> + Send + 'static,
        C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
        C::ConnectInfo: Clone + Send + Sync + 'static,
    {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let incoming = {
            let _entered = runtime.enter();
            bind()
        };
        let served = Served(script.clone());
        let server = socket::server()
            .layer(KnownCallers)
            .add_service(
                ServicePluginServer::new(served.clone()).max_decoding_message_size(om_api::MAX_MESSAGE_BYTES),
            )
            .add_service(ManagerServer::new(served).max_decoding_message_size(om_api::MAX_MESSAGE_BYTES));
        runtime.spawn(server.serve_with_incoming(incoming));
        Self { script, endpoint, runtime: Some(runtime) }
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    pub(crate) fn shared(&self) -> Arc<Mutex<Script>> {
        self.script.clone()
    }

    pub(crate) fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// Refuses the next call of a method.
    pub(crate) fn refuse(&self, method: &'static str, error: om_api::Error) {
        self.script().refusals.entry(method).or_default().push_back(error.into());
    }

    /// Refuses every call of a method.
    pub(crate) fn refuse_always(&self, method: &'static str, error: om_api::Error) {
        self.script().always.insert(method, error);
    }

    /// The calls of a method.
    pub(crate) fn calls(&self, method: &str) -> Vec<Call> {
        self.script().calls.iter().filter(|call| call.method == method).cloned().collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(std::time::Duration::from_secs(5));
        }
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Served {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap()
    }

    async fn note<T>(&self, method: &'static str, request: &Request<T>, id: &str) -> Result<(), Status> {
        let hangs = {
            let mut script = self.script();
            let limited = request.metadata().contains_key("grpc-timeout");
            script.calls.push(Call { method, request_id: id.to_owned(), limited });
            if let Some(refusal) = script.refusals.get_mut(method).and_then(VecDeque::pop_front) {
                return Err(refusal);
            }
            if let Some(error) = script.always.get(method) {
                return Err(error.clone().into());
            }
            script.hangs == Some(method)
        };
        if hangs {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

fn stream<T: Send + 'static>(items: Vec<Result<T, Status>>) -> Response<Answers<T>> {
    Response::new(Box::pin(tokio_stream::iter(items)))
}

#[tonic::async_trait]
impl ServicePlugin for Served {
    type AttendStream = Answers<v1::AttendResponse>;
    type CommitManyStream = Answers<v1::CommitManyResponse>;
    type WatchStream = Answers<v1::WatchResponse>;
    type RunStream = Answers<v1::RunResponse>;

    async fn handshake(
        &self,
        request: Request<v1::HandshakeRequest>,
    ) -> Result<Response<v1::HandshakeResponse>, Status> {
        self.note("handshake", &request, "").await?;
        let role = v1::Role::Manager.into();
        Ok(Response::new(v1::HandshakeResponse { role, ..Default::default() }))
    }

    async fn attend(
        &self,
        _: Request<Streaming<v1::AttendRequest>>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn commit(
        &self,
        request: Request<v1::CommitRequest>,
    ) -> Result<Response<v1::CommitResponse>, Status> {
        self.note("commit", &request, &request.get_ref().request_id).await?;
        let request = request.into_inner();
        let mut script = self.script();
        if let Some((after, refusal)) = &script.refuse_after
            && script.committed.len() >= *after
        {
            return Err(refusal.clone());
        }
        let name = request.service.clone().unwrap_or_default().name;
        let revision = 10 + script.committed.len() as u64;
        script.committed.push(request);
        let usual = v1::CommitResponse {
            name,
            revision,
            changed: true,
            plan: vec!["start member 0".to_owned()],
            phase: v1::Phase::Pending.into(),
            message: String::new(),
        };
        Ok(Response::new(script.commit_answers.pop_front().unwrap_or(usual)))
    }

    async fn commit_many(
        &self,
        _: Request<Streaming<v1::CommitRequest>>,
    ) -> Result<Response<Self::CommitManyStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn free(&self, request: Request<v1::FreeRequest>) -> Result<Response<v1::FreeResponse>, Status> {
        self.note("free", &request, &request.get_ref().request_id).await?;
        self.script().freed.push(request.into_inner());
        Ok(Response::new(v1::FreeResponse { revision: 21 }))
    }

    async fn destroy(
        &self,
        request: Request<v1::DestroyRequest>,
    ) -> Result<Response<v1::DestroyResponse>, Status> {
        self.note("destroy", &request, &request.get_ref().request_id).await?;
        self.script().destroyed.push(request.into_inner());
        Ok(Response::new(self.script().destroy_answer.clone()))
    }

    async fn describe(
        &self,
        request: Request<v1::DescribeRequest>,
    ) -> Result<Response<v1::DescribeResponse>, Status> {
        self.note("describe", &request, "").await?;
        let name = request.into_inner().name;
        let mut script = self.script();
        let answers = script.describe.entry(name.clone()).or_default();
        let service = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        match service.flatten() {
            Some(service) => Ok(Response::new(v1::DescribeResponse { service: Some(service) })),
            None => {
                let text = format!("there is no service {name:?}");
                Err(om_api::Error::new(om_api::Reason::NotFound, text).into())
            }
        }
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        self.note("list", &request, "").await?;
        let request = request.into_inner();
        let mut script = self.script();
        script.listed.push(request.clone());
        let from: usize = request.page_token.parse().unwrap_or(0);
        // Smaller pages than asked for: a client must go by the token.
        let until = (from + request.page_size.clamp(1, 100) as usize).min(script.services.len());
        let next_page_token = if until < script.services.len() { until.to_string() } else { String::new() };
        let services = script.services[from..until].to_vec();
        Ok(Response::new(v1::ListResponse { services, next_page_token, revision: script.revision }))
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.note("watch", &request, "").await?;
        let mut script = self.script();
        script.watched.push(request.into_inner());
        let watch =
            script.watches.pop_front().unwrap_or(WatchScript { stays_open: true, ..Default::default() });
        let messages = tokio_stream::iter(watch.messages);
        if watch.stays_open {
            return Ok(Response::new(Box::pin(messages.chain(tokio_stream::pending()))));
        }
        Ok(Response::new(Box::pin(messages)))
    }

    async fn run(&self, request: Request<v1::RunRequest>) -> Result<Response<Self::RunStream>, Status> {
        self.note("run", &request, &request.get_ref().request_id).await?;
        let mut script = self.script();
        script.runs.push(request.into_inner());
        Ok(stream(std::mem::take(&mut script.run_messages)))
    }
}

#[tonic::async_trait]
impl Manager for Served {
    type HistoryStream = Answers<v1::HistoryResponse>;
    type ExportSnapshotStream = Answers<v1::ExportSnapshotResponse>;

    async fn status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        self.note("status", &request, "").await?;
        Ok(Response::new(self.script().status.clone()))
    }

    async fn history(
        &self,
        request: Request<v1::HistoryRequest>,
    ) -> Result<Response<Self::HistoryStream>, Status> {
        self.note("history", &request, "").await?;
        let events = self.script().history.clone();
        let name = request.into_inner().name;
        let events = events.into_iter().filter(|event| name.is_empty() || event.service == name);
        Ok(stream(events.map(|event| Ok(v1::HistoryResponse { event: Some(event) })).collect()))
    }

    async fn export_snapshot(
        &self,
        request: Request<v1::ExportSnapshotRequest>,
    ) -> Result<Response<Self::ExportSnapshotStream>, Status> {
        self.note("export", &request, "").await?;
        let script = self.script();
        let mut pieces: Vec<_> = script
            .snapshot
            .chunks(100)
            .map(|piece| Ok(v1::ExportSnapshotResponse { data: piece.to_vec().into() }))
            .collect();
        if script.snapshot_breaks {
            pieces.pop();
            pieces.push(Err(om_api::Error::new(om_api::Reason::StoreUnavailable, "the disk is gone").into()));
        }
        Ok(stream(pieces))
    }

    async fn import_snapshot(
        &self,
        request: Request<Streaming<v1::ImportSnapshotRequest>>,
    ) -> Result<Response<v1::ImportSnapshotResponse>, Status> {
        let limited = request.metadata().contains_key("grpc-timeout");
        let mut pieces = request.into_inner();
        let mut got = Vec::new();
        while let Some(piece) = pieces.message().await? {
            got.push(piece);
        }
        let id = got.first().map(|first| first.request_id.clone()).unwrap_or_default();
        let mut request = Request::new(());
        if limited {
            request.set_timeout(std::time::Duration::from_secs(1));
        }
        self.note("import", &request, &id).await?;
        self.script().imported = got;
        Ok(Response::new(v1::ImportSnapshotResponse {
            revision: 31,
            services: 2,
            freed: vec!["old".to_owned()],
        }))
    }

    async fn operations(
        &self,
        request: Request<v1::OperationsRequest>,
    ) -> Result<Response<v1::OperationsResponse>, Status> {
        self.note("operations", &request, "").await?;
        let request = request.into_inner();
        let from: usize = request.page_token.parse().unwrap_or(0);
        let operations = self.script().operations.clone();
        let next = if from + 1 < operations.len() { (from + 1).to_string() } else { String::new() };
        let operations = operations.into_iter().skip(from).take(1).collect();
        Ok(Response::new(v1::OperationsResponse { operations, next_page_token: next }))
    }

    async fn handover(
        &self,
        request: Request<v1::HandoverRequest>,
    ) -> Result<Response<v1::HandoverResponse>, Status> {
        let to = request.get_ref().to.clone();
        self.note("handover", &request, &to).await?;
        let leader = Some(v1::Leader { name: to, endpoint: String::new() });
        Ok(Response::new(v1::HandoverResponse { leader, term: 8 }))
    }
}

/// A message of a watch.
pub(crate) fn told(event: v1::Event) -> Result<v1::WatchResponse, Status> {
    assert_ne!(event.r#type(), EventType::Unspecified);
    Ok(v1::WatchResponse { event: Some(event) })
}

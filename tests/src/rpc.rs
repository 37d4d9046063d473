//! A gRPC client that blocks, for clients by the dozen and for what `om` has no words for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use om_api::v1::manager_client::ManagerClient;
use om_api::v1::service_plugin_client::ServicePluginClient;
use om_api::{MAX_MESSAGE_BYTES, Reason, v1};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const CALL: Duration = Duration::from_secs(30);

/// A call that was not answered with a result.
#[derive(Clone, Debug)]
pub struct Failure {
    /// gRPC's code.
    pub code: Code,
    /// OpenManage's reason; `None`: it did not come from OpenManage (a connection that broke).
    pub reason: Option<Reason>,
    /// For people.
    pub message: String,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let reason = om_api::Error::from_status(&status).map(|error| error.reason);
        Self { code: status.code(), reason, message: status.message().to_owned() }
    }
}

impl Failure {
    /// Whether the write may have taken effect all the same: only then is it to be asked again.
    #[must_use]
    pub fn is_unclear(&self) -> bool {
        self.reason.is_none_or(|reason| reason == Reason::Unclear)
    }
}

/// A connection to one socket, with a runtime of its own.
pub struct Client {
    runtime: Runtime,
    patience: Duration,
    channel: Channel,
    plugin: ServicePluginClient<Channel>,
    manager: ManagerClient<Channel>,
}

/// A watch under way.
pub struct Following<'a> {
    runtime: &'a Runtime,
    stream: Streaming<v1::WatchResponse>,
}

impl Client {
    /// A client of the program that serves this socket. Connects with the first call, and again after a break.
    ///
    /// # Panics
    /// If no runtime can be had.
    #[must_use]
    pub fn of(socket: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let channel = runtime.block_on(async { channel(socket.to_owned()) });
        let plugin = ServicePluginClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let manager = ManagerClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Self { runtime, patience: CALL, channel, plugin, manager }
    }

    /// The same, which waits no longer than this for any answer.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// One commit.
    ///
    /// # Errors
    /// As answered.
    pub fn commit(&self, request: v1::CommitRequest) -> Result<v1::CommitResponse, Failure> {
        let mut client = self.plugin.clone();
        self.call(async move { client.commit(request).await })
    }

    /// Many commits at once, at most `wide` under way at a time; the answers in the order of the requests.
    ///
    /// # Panics
    /// If a task dies.
    #[must_use]
    pub fn commit_all(
        &self,
        requests: Vec<v1::CommitRequest>,
        wide: usize,
    ) -> Vec<Result<v1::CommitResponse, Failure>> {
        let count = requests.len();
        self.runtime.block_on(async {
            let mut requests = requests.into_iter().enumerate();
            let mut answers: Vec<Option<Result<_, Failure>>> = vec![None; count];
            let mut under_way = tokio::task::JoinSet::new();
            loop {
                while under_way.len() < wide {
                    let Some((at, request)) = requests.next() else { break };
                    let mut client = self.plugin.clone();
                    let patience = self.patience;
                    under_way.spawn(async move { (at, bounded(patience, client.commit(request)).await) });
                }
                let Some(done) = under_way.join_next().await else { break };
                let (at, answer) = done.expect("a commit's task");
                answers[at] = Some(answer);
            }
            answers.into_iter().map(|answer| answer.expect("every request was sent")).collect()
        })
    }

    /// All services, page by page.
    ///
    /// # Errors
    /// As answered to any page.
    pub fn list(&self) -> Result<Vec<v1::Summary>, Failure> {
        let mut all = Vec::new();
        let mut page_token = String::new();
        loop {
            let page = self.page(&page_token)?;
            all.extend(page.services);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(all);
            }
        }
    }

    /// One page of them: the first after this name.
    ///
    /// # Errors
    /// As answered.
    pub fn page(&self, after: &str) -> Result<v1::ListResponse, Failure> {
        let request = v1::ListRequest { page_token: after.to_owned(), ..Default::default() };
        let mut client = self.plugin.clone();
        self.call(async move { client.list(request).await })
    }

    /// The names of all services.
    ///
    /// # Panics
    /// If they are not told.
    #[must_use]
    #[track_caller]
    pub fn names(&self) -> Vec<String> {
        let services = self.list().unwrap_or_else(|failure| panic!("no list: {failure:?}"));
        services.into_iter().map(|service| service.name).collect()
    }

    /// How often a service was committed, by the history as far as it is kept.
    ///
    /// # Panics
    /// If it is not told.
    #[must_use]
    #[track_caller]
    pub fn commits_of(&self, name: &str) -> usize {
        let events = self.history(name).unwrap_or_else(|failure| panic!("no history: {failure:?}"));
        events.iter().filter(|event| event.r#type() == v1::EventType::Committed).count()
    }

    /// How this replica sees itself.
    ///
    /// # Errors
    /// As answered.
    pub fn status(&self) -> Result<v1::StatusResponse, Failure> {
        let mut client = self.manager.clone();
        self.call(async move { client.status(v1::StatusRequest {}).await })
    }

    /// Asks for a handover; to any replica if `to` is empty.
    ///
    /// # Errors
    /// As answered.
    pub fn handover(&self, to: &str) -> Result<v1::HandoverResponse, Failure> {
        let request = v1::HandoverRequest { to: to.to_owned() };
        let mut client = self.manager.clone();
        self.call(async move { client.handover(request).await })
    }

    /// The stored events that are still kept; of all services if `name` is empty.
    ///
    /// # Errors
    /// As answered.
    pub fn history(&self, name: &str) -> Result<Vec<v1::Event>, Failure> {
        let request = v1::HistoryRequest { name: name.to_owned() };
        let mut client = self.manager.clone();
        self.call(async move {
            let mut stream = client.history(request).await?.into_inner();
            let mut events = Vec::new();
            while let Some(message) = stream.message().await? {
                events.extend(message.event);
            }
            Ok(tonic::Response::new(events))
        })
    }

    /// One service.
    ///
    /// # Errors
    /// As answered.
    pub fn describe(&self, name: &str) -> Result<v1::Description, Failure> {
        let request = v1::DescribeRequest { name: name.to_owned() };
        let mut client = self.plugin.clone();
        let answer = self.call(async move { client.describe(request).await })?;
        Ok(answer.service.unwrap_or_default())
    }

    /// Who serves the socket.
    ///
    /// # Errors
    /// As answered.
    pub fn handshake(&self) -> Result<v1::HandshakeResponse, Failure> {
        let request = v1::HandshakeRequest { caller: "test".to_owned() };
        let mut client = self.plugin.clone();
        self.call(async move { client.handshake(request).await })
    }

    /// Whether a service of this socket (empty: all of it) says by `grpc.health.v1` that it serves.
    #[must_use]
    pub fn is_healthy(&self, service: &str) -> bool {
        let request = HealthCheckRequest { service: service.to_owned() };
        let mut client = HealthClient::new(self.channel.clone());
        let answer = self.call(async move { client.check(request).await });
        answer.is_ok_and(|answer| answer.status() == ServingStatus::Serving)
    }

    /// A commit as a manager of this term sends it to a plugin.
    ///
    /// # Errors
    /// As answered.
    pub fn commit_as(
        &self,
        term: u64,
        cluster: &str,
        request: v1::CommitRequest,
    ) -> Result<v1::CommitResponse, Failure> {
        let mut request = tonic::Request::new(request);
        om_api::metadata::stamp(&mut request, term, cluster);
        let mut client = self.plugin.clone();
        self.call(async move { client.commit(request).await })
    }

    /// A watch of everything after a revision; of what is to come, if there is none.
    ///
    /// # Errors
    /// As answered.
    pub fn watch(&self, after_revision: Option<u64>) -> Result<Following<'_>, Failure> {
        let request = v1::WatchRequest { name: String::new(), after_revision };
        let mut client = self.plugin.clone();
        let stream = self.call(async move { client.watch(request).await })?;
        Ok(Following { runtime: &self.runtime, stream })
    }

    fn call<T>(&self, call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, Failure> {
        self.runtime.block_on(bounded(self.patience, call))
    }
}

impl Following<'_> {
    /// The next event; `None` after the stream's end, or if none comes within `patience`.
    pub fn next(&mut self, patience: Duration) -> Option<Result<v1::Event, Failure>> {
        let next =
            self.runtime.block_on(async { tokio::time::timeout(patience, self.stream.message()).await });
        match next {
            Err(_) | Ok(Ok(None)) => None,
            Ok(Ok(Some(message))) => Some(Ok(message.event.unwrap_or_default())),
            Ok(Err(status)) => Some(Err(status.into())),
        }
    }
}

async fn bounded<T>(
    patience: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(patience, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(status.into()),
        Err(_) => Err(Failure {
            code: Code::DeadlineExceeded,
            reason: None,
            message: format!("no answer within {patience:?}"),
        }),
    }
}

/// A connection to a unix socket, made with the first call and again after a break.
#[must_use]
pub fn channel(socket: PathBuf) -> Channel {
    let connect = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://openmanage").connect_with_connector_lazy(connect)
}

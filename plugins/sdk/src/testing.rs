//! The manager's side of a session, for the tests of plugins: over the real socket, with the generated client.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use om_api::socket::{Address, Security, connect};
use om_api::v1::attend_request::{self, Open, Release, Renewed, StateSaved};
use om_api::v1::attend_response::{Message, Opened, ServiceStatus};
use om_api::v1::service_plugin_client::ServicePluginClient;
use om_api::v1::{self, AttendRequest, AttendResponse};
use om_api::{clock, metadata};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

/// Longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A leader of some term: stamps its calls, opens sessions.
#[derive(Clone)]
pub struct Manager {
    /// The plugin.
    pub client: ServicePluginClient<Channel>,
    /// The store that its term belongs to.
    pub cluster: String,
    /// Its term.
    pub term: u64,
}

impl Manager {
    /// Connects to a plugin's socket, waiting for it to be there.
    ///
    /// # Errors
    /// It cannot be connected to within [`PATIENCE`].
    pub async fn connect(socket: &Path, cluster: &str, term: u64) -> Result<Self, String> {
        let give_up = clock::since_boot() + PATIENCE;
        loop {
            match connect(&Address::from(socket), &Security::Clear, PATIENCE).await {
                Ok(channel) => {
                    let client = ServicePluginClient::new(channel);
                    return Ok(Self { client, cluster: cluster.to_owned(), term });
                }
                Err(error) if clock::since_boot() > give_up => return Err(error.to_string()),
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// The same manager in another term.
    #[must_use]
    pub fn at(&self, term: u64) -> Self {
        Self { term, ..self.clone() }
    }

    /// A request that carries term and store.
    pub fn stamped<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        metadata::stamp(&mut request, self.term, &self.cluster);
        request
    }

    /// Opens a session that answers asks and saves by itself.
    ///
    /// # Errors
    /// What the plugin answers.
    pub async fn attend(&self, authority: Duration) -> Result<Attendance, Status> {
        self.attend_with(self.open(authority)).await
    }

    /// Opens a session in which no ask is answered.
    ///
    /// # Errors
    /// What the plugin answers.
    pub async fn attend_silently(&self, authority: Duration) -> Result<Attendance, Status> {
        self.attend_as(self.open(authority), true).await
    }

    /// Opens a session that answers asks and saves by itself, with an `open` of your own: see [`Self::open`].
    ///
    /// # Errors
    /// What the plugin answers.
    pub async fn attend_with(&self, open: Open) -> Result<Attendance, Status> {
        self.attend_as(open, false).await
    }

    /// What opens a session, to be added to: how often to ask, a last will.
    #[must_use]
    pub fn open(&self, authority: Duration) -> Open {
        Open {
            term: self.term,
            cluster: self.cluster.clone(),
            manager: format!("manager-{}", self.term),
            authority_ms: u32::try_from(authority.as_millis()).unwrap_or(u32::MAX),
            ..Default::default()
        }
    }

    async fn attend_as(&self, open: Open, silent: bool) -> Result<Attendance, Status> {
        let (to_plugin, from_test) = mpsc::channel(64);
        let authority_ms = open.authority_ms;
        let open = AttendRequest { message: Some(attend_request::Message::Open(open)) };
        to_plugin.send(open).await.map_err(|_| Status::internal("the channel is open"))?;
        let outgoing = tokio_stream::wrappers::ReceiverStream::new(from_test);
        let mut incoming = self.client.clone().attend(self.stamped(outgoing)).await?.into_inner();
        let opened = match incoming.message().await?.and_then(|response| response.message) {
            Some(Message::Opened(opened)) => opened,
            other => return Err(Status::internal(format!("not opened: {other:?}"))),
        };
        let shared = Arc::new(Shared::new(authority_ms, silent));
        let mut tasks = JoinSet::new();
        tasks.spawn(answer(shared.clone(), incoming, to_plugin.clone()));
        Ok(Attendance { opened, shared, to_plugin, _tasks: tasks })
    }

    /// Commits and returns the answer.
    ///
    /// # Errors
    /// What the plugin answers.
    pub async fn commit(
        &self,
        kind: &str,
        name: &str,
        spec: &str,
        revision: u64,
        state: &[u8],
    ) -> Result<v1::CommitResponse, Status> {
        let request = v1::CommitRequest {
            service: Some(declaration(kind, name, spec)),
            revision,
            state: Bytes::copy_from_slice(state),
            ..Default::default()
        };
        Ok(self.client.clone().commit(self.stamped(request)).await?.into_inner())
    }

    /// A dry run.
    ///
    /// # Errors
    /// What the plugin answers.
    pub async fn plan(&self, kind: &str, name: &str, spec: &str) -> Result<v1::CommitResponse, Status> {
        let service = Some(declaration(kind, name, spec));
        let request = v1::CommitRequest { service, dry_run: true, ..Default::default() };
        Ok(self.client.clone().commit(self.stamped(request)).await?.into_inner())
    }

    /// Frees.
    ///
    /// # Errors
    /// What the plugin answers.
    pub async fn free(&self, name: &str) -> Result<v1::FreeResponse, Status> {
        let request = v1::FreeRequest { name: name.to_owned(), ..Default::default() };
        Ok(self.client.clone().free(self.stamped(request)).await?.into_inner())
    }

    /// Destroys, without waiting for the end of it.
    ///
    /// # Errors
    /// What the plugin answers.
    pub async fn destroy(
        &self,
        kind: &str,
        name: &str,
        spec: &str,
        state: &[u8],
    ) -> Result<v1::DestroyResponse, Status> {
        let request = v1::DestroyRequest {
            name: name.to_owned(),
            service: Some(declaration(kind, name, spec)),
            state: Bytes::copy_from_slice(state),
            ..Default::default()
        };
        Ok(self.client.clone().destroy(self.stamped(request)).await?.into_inner())
    }

    /// Describes.
    ///
    /// # Errors
    /// What the plugin answers.
    pub async fn describe(&self, name: &str) -> Result<v1::Description, Status> {
        let request = v1::DescribeRequest { name: name.to_owned() };
        let response = self.client.clone().describe(self.stamped(request)).await?.into_inner();
        response.service.ok_or_else(|| Status::internal("no service in the answer"))
    }

    /// Runs an action to its end and returns its output.
    ///
    /// # Errors
    /// What the plugin answers, at once or at the end.
    pub async fn run(&self, name: &str, action: &str, args: &[(&str, &str)]) -> Result<String, Status> {
        let mut pieces = self.start(name, action, args).await?;
        let mut output = Vec::new();
        while let Some(piece) = pieces.message().await? {
            if let Some(v1::run_response::Message::Output(bytes)) = piece.message {
                output.extend_from_slice(&bytes);
            }
        }
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// Starts an action.
    ///
    /// # Errors
    /// What the plugin answers.
    pub async fn start(
        &self,
        name: &str,
        action: &str,
        args: &[(&str, &str)],
    ) -> Result<Streaming<v1::RunResponse>, Status> {
        let args = args.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let request =
            v1::RunRequest { name: name.to_owned(), action: action.to_owned(), args, ..Default::default() };
        Ok(self.client.clone().run(self.stamped(request)).await?.into_inner())
    }
}

/// A declaration without labels.
#[must_use]
pub fn declaration(kind: &str, name: &str, spec: &str) -> v1::Declaration {
    v1::Declaration {
        name: name.to_owned(),
        kind: kind.to_owned(),
        labels: HashMap::new(),
        spec_json: Bytes::copy_from_slice(spec.as_bytes()),
    }
}

/// A session, from the manager's side. Answers asks and saves until it is told not to; dropping it closes the session.
pub struct Attendance {
    /// What the plugin said first.
    pub opened: Opened,
    shared: Arc<Shared>,
    to_plugin: mpsc::Sender<AttendRequest>,
    _tasks: JoinSet<()>,
}

struct Shared {
    remaining_ms: AtomicU32,
    silent: AtomicBool,
    refuse: Mutex<Option<String>>,
    saved: Mutex<HashMap<String, Bytes>>,
    seen: watch::Sender<Seen>,
}

/// What a session brought so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Number of asks that came.
    pub asks: u64,
    /// Each service's newest status.
    pub statuses: HashMap<String, ServiceStatus>,
    /// Number of statuses that came.
    pub status_messages: u64,
    /// Whether `stopped` came: nothing of earlier sessions goes on.
    pub stopped: bool,
    /// Whether `released` came.
    pub released: bool,
    /// How the stream ended: `Some(None)` without an error.
    pub ended: Option<Option<Status>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn new(remaining_ms: u32, silent: bool) -> Self {
        Self {
            remaining_ms: remaining_ms.into(),
            silent: silent.into(),
            refuse: Mutex::default(),
            saved: Mutex::default(),
            seen: watch::Sender::default(),
        }
    }

    /// Takes in a message; the answer, if one is due.
    fn hear(&self, message: Message) -> Option<attend_request::Message> {
        let mut answer = None;
        self.seen.send_modify(|seen| match message {
            Message::Opened(_) => {}
            Message::Stopped(_) => seen.stopped = true,
            Message::Ask(ask) => {
                seen.asks += 1;
                if !self.silent.load(Ordering::SeqCst) {
                    let remaining_ms = self.remaining_ms.load(Ordering::SeqCst);
                    answer = Some(attend_request::Message::Renewed(Renewed { ask: ask.ask, remaining_ms }));
                }
            }
            Message::SaveState(save) => {
                let error = lock(&self.refuse).clone().unwrap_or_default();
                if error.is_empty() {
                    lock(&self.saved).insert(save.service, save.state);
                }
                answer = Some(attend_request::Message::StateSaved(StateSaved { save: save.save, error }));
            }
            Message::Status(status) => {
                seen.status_messages += 1;
                seen.statuses.insert(status.service.clone(), status);
            }
            Message::Released(_) => seen.released = true,
        });
        answer
    }
}

async fn answer(
    shared: Arc<Shared>,
    mut incoming: Streaming<AttendResponse>,
    to_plugin: mpsc::Sender<AttendRequest>,
) {
    let end = loop {
        match incoming.message().await {
            Err(status) => break Some(status),
            Ok(None) => break None,
            Ok(Some(response)) => {
                let Some(answer) = response.message.and_then(|message| shared.hear(message)) else {
                    continue;
                };
                // The end of the stream says why it cannot be sent.
                let _ = to_plugin.send(AttendRequest { message: Some(answer) }).await;
            }
        }
    };
    shared.seen.send_modify(|seen| seen.ended = Some(end));
}

impl Attendance {
    /// No ask is answered any more.
    pub fn fall_silent(&self) {
        self.shared.silent.store(true, Ordering::SeqCst);
    }

    /// Asks are answered with this much from now on.
    pub fn grant(&self, remaining: Duration) {
        let remaining_ms = u32::try_from(remaining.as_millis()).unwrap_or(u32::MAX);
        self.shared.remaining_ms.store(remaining_ms, Ordering::SeqCst);
    }

    /// Answers an ask, for the first time or again.
    pub async fn renew(&self, ask: u64, remaining: Duration) {
        let remaining_ms = u32::try_from(remaining.as_millis()).unwrap_or(u32::MAX);
        let message = Some(attend_request::Message::Renewed(Renewed { ask, remaining_ms }));
        // A session that is over has no use for it.
        let _ = self.to_plugin.send(AttendRequest { message }).await;
    }

    /// Saves are refused from now on, with this reason; `None`: no longer.
    pub fn refuse_saves(&self, why: Option<&str>) {
        *lock(&self.shared.refuse) = why.map(ToOwned::to_owned);
    }

    /// What a service saved last.
    #[must_use]
    pub fn saved(&self, service: &str) -> Option<Bytes> {
        lock(&self.shared.saved).get(service).cloned()
    }

    /// Leaves a will in the place of the one in `open`.
    pub async fn leave(&self, will: attend_request::Will) {
        let message = Some(attend_request::Message::Will(will));
        // A session that is over has no use for it.
        let _ = self.to_plugin.send(AttendRequest { message }).await;
    }

    /// Asks the plugin to stop steering.
    pub async fn release(&self) {
        let message = Some(attend_request::Message::Release(Release {}));
        // A session that is over has stopped already.
        let _ = self.to_plugin.send(AttendRequest { message }).await;
    }

    /// What came so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.shared.seen.borrow().clone()
    }

    /// Waits until what came fulfils `wanted`, and returns it.
    ///
    /// # Errors
    /// It did not within [`PATIENCE`]; names `what` was waited for, and what came instead.
    pub async fn until(&self, what: &str, wanted: impl FnMut(&Seen) -> bool) -> Result<Seen, String> {
        let mut seen = self.shared.seen.subscribe();
        let result = tokio::time::timeout(PATIENCE, seen.wait_for(wanted)).await;
        match result {
            Ok(Ok(seen)) => Ok(seen.clone()),
            _ => Err(format!("waited {PATIENCE:?} for {what}; what came: {:?}", self.seen())),
        }
    }

    /// Waits for a service's phase.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub async fn until_phase(&self, service: &str, phase: v1::Phase) -> Result<ServiceStatus, String> {
        let reached = |seen: &Seen| seen.statuses.get(service).is_some_and(|status| status.phase() == phase);
        let mut seen = self.until(&format!("{service} to be {phase:?}"), reached).await?;
        seen.statuses.remove(service).ok_or_else(|| "it was there".to_owned())
    }

    /// Waits for the stream's end; the error it ended with, if any.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub async fn until_ended(&self) -> Result<Option<Status>, String> {
        Ok(self.until("the end of the session", |seen| seen.ended.is_some()).await?.ended.flatten())
    }
}

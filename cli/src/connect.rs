//! Calls to a manager: the endpoint, the redirect, the retry.
//!
//! What must hold: a call is repeated only with the same request, request id and all, so that it takes effect once; a
//! follower's word about the leader is followed once a call; a handover is a pause and not an error; nothing outlives the
//! deadline.

mod find;

use std::future::Future;
use std::io;
use std::time::Duration;

use om_api::clock::since_boot;
use om_api::socket::{self, Address, ConnectError};
use om_api::v1::manager_client::ManagerClient;
use om_api::v1::service_plugin_client::ServicePluginClient;
use om_api::{MAX_MESSAGE_BYTES, Reason};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use crate::config::{Settings, Target};
use crate::deadline::Deadline;
use crate::failure::{Exit, Failure, Result, reason};

/// How long nobody's being named at all is put up with: a leader file that is just being written, a replica that has just
/// started. Whoever is named and has not taken over yet is waited for as long as the command may take.
const NOBODY: Duration = Duration::from_secs(2);
/// How long a socket that is absent or refuses is tried again (a program that is just being restarted), and one who was
/// named leader and denies it (a handover is under way).
const MOMENT: Duration = Duration::from_millis(600);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
const MOST_KNOWN: usize = 8;

/// The way to one manager, and to the leader that it names.
#[derive(Debug)]
pub(crate) struct Client {
    target: Target,
    origin: Address,
    current: Address,
    channel: Option<Channel>,
    /// Every endpoint that was asked or named.
    known: Vec<Address>,
    redirect: bool,
    /// What of a call must be over by the deadline.
    pub(crate) limit: Limit,
    /// When all of the command must be over.
    pub(crate) deadline: Deadline,
    /// Told once when a call has to wait for a leader.
    on_wait: fn(&str),
}

/// What of a call must be over by the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// All of it; the manager is told.
    All,
    /// Until the stream that it opens begins.
    Opening,
    /// Until somebody takes it: it may work for long before it says anything.
    Finding,
}

/// A new request id: the same intent, however often it is sent.
pub(crate) fn request_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// The client of the plugin interface.
pub(crate) fn services(channel: Channel) -> ServicePluginClient<Channel> {
    ServicePluginClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

/// The client of what only a manager answers.
pub(crate) fn manager(channel: Channel) -> ManagerClient<Channel> {
    ManagerClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

/// How long something is put up with: a moment, from the first time on.
#[derive(Default)]
struct Patience(Option<Duration>);

impl Patience {
    fn is_over(&mut self, moment: Duration) -> bool {
        let now = since_boot();
        now - *self.0.get_or_insert(now) > moment
    }
}

/// What to do about a call that failed.
enum Next {
    /// Ask again after a pause; why, if it is not to be.
    Again(Failure),
    /// The same, but not for long: nobody is named as the leader.
    Nobody(Failure),
    /// Ask the leader.
    Leader(Address),
    /// Connect anew, and ask again while the patience lasts.
    Reconnect(Failure),
    /// Give up.
    Fail(Failure),
}

impl Client {
    /// The way to the manager that the settings name. Connects with the first call.
    pub(crate) fn new(settings: &Settings, target: Target, on_wait: fn(&str)) -> Self {
        let origin = match &target {
            Target::Endpoint(address) => address.clone(),
            Target::Named { name, directory } => Address::Unix(om_api::places::socket(directory, name)),
        };
        Self {
            target,
            current: origin.clone(),
            known: vec![origin.clone()],
            origin,
            channel: None,
            limit: Limit::All,
            redirect: settings.redirect,
            deadline: Deadline::after(settings.timeout),
            on_wait,
        }
    }

    /// Makes a call that is answered once or by a stream that ends by itself. `call` may be made several times, each
    /// time with the same message.
    pub(crate) async fn call<Q, A, F, Fut>(&mut self, message: &Q, call: F) -> Result<A>
    where
        Q: Clone,
        F: Fn(Channel, Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        let mut pause = FIRST_PAUSE;
        let mut redirected = false;
        let mut absent = Patience::default();
        let mut contradiction = Patience::default();
        let mut nobody = Patience::default();
        // What it was that took all the time, if that runs out.
        let mut waited_for: Option<Failure> = None;
        loop {
            let next = match self.attempt(message, &call).await {
                Ok(answer) => return Ok(answer),
                Err(next) => next,
            };
            match next {
                Next::Again(failure) => {
                    waited_for = Some(failure);
                    self.deadline.pause(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Next::Nobody(failure) => {
                    if nobody.is_over(NOBODY) {
                        return Err(failure);
                    }
                    waited_for = Some(failure);
                    self.deadline.pause(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Next::Leader(address) if !self.redirect => {
                    let hint = format!("ask it: --endpoint {address}");
                    return Err(self.not_leader(&address).hint(hint));
                }
                Next::Leader(address) if !redirected => {
                    redirected = true;
                    self.go_to(address);
                }
                // Whoever was named has perhaps not heard of it yet: he is asked again, nobody else.
                Next::Leader(address) => {
                    if contradiction.is_over(MOMENT) || self.deadline.passed() {
                        let hint = "leadership is moving, or two managers disagree: `om status` asks each";
                        return Err(self.not_leader(&address).hint(hint));
                    }
                    self.deadline.pause(FIRST_PAUSE).await;
                }
                Next::Reconnect(failure) if self.current == self.origin => {
                    if absent.is_over(MOMENT) || self.deadline.passed() {
                        return Err(self.explain(failure).await);
                    }
                    self.channel = None;
                    self.deadline.pause(FIRST_PAUSE).await;
                }
                // The leader that was named is gone. Whoever named it lives, and will know the next one.
                Next::Reconnect(failure) => {
                    self.wait_for_leader(&failure.message);
                    waited_for = Some(self.explain(failure).await);
                    self.deadline.pause(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    self.go_to(self.origin.clone());
                    redirected = false;
                }
                Next::Fail(failure) => {
                    return Err(match waited_for {
                        Some(cause) if failure.reason == reason::TIMED_OUT => self.waited(cause),
                        _ => failure,
                    });
                }
            }
        }
    }

    fn waited(&self, mut cause: Failure) -> Failure {
        cause.message = format!("{} (waited {})", cause.message, self.deadline.describe());
        cause
    }

    /// One message of a stream that [`Client::call`] opened; `None` at its end.
    pub(crate) async fn next<T>(&self, stream: &mut Streaming<T>) -> Result<Option<T>> {
        match self.deadline.bound(stream.message()).await {
            None => Err(self.timed_out()),
            Some(Ok(message)) => Ok(message),
            Some(Err(status)) => Err(self.fail(status)),
        }
    }

    /// Goes on at another endpoint.
    fn go_to(&mut self, address: Address) {
        self.channel = None;
        if !self.known.contains(&address) && self.known.len() < MOST_KNOWN {
            self.known.push(address.clone());
        }
        self.current = address;
    }

    /// Goes on at the next of all the endpoints that were ever named.
    pub(crate) fn try_next(&mut self) {
        let at = self.known.iter().position(|known| *known == self.current).map_or(0, |at| at + 1);
        if let Some(next) = self.known.get(at % self.known.len().max(1)) {
            self.go_to(next.clone());
        }
    }

    /// Forgets the connection and waits a moment.
    pub(crate) async fn pause(&mut self, pause: Duration) {
        self.channel = None;
        self.deadline.pause(pause).await;
    }

    /// The failure behind a status that a stream ended with.
    pub(crate) fn fail(&self, status: Status) -> Failure {
        if is_transport(&status) {
            let text = format!("the connection to {} broke: {}", self.current, root_cause(&status));
            return Failure::new(Exit::Unreachable, reason::CANNOT_CONNECT, text);
        }
        status.into()
    }

    async fn attempt<Q, A, F, Fut>(&mut self, message: &Q, call: &F) -> Result<A, Next>
    where
        Q: Clone,
        F: Fn(Channel, Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        let channel = self.channel().await?;
        let mut request = Request::new(message.clone());
        if let Some(left) = self.deadline.left() {
            if left.is_zero() {
                return Err(Next::Fail(self.timed_out()));
            }
            if self.limit == Limit::All {
                request.set_timeout(left);
            }
        }
        let calling = call(channel, request);
        let answer = match self.limit {
            Limit::All | Limit::Opening => self.deadline.bound(calling).await,
            Limit::Finding => Some(calling.await),
        };
        let status = match answer {
            Some(Ok(response)) => return Ok(response.into_inner()),
            Some(Err(status)) => status,
            None => return Err(Next::Fail(self.timed_out())),
        };
        Err(self.judge(status))
    }

    fn judge(&mut self, status: Status) -> Next {
        let Some(error) = om_api::Error::from_status(&status) else {
            // A client's own time limit shows as Cancelled, a server's as DeadlineExceeded.
            if self.deadline.left().is_some_and(|left| left < Duration::from_millis(20)) {
                return Next::Fail(self.timed_out());
            }
            return if is_transport(&status) {
                Next::Reconnect(self.fail(status))
            } else {
                Next::Fail(status.into())
            };
        };
        let endpoint = error.metadata.get("endpoint").filter(|endpoint| !endpoint.is_empty());
        match (error.reason, endpoint) {
            (Reason::NotLeader, Some(endpoint)) => match endpoint.parse::<Address>() {
                Ok(address) => Next::Leader(address),
                Err(cause) => Next::Fail(Failure::from(error.clone()).hint(cause.to_string())),
            },
            (Reason::NotLeader, None) if !self.redirect => Next::Fail(error.into()),
            (Reason::NoLeader, _) if error.metadata.contains_key("unnamed") => Next::Nobody(error.into()),
            // A leader that has not said yet where it serves; no leader yet; a handover while the write was under way.
            (Reason::NotLeader | Reason::NoLeader | Reason::Unclear, _) => {
                self.wait_for_leader(&error.message);
                Next::Again(error.into())
            }
            _ => Next::Fail(error.into()),
        }
    }

    fn wait_for_leader(&mut self, why: &str) {
        (self.on_wait)(why);
        self.on_wait = |_| ();
    }

    async fn channel(&mut self) -> Result<Channel, Next> {
        if let Some(channel) = &self.channel {
            return Ok(channel.clone());
        }
        let left = self.deadline.left().unwrap_or(Duration::from_secs(30));
        match socket::connect(&self.current, &socket::Security::Clear, left).await {
            Ok(channel) => Ok(self.channel.insert(channel).clone()),
            Err(error) => Err(self.cannot_connect(&error)),
        }
    }

    fn cannot_connect(&self, error: &ConnectError) -> Next {
        match error.kind {
            io::ErrorKind::TimedOut => Next::Fail(Failure::timed_out(error.to_string())),
            io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported => {
                Next::Fail(Failure::new(Exit::Unreachable, reason::CANNOT_CONNECT, error.to_string()))
            }
            _ => Next::Reconnect(Failure::new(Exit::Unreachable, reason::CANNOT_CONNECT, error.to_string())),
        }
    }

    /// The time is up.
    pub(crate) fn timed_out(&self) -> Failure {
        Failure::timed_out(format!("no answer from {} within {}", self.current, self.deadline.describe()))
            .hint("give it longer with --timeout; `om status` shows what the manager sees")
    }

    fn not_leader(&self, leader: &Address) -> Failure {
        let text = format!("{} is not the leader and names {leader}", self.current);
        Failure::new(Exit::Leader, Reason::NotLeader.as_str(), text)
    }

    /// Says which managers do answer, if the one that was looked for does not.
    async fn explain(&self, failure: Failure) -> Failure {
        match &self.target {
            Target::Named { name, directory } if self.current == self.origin => {
                find::nobody(name, directory, failure).await
            }
            _ if self.current == self.origin => {
                failure.hint("is the manager running? is the endpoint right?")
            }
            _ => failure.hint(
                "it was named as the leader, and no other has taken over; `om status` shows who is named",
            ),
        }
    }
}

/// Whether the connection failed, and not the other side: only what arose here has a source.
pub(crate) fn is_transport(status: &Status) -> bool {
    om_api::Error::from_status(status).is_none() && std::error::Error::source(status).is_some()
}

fn root_cause(status: &Status) -> String {
    let mut cause: &dyn std::error::Error = status;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

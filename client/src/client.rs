//! Calls, made where the course says.

use std::fmt;
use std::io;
use std::time::Duration;

use om_api::Reason;
use om_api::clock::since_boot;
use om_api::socket::{self, Address, Security};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use crate::course::{Course, Event, Step};
use crate::deadline::Deadline;
use crate::error::{Error, is_transport};
use crate::lookout::another_leads;

/// How long the first attempt to connect may take where there are others to ask, and how long any. A host that is lost
/// does not refuse; one that is far away is given longer each time.
const FIRST_ATTEMPT: Duration = Duration::from_millis(250);
const LONGEST_ATTEMPT: Duration = Duration::from_secs(4);
/// The same where there is nobody else.
const LAST_ATTEMPT: Duration = Duration::from_secs(30);
/// A client's own time limit is up a little before or after the one that the other side was told.
const SLACK: Duration = Duration::from_millis(20);

/// Whom a client talks to, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Replicas, in the order in which they are asked. Any may be down.
    pub endpoints: Vec<Address>,
    /// How TCP is spoken.
    pub security: Security,
    /// Whether to go to the leader when a follower answers.
    pub redirect: bool,
}

impl Options {
    /// With redirects; in the clear, and so only to this machine.
    pub fn new(endpoints: impl IntoIterator<Item = Address>) -> Self {
        let endpoints = endpoints.into_iter().collect();
        Self { endpoints, security: Security::default(), redirect: true }
    }
}

/// What of a call must be over by the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// All of it; the manager is told.
    All,
    /// Until the stream that it opens begins.
    Opening,
    /// Until somebody takes it: it may work for long before it says anything.
    Finding,
}

/// Told why a call waits.
type Tell = Box<dyn FnOnce(&str) + Send>;

/// The way to the managers, and to the leader that they name.
pub struct Client {
    course: Course,
    channel: Option<(Address, Channel)>,
    security: Security,
    redirect: bool,
    /// How long the next attempt to connect may take.
    patience: Duration,
    /// What of a call must be over by the deadline.
    pub limit: Limit,
    /// When all must be over; never, at first.
    pub deadline: Deadline,
    on_wait: Option<Tell>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("course", &self.course).finish_non_exhaustive()
    }
}

/// What to do about an attempt that failed.
enum Failed {
    /// Something may come of asking again, or elsewhere.
    Go(Event, Error),
    /// Nothing comes of it.
    End(Error),
}

impl Client {
    /// Connects with the first call.
    ///
    /// Without any endpoint each call fails, for there is nobody at `unix:///`.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let mut endpoints = options.endpoints.into_iter();
        let first = endpoints.next().unwrap_or_else(|| Address::Unix("/".into()));
        Self {
            course: Course::new(first, endpoints),
            channel: None,
            security: options.security,
            redirect: options.redirect,
            patience: FIRST_ATTEMPT,
            limit: Limit::All,
            deadline: Deadline::never(),
            on_wait: None,
        }
    }

    /// Is told why, once, when a call has to wait for a leader.
    #[must_use]
    pub fn on_wait(mut self, tell: impl FnOnce(&str) + Send + 'static) -> Self {
        self.on_wait = Some(Box::new(tell));
        self
    }

    /// Whom the next call asks first.
    #[must_use]
    pub fn current(&self) -> &Address {
        self.course.current()
    }

    /// Makes a call that is answered once or by a stream that ends by itself. `call` may be made several times, each
    /// time with the same message.
    ///
    /// # Errors
    /// [`Error`], when asking again does not help or the time is up.
    pub async fn call<Q, A, F, Fut>(&mut self, message: &Q, call: F) -> Result<A, Error>
    where
        Q: Clone,
        F: Fn(Channel, Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        self.go(message, call, true).await
    }

    /// The same for a call that has no request id: if the connection breaks under way it may have taken effect, so it is
    /// not made again.
    ///
    /// # Errors
    /// As [`Client::call`]; [`Error::Unreachable`] when the connection broke.
    pub async fn call_once<Q, A, F, Fut>(&mut self, message: &Q, call: F) -> Result<A, Error>
    where
        Q: Clone,
        F: Fn(Channel, Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        self.go(message, call, false).await
    }

    async fn go<Q, A, F, Fut>(&mut self, message: &Q, call: F, again: bool) -> Result<A, Error>
    where
        Q: Clone,
        F: Fn(Channel, Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        self.course.begin();
        self.patience = FIRST_ATTEMPT;
        // What it was that took all the time, if that runs out.
        let mut waited_for: Option<Error> = None;
        loop {
            let (event, error) = match self.attempt(message, &call, again).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::Go(event, error)) => (event, error),
                Err(Failed::End(error)) => {
                    return Err(match waited_for {
                        Some(cause) if matches!(error, Error::TimedOut { .. }) => {
                            cause.after(self.deadline.timeout())
                        }
                        _ => error,
                    });
                }
            };
            let is_named = self.course.is_named();
            let others: Vec<_> = self.course.others().map(ToString::to_string).collect();
            match self.course.next(since_boot(), event.clone()) {
                Step::GiveUp if event == Event::Lost => return Err(error.nor_others(&others)),
                Step::GiveUp => return Err(error),
                Step::Ask(pause) => {
                    if matches!(event, Event::NoLeader { unnamed: false })
                        || (event == Event::Lost && is_named)
                    {
                        self.tell(&error);
                    }
                    // Nobody can be asked any more: the error that is there is better than that the time is up.
                    if matches!(event, Event::Lost) && !is_named && self.deadline.passed() {
                        return Err(error);
                    }
                    if !matches!(event, Event::NotLeader { .. }) {
                        waited_for = Some(error);
                    } else if self.deadline.passed() {
                        return Err(waited_for.map_or(error, |cause| cause.after(self.deadline.timeout())));
                    }
                    if !pause.is_zero() {
                        self.deadline.pause(pause).await;
                    }
                }
            }
        }
    }

    fn tell(&mut self, error: &Error) {
        if let Some(tell) = self.on_wait.take() {
            tell(&error.to_string());
        }
    }

    /// One message of a stream that [`Client::call`] opened; `None` at its end.
    ///
    /// # Errors
    /// The connection broke, the other side failed, or the time is up.
    pub async fn next<T>(&self, stream: &mut Streaming<T>) -> Result<Option<T>, Error> {
        match self.deadline.bound(stream.message()).await {
            None => Err(self.timed_out()),
            Some(Ok(message)) => Ok(message),
            Some(Err(status)) => Err(self.explain(status)),
        }
    }

    /// Goes on at the next of all the endpoints that were ever given or named.
    pub fn try_next(&mut self) {
        self.course.try_next();
    }

    /// Forgets the connection and waits a moment.
    pub async fn pause(&mut self, pause: Duration) {
        self.channel = None;
        self.deadline.pause(pause).await;
    }

    /// The error behind a status that a stream ended with.
    #[must_use]
    pub fn explain(&self, status: Status) -> Error {
        if is_transport(&status) {
            return Error::broke(self.course.current(), self.course.is_named(), &status);
        }
        status.into()
    }

    /// The time is up.
    #[must_use]
    pub fn timed_out(&self) -> Error {
        let why = format!("no answer from {} within {}", self.course.current(), self.deadline.describe());
        Error::TimedOut { why }
    }

    async fn attempt<Q, A, F, Fut>(&mut self, message: &Q, call: &F, again: bool) -> Result<A, Failed>
    where
        Q: Clone,
        F: Fn(Channel, Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        let channel = self.channel().await?;
        let mut request = Request::new(message.clone());
        if let Some(left) = self.deadline.left() {
            if left.is_zero() {
                return Err(Failed::End(self.timed_out()));
            }
            if self.limit == Limit::All {
                request.set_timeout(left);
            }
        }
        let calling = call(channel, request);
        let answer = match self.limit {
            Limit::Finding => Some(calling.await),
            Limit::All | Limit::Opening => tokio::select! {
                answer = self.deadline.bound(calling) => answer,
                (leader, term) = self.another_leads(), if again && self.redirect => {
                    let asked = self.course.current().clone();
                    let error = Error::NotLeader { asked, leader: leader.clone(), disputed: true };
                    return Err(Failed::Go(Event::NotLeader { leader, term }, error));
                }
            },
        };
        match answer {
            Some(Ok(response)) => Ok(response.into_inner()),
            Some(Err(status)) => Err(self.judge(status, again)),
            None => Err(Failed::End(self.timed_out())),
        }
    }

    fn another_leads(&self) -> impl Future<Output = (Address, u64)> + use<> {
        let others = self.course.others().cloned().collect();
        let current = self.course.current().clone();
        another_leads(others, current, self.security.clone(), self.course.term())
    }

    fn judge(&mut self, status: Status, again: bool) -> Failed {
        let Some(error) = om_api::Error::from_status(&status) else {
            // A client's own time limit shows as Cancelled, a server's as DeadlineExceeded.
            if self.deadline.left().is_some_and(|left| left < SLACK) {
                return Failed::End(self.timed_out());
            }
            if !is_transport(&status) {
                return Failed::End(status.into());
            }
            self.channel = None;
            let broke = Error::broke(self.course.current(), self.course.is_named(), &status);
            return if again { Failed::Go(Event::Lost, broke) } else { Failed::End(broke) };
        };
        let endpoint = error.metadata.get("endpoint").filter(|endpoint| !endpoint.is_empty());
        let refused = |error: &om_api::Error| Error::Refused { error: error.clone(), waited: None };
        match (error.reason, endpoint) {
            (Reason::NotLeader, Some(endpoint)) => match endpoint.parse::<Address>() {
                Ok(leader) => {
                    let term = error.metadata.get("term").and_then(|term| term.parse().ok()).unwrap_or(0);
                    let asked = self.course.current().clone();
                    let named = Error::NotLeader { asked, leader: leader.clone(), disputed: self.redirect };
                    if self.redirect {
                        Failed::Go(Event::NotLeader { leader, term }, named)
                    } else {
                        Failed::End(named)
                    }
                }
                Err(cause) => {
                    let error = error.clone().hint(cause.to_string());
                    Failed::End(Error::Refused { error, waited: None })
                }
            },
            (Reason::NotLeader, None) if !self.redirect => Failed::End(refused(&error)),
            // A call that is not to be made twice is not made again after it may have been done.
            (Reason::Unclear, _) if !again => Failed::End(refused(&error)),
            // A leader that has not said yet where it serves; no leader yet; a handover while the write was under way.
            (Reason::NotLeader | Reason::NoLeader | Reason::Unclear, _) => {
                let unnamed = error.metadata.contains_key("unnamed");
                Failed::Go(Event::NoLeader { unnamed }, refused(&error))
            }
            _ => Failed::End(refused(&error)),
        }
    }

    async fn channel(&mut self) -> Result<Channel, Failed> {
        let current = self.course.current();
        if let Some((address, channel)) = &self.channel
            && address == current
        {
            return Ok(channel.clone());
        }
        let has_others = self.course.others().next().is_some();
        let most = if has_others { self.patience } else { LAST_ATTEMPT };
        let left = self.deadline.left().unwrap_or(LAST_ATTEMPT);
        let error = match socket::connect(current, &self.security, left.min(most)).await {
            Ok(channel) => {
                self.channel = Some((current.clone(), channel.clone()));
                return Ok(channel);
            }
            Err(error) => error,
        };
        let unreachable = Error::unreachable(&error, self.course.is_named());
        if error.kind == io::ErrorKind::TimedOut {
            self.patience = (most * 2).min(LONGEST_ATTEMPT);
        }
        Err(match error.kind {
            io::ErrorKind::TimedOut if !has_others || left <= most => {
                Failed::End(Error::TimedOut { why: error.to_string() })
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported | io::ErrorKind::InvalidData => {
                Failed::Go(Event::Unusable, unreachable)
            }
            _ => Failed::Go(Event::Lost, unreachable),
        })
    }
}

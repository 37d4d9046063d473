//! Calls to a manager, with failures that a person can do something about. How calls find their way is `om-client`'s.

mod find;

use std::future::Future;
use std::ops::{Deref, DerefMut};

use om_client::{Error, Options};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

pub(crate) use om_client::{Deadline, Limit, human, is_transport, manager, request_id, services};

use crate::config::{Settings, Target};
use crate::failure::{Exit, Failure, Result, reason};

/// The way to one manager, and to the leader that it names.
#[derive(Debug)]
pub(crate) struct Client {
    inner: om_client::Client,
    target: Target,
}

impl Deref for Client {
    type Target = om_client::Client;

    fn deref(&self) -> &om_client::Client {
        &self.inner
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut om_client::Client {
        &mut self.inner
    }
}

impl Client {
    /// The way to the manager that the settings name. Connects with the first call.
    ///
    /// # Errors
    /// Wrong use: whom to ask, or by what certificates.
    pub(crate) fn new(settings: &Settings, on_wait: fn(&str)) -> Result<Self> {
        let target = settings.target.clone()?;
        let options = Options {
            security: settings.security.clone()?,
            redirect: settings.redirect,
            ..Options::new(target.endpoints())
        };
        let mut inner = om_client::Client::new(options).on_wait(on_wait);
        inner.deadline = Deadline::after(settings.timeout);
        Ok(Self { inner, target })
    }

    /// As [`om_client::Client::call`].
    pub(crate) async fn call<Q, A, F, Fut>(&mut self, message: &Q, call: F) -> Result<A>
    where
        Q: Clone,
        F: Fn(Channel, Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        match self.inner.call(message, call).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.explain(error).await),
        }
    }

    /// As [`om_client::Client::next`].
    pub(crate) async fn next<T>(&self, stream: &mut Streaming<T>) -> Result<Option<T>> {
        Ok(self.inner.next(stream).await?)
    }

    /// The failure behind a status that a stream ended with.
    pub(crate) fn fail(&self, status: Status) -> Failure {
        self.inner.explain(status).into()
    }

    /// The time is up.
    pub(crate) fn timed_out(&self) -> Failure {
        self.inner.timed_out().into()
    }

    /// Says which managers do answer, if the one that was looked for does not.
    async fn explain(&self, error: Error) -> Failure {
        let is_target = matches!(&error, Error::Unreachable { endpoint, named: false, .. } if self.target.endpoints().contains(endpoint));
        match &self.target {
            Target::Named { name, directory } if is_target => {
                find::nobody(name, directory, error.into()).await
            }
            _ => error.into(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Refused { error, waited } => {
                let mut failure = Self::from(error);
                if let Some(waited) = waited {
                    failure.message = format!("{} (waited {})", failure.message, human(waited));
                }
                failure
            }
            Error::Status(status) => status.into(),
            Error::Unreachable { named, .. } => {
                let hint = if named {
                    "it was named as the leader, and no other has taken over; `om status` shows who is named"
                } else {
                    "is the manager running? is the endpoint right?"
                };
                Self::new(Exit::Unreachable, reason::CANNOT_CONNECT, message).hint(hint)
            }
            Error::TimedOut { .. } => Self::timed_out(message)
                .hint("give it longer with --timeout; `om status` shows what the manager sees"),
            Error::NotLeader { disputed, leader, .. } => {
                let hint = if disputed {
                    "leadership is moving, or two managers disagree: `om status` asks each".to_owned()
                } else {
                    format!("ask it: --endpoint {leader}")
                };
                Self::new(Exit::Leader, om_api::Reason::NotLeader.as_str(), message).hint(hint)
            }
        }
    }
}

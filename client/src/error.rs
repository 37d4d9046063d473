//! Why a call was not answered.

use std::time::Duration;

use om_api::socket::{Address, ConnectError};
use tonic::Status;

use crate::deadline::human;

/// Why a call was not answered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A manager or a plugin said no, with a reason. It may be that no leader was found in all the time.
    #[error("{error}{}", so_long(*.waited))]
    Refused {
        /// What it said.
        error: om_api::Error,
        /// How long it was asked again and again.
        waited: Option<Duration>,
    },
    /// The other side failed in a way that is none of ours.
    #[error("{}", .0.message())]
    Status(Status),
    /// Nobody can be reached.
    #[error("{why}{}", so_long(*.waited))]
    Unreachable {
        /// Where.
        endpoint: Address,
        /// What failed, and why.
        why: String,
        /// Whether it was named as the leader; otherwise it was given.
        named: bool,
        /// Whether the call had been sent: it may have taken effect.
        under_way: bool,
        /// How long it was tried.
        waited: Option<Duration>,
    },
    /// The time was up before an answer came.
    #[error("{why}")]
    TimedOut {
        /// From whom, or connecting to whom.
        why: String,
    },
    /// A follower answered, and its word was not followed: that was not wanted, or the one that it names denies it.
    #[error("{asked} is not the leader and names {leader}")]
    NotLeader {
        /// Who answered.
        asked: Address,
        /// Whom it names.
        leader: Address,
        /// Two managers named each other for seconds.
        disputed: bool,
    },
}

fn so_long(time: Option<Duration>) -> String {
    time.map_or(String::new(), |time| format!(" (waited {})", human(time)))
}

impl Error {
    /// No connection, as yet.
    pub(crate) fn unreachable(error: &ConnectError, named: bool) -> Self {
        let (endpoint, why) = (error.address.clone(), error.to_string());
        Self::Unreachable { endpoint, why, named, under_way: false, waited: None }
    }

    /// The connection broke.
    pub(crate) fn broke(endpoint: &Address, named: bool, status: &Status) -> Self {
        let why = format!("the connection to {endpoint} broke: {}", root_cause(status));
        Self::Unreachable { endpoint: endpoint.clone(), why, named, under_way: true, waited: None }
    }

    /// The same, and nobody else is there either.
    pub(crate) fn nor_others(mut self, others: &[String]) -> Self {
        if let Self::Unreachable { why, .. } = &mut self
            && !others.is_empty()
        {
            *why = format!("{why}; nor does anybody answer at {}", others.join(", "));
        }
        self
    }

    /// The same, after all the time.
    pub(crate) fn after(mut self, time: Duration) -> Self {
        match &mut self {
            Self::Refused { waited, .. } | Self::Unreachable { waited, .. } => *waited = Some(time),
            _ => {}
        }
        self
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        match om_api::Error::from_status(&status) {
            Some(error) => Self::Refused { error, waited: None },
            None => Self::Status(status),
        }
    }
}

/// Whether the connection failed, and not the other side: only what arose here has a source.
#[must_use]
pub fn is_transport(status: &Status) -> bool {
    om_api::Error::from_status(status).is_none() && std::error::Error::source(status).is_some()
}

fn root_cause(status: &Status) -> String {
    let mut cause: &dyn std::error::Error = status;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

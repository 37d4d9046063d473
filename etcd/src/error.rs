//! What can go wrong on the way to etcd.

use std::fmt;

/// A result of a call to etcd.
pub type Result<T> = std::result::Result<T, Error>;

/// What failed, where and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was tried.
    pub what: String,
    /// At which endpoint, as it was last tried.
    pub endpoint: String,
    /// Why it failed, in etcd's words where it answered.
    pub why: String,
}

impl Failure {
    /// etcd only closes the connection of a client whose certificate it does not take.
    fn certificates(&self) -> &'static str {
        if self.endpoint.starts_with("https:") { " Does it take our certificate?" } else { "" }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at etcd {}: {}", self.what, self.endpoint, self.why)
    }
}

/// Why etcd did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No endpoint took it in time. It was not done, and will not be.
    #[error("{0}; it was not done. Is etcd running, with a leader, and reachable from here?{hint}", hint = .0.certificates())]
    Unavailable(Failure),
    /// It was sent, and no answer came: it was done or not, or will be done yet.
    #[error("{0}; it may have been done or not")]
    Unclear(Failure),
    /// Wrong credentials, or rights that do not suffice. It was not done.
    #[error(
        "{0}; check the user, the password and the user's role (`etcdctl user get`), or the client certificate"
    )]
    Refused(Failure),
    /// etcd takes no more writes, for its database is full. It was not done.
    #[error(
        "{0}; etcd's database is full: compact it (`etcdctl compact`), then `etcdctl defrag` and `etcdctl alarm disarm`, or raise its `--quota-backend-bytes`"
    )]
    NoSpace(Failure),
    /// More than etcd takes in one request. It was not done.
    #[error("{0}; etcd's limits are `--max-request-bytes` and `--max-txn-ops`")]
    TooLarge(Failure),
    /// What was asked for is compacted away: read afresh, then go on from there.
    #[error("{failure}; the revisions before {} are compacted away", oldest.map_or("a later one".to_owned(), |it| it.to_string()))]
    Compacted {
        /// What was asked for.
        failure: Failure,
        /// The oldest revision that can be read, if etcd named it.
        oldest: Option<i64>,
    },
    /// What etcd says now is older than what it said before, or comes from another cluster.
    #[error(
        "{0}; was etcd wiped, or restored from a backup? What is known of it does not count any more: read afresh"
    )]
    WentBack(Failure),
    /// There is no such lease: it ran out, or was revoked.
    #[error("{0}; the lease is gone: grant a new one")]
    LeaseGone(Failure),
    /// etcd does not understand, or does not allow, this request. It was not done.
    #[error("{0}")]
    Invalid(Failure),
}

impl Error {
    /// What failed, where and why.
    #[must_use]
    pub fn failure(&self) -> &Failure {
        match self {
            Self::Unavailable(failure)
            | Self::Unclear(failure)
            | Self::Refused(failure)
            | Self::NoSpace(failure)
            | Self::TooLarge(failure)
            | Self::Compacted { failure, .. }
            | Self::WentBack(failure)
            | Self::LeaseGone(failure)
            | Self::Invalid(failure) => failure,
        }
    }
}

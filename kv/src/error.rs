//! What can go wrong on the way to where the keys are kept.

use std::fmt;

/// A result of a call.
pub type Result<T> = std::result::Result<T, Error>;

/// What failed, where and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was tried.
    pub what: String,
    /// Where, as it was last tried: `etcd http://10.0.0.1:2379`.
    pub place: String,
    /// Why it failed, in the words of whoever answered.
    pub why: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.what, self.place, self.why)
    }
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Nobody took it in time. It was not done, and will not be.
    Unavailable(Failure),
    /// It was sent, and no answer came: it was done or not, or will be done yet.
    Unclear(Failure),
    /// Wrong credentials, or rights that do not suffice. It was not done.
    Refused(Failure),
    /// No more writes are taken, for there is no room. A transaction may have been done all the same: etcd says this also
    /// of the one by which the room ran out, which it did (`quotaApplierV3` of its server). It will not be done later.
    NoSpace(Failure),
    /// More than is taken in one request. It was not done.
    TooLarge(Failure),
    /// What was asked for is compacted away: read afresh, then go on from there.
    Compacted {
        /// What was asked for.
        failure: Failure,
        /// The oldest revision that can be read, if it was named.
        oldest: Option<i64>,
    },
    /// What is said now is older than what was said before, or comes from another cluster.
    WentBack(Failure),
    /// There is no such lease: it ran out, or was revoked.
    LeaseGone(Failure),
    /// The request is not understood, or not allowed. It was not done.
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

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failure = self.failure();
        write!(f, "{failure}")?;
        match self {
            Self::Unavailable(_) => write!(f, "; it was not done")?,
            Self::Unclear(_) => write!(f, "; it may have been done or not")?,
            Self::Compacted { oldest: Some(oldest), .. } => {
                write!(f, "; the revisions before {oldest} are compacted away")?;
            }
            Self::Compacted { oldest: None, .. } => {
                write!(f, "; the revisions before a later one are compacted away")?;
            }
            Self::LeaseGone(_) => write!(f, "; the lease is gone: grant a new one")?,
            _ => {}
        }
        if failure.hint.is_empty() { Ok(()) } else { write!(f, "; {}", failure.hint) }
    }
}

impl std::error::Error for Error {}

//! Errors on the wire: a gRPC status with `google.rpc.ErrorInfo`, domain [`DOMAIN`], and a [`Reason`].
//!
//! Programs decide by the reason, never by the text. People read: what failed, why, what to do (the hint).

use std::collections::HashMap;
use std::fmt;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of every `ErrorInfo` of OpenManage.
pub const DOMAIN: &str = "openmanage";

const HINT: &str = "hint";

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $text:literal => $code:ident,)+) => {
        /// Why a call failed. The text on the wire is pinned; variants may be added.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason { $($(#[$doc])* $variant,)+ }

        impl Reason {
            /// As on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The gRPC code that goes with it.
            #[must_use]
            pub const fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)+ }
            }

            fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

reasons! {
    /// Somebody else leads. Metadata: `leader`, `endpoint`, `term`. A client goes there, once.
    NotLeader = "NOT_LEADER" => FailedPrecondition,
    /// Nobody leads, or leadership was lost before the call was forwarded. Try again soon. Metadata: `unnamed`, if
    /// nobody is even named: then it may last.
    NoLeader = "NO_LEADER" => Unavailable,
    /// The caller's term or claim is no longer the newest.
    Fenced = "FENCED" => FailedPrecondition,
    /// The service stands at another revision than the request demanded. Metadata: `revision`.
    RevisionConflict = "REVISION_CONFLICT" => Aborted,
    /// The declaration is not acceptable. Metadata: `field`, where one is to blame.
    InvalidSpec = "INVALID_SPEC" => InvalidArgument,
    /// No plugin serves this kind. Metadata: `kind`.
    UnknownKind = "UNKNOWN_KIND" => InvalidArgument,
    /// No such service or operation.
    NotFound = "NOT_FOUND" => NotFound,
    /// The kind's plugin does not answer.
    PluginUnavailable = "PLUGIN_UNAVAILABLE" => Unavailable,
    /// The store cannot be read or written now.
    StoreUnavailable = "STORE_UNAVAILABLE" => Unavailable,
    /// One change, or a snapshot, is larger than can be taken.
    StateTooLarge = "STATE_TOO_LARGE" => ResourceExhausted,
    /// The events after this revision are no longer kept. Metadata: `oldest`.
    Compacted = "COMPACTED" => OutOfRange,
    /// The write was under way when leadership was lost: it took effect once or not at all. Ask again with the
    /// same request id.
    Unclear = "UNCLEAR" => Unavailable,
    /// An action or its arguments are not known to the kind.
    InvalidAction = "INVALID_ACTION" => InvalidArgument,
    /// The request contradicts the state: a restore over existing services, a commit of what is being destroyed.
    Refused = "REFUSED" => FailedPrecondition,
    /// The caller did not show who it is: a client certificate is wanted.
    Unauthenticated = "UNAUTHENTICATED" => Unauthenticated,
    /// The plugin said no, or failed.
    PluginFailed = "PLUGIN_FAILED" => Unknown,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error of OpenManage, as it goes over the wire.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What a program decides by.
    pub reason: Reason,
    /// What failed, and why.
    pub message: String,
    /// What to do; may be empty.
    pub hint: String,
    /// More for programs, by the reason's documentation.
    pub metadata: HashMap<String, String>,
}

impl Error {
    /// An error without hint or metadata.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), hint: String::new(), metadata: HashMap::new() }
    }

    /// The same with a hint: what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// The same with one more piece of metadata.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// Somebody else leads.
    #[must_use]
    pub fn not_leader(leader: &str, endpoint: &str, term: u64) -> Self {
        Self::new(Reason::NotLeader, format!("not the leader: {leader} leads, term {term}"))
            .hint(format!("ask {leader}, at {endpoint}"))
            .with("leader", leader)
            .with("endpoint", endpoint)
            .with("term", term)
    }

    /// Reads the error out of a status; `None` if the status is not one of ours.
    #[must_use]
    pub fn from_status(status: &Status) -> Option<Self> {
        let info = status.get_details_error_info()?;
        if info.domain != DOMAIN {
            return None;
        }
        let reason = Reason::parse(&info.reason)?;
        let mut metadata = info.metadata;
        let hint = metadata.remove(HINT).unwrap_or_default();
        Some(Self { reason, message: status.message().to_owned(), hint, metadata })
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let Error { reason, message, hint, mut metadata } = error;
        if !hint.is_empty() {
            metadata.insert(HINT.to_owned(), hint);
        }
        let mut details = ErrorDetails::new();
        details.set_error_info(reason.as_str(), DOMAIN, metadata);
        if matches!(reason, Reason::NoLeader) {
            details.set_retry_info(Some(std::time::Duration::from_millis(200)));
        }
        Status::with_error_details(reason.code(), message, details)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_wire() {
        let status = Status::from(Error::not_leader("b", "unix:///run/b", 7));
        assert_eq!(status.code(), Code::FailedPrecondition);
        let back = Error::from_status(&status).expect("ours");
        assert_eq!(back.reason, Reason::NotLeader);
        assert_eq!(back.metadata["endpoint"], "unix:///run/b");
        assert_eq!(back.metadata["term"], "7");
        assert_eq!(back.hint, "ask b, at unix:///run/b");
    }

    #[test]
    fn a_foreign_status_is_not_taken_for_ours() {
        assert!(Error::from_status(&Status::internal("boom")).is_none());
    }
}

//! What went wrong, and the exit code that says so.
//!
//! Scripts decide by the exit code and by `reason`; people read what failed, why, and what to do. Nothing here is ever
//! decided by a text.

use std::borrow::Cow;
use std::fmt;

use om_api::Reason;

/// The pinned exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong use.
    Usage = 2,
    /// Not the leader, or no leader known.
    Leader = 3,
    /// No such service.
    NotFound = 4,
    /// The revision differs, or fenced.
    Conflict = 5,
    /// Cannot connect, or timed out.
    Unreachable = 6,
    /// The spec is invalid.
    Spec = 7,
    /// Ended by Ctrl-C: 128 + SIGINT, as a shell says it.
    Interrupted = 130,
}

/// Reasons that the client finds by itself; those of the wire are [`Reason`].
pub(crate) mod reason {
    /// Wrong use of the command line or of the configuration.
    pub(crate) const USAGE: &str = "USAGE";
    /// Nobody answers at the endpoint.
    pub(crate) const CANNOT_CONNECT: &str = "CANNOT_CONNECT";
    /// `--timeout` ran out.
    pub(crate) const TIMED_OUT: &str = "TIMED_OUT";
    /// A file cannot be read or written.
    pub(crate) const FILE: &str = "FILE";
    /// A snapshot file cannot be used.
    pub(crate) const INVALID_SNAPSHOT: &str = "INVALID_SNAPSHOT";
    /// The service failed while it was waited for.
    pub(crate) const SERVICE_FAILED: &str = "SERVICE_FAILED";
    /// Standard output cannot be written.
    pub(crate) const OUTPUT: &str = "OUTPUT";
    /// The other side answered what it should not.
    pub(crate) const PROTOCOL: &str = "PROTOCOL";
}

/// Why a command ends without having done what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// For programs.
    pub(crate) reason: Cow<'static, str>,
    /// What failed, and why.
    pub(crate) message: String,
    /// What to do; may be empty.
    pub(crate) hint: String,
    /// Nothing is to be printed: it was, or nobody reads any more.
    pub(crate) silent: bool,
}

/// Most things here either work or end the command.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure without a hint.
    pub(crate) fn new(exit: Exit, reason: &'static str, message: impl Into<String>) -> Self {
        let reason = Cow::Borrowed(reason);
        Self { exit, reason, message: message.into(), hint: String::new(), silent: false }
    }

    /// Wrong use.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, reason::USAGE, message)
    }

    /// A file cannot be read or written.
    pub(crate) fn file(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, reason::FILE, message)
    }

    /// A service document is not acceptable.
    pub(crate) fn spec(message: impl Into<String>) -> Self {
        Self::new(Exit::Spec, Reason::InvalidSpec.as_str(), message)
    }

    /// `--timeout` ran out.
    pub(crate) fn timed_out(message: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, reason::TIMED_OUT, message)
    }

    /// The other side answered what it should not.
    pub(crate) fn protocol(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, reason::PROTOCOL, message)
    }

    /// Ends the command with `exit` and prints nothing.
    pub(crate) fn silent(exit: Exit) -> Self {
        Self { silent: true, ..Self::new(exit, reason::OUTPUT, "") }
    }

    /// Standard output could not be written. A reader that has gone away is not an error.
    pub(crate) fn output(cause: &std::io::Error) -> Self {
        if cause.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::silent(Exit::Done);
        }
        Self::new(Exit::Failed, reason::OUTPUT, format!("cannot write to standard output: {cause}"))
    }

    /// The same with a hint: what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// The same, with what it was about in front.
    pub(crate) fn about(mut self, what: impl fmt::Display) -> Self {
        if !self.silent {
            self.message = format!("{what}: {}", self.message);
        }
        self
    }

    /// Whether the next service may still do better: it is about one service, not about the manager.
    pub(crate) fn is_of_one_service(&self) -> bool {
        !self.silent && !matches!(self.exit, Exit::Leader | Exit::Unreachable | Exit::Usage)
    }
}

/// The exit code for a reason of the wire.
fn exit(error: &om_api::Error) -> Exit {
    match error.reason {
        Reason::NotLeader | Reason::NoLeader => Exit::Leader,
        Reason::NotFound => Exit::NotFound,
        Reason::Fenced | Reason::RevisionConflict => Exit::Conflict,
        Reason::InvalidSpec | Reason::UnknownKind => Exit::Spec,
        Reason::InvalidAction => Exit::Usage,
        Reason::Unauthenticated => Exit::Unreachable,
        Reason::StateTooLarge
            if error.metadata.get("field").is_some_and(|field| field.starts_with("spec")) =>
        {
            Exit::Spec
        }
        // STATE_TOO_LARGE, COMPACTED, REFUSED, UNCLEAR, the unavailable ones, PLUGIN_FAILED, and what is added later.
        _ => Exit::Failed,
    }
}

/// What to do, where the server did not say.
fn default_hint(reason: Reason) -> &'static str {
    match reason {
        Reason::NoLeader => "`om status` shows what the manager sees; give --timeout to wait longer",
        Reason::NotFound => "`om ls` shows the services",
        Reason::RevisionConflict => "`om describe` shows the revision it stands at",
        Reason::UnknownKind | Reason::PluginUnavailable => "`om plugins` shows the plugins and their kinds",
        Reason::Compacted => "`om ls` shows how things are now, `om watch` without --from what comes",
        Reason::Unclear => "it took effect once or not at all: look, and ask again",
        Reason::InvalidAction => "`om plugins` shows the actions of each kind",
        _ => "",
    }
}

impl From<om_api::Error> for Failure {
    fn from(error: om_api::Error) -> Self {
        let exit = exit(&error);
        let hint = if error.hint.is_empty() { default_hint(error.reason).to_owned() } else { error.hint };
        let reason = Cow::Borrowed(error.reason.as_str());
        Self { exit, reason, message: error.message, hint, silent: false }
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        use tonic::Code;
        if let Some(error) = om_api::Error::from_status(&status) {
            return error.into();
        }
        let message = status.message().to_owned();
        match status.code() {
            Code::DeadlineExceeded => {
                Self::timed_out(format!("the manager did not answer in time: {message}"))
            }
            Code::Unavailable => Self::new(Exit::Unreachable, reason::CANNOT_CONNECT, message),
            Code::Unimplemented => Self::protocol("what answers there does not know this call")
                .hint("is it a plugin, not a manager, or an older version? `om status` asks it who it is"),
            code => {
                let text = if message.is_empty() { code.description().to_owned() } else { message };
                Self::new(Exit::Failed, code_name(code), text)
            }
        }
    }
}

fn code_name(code: tonic::Code) -> &'static str {
    use tonic::Code;
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_the_pinned_exit_code() {
        let code = |reason| Failure::from(om_api::Error::new(reason, "x")).exit as u8;
        let pinned = [
            (Reason::NotLeader, 3),
            (Reason::NoLeader, 3),
            (Reason::Fenced, 5),
            (Reason::RevisionConflict, 5),
            (Reason::InvalidSpec, 7),
            (Reason::UnknownKind, 7),
            (Reason::NotFound, 4),
            (Reason::PluginUnavailable, 1),
            (Reason::StoreUnavailable, 1),
            (Reason::StateTooLarge, 1),
            (Reason::Compacted, 1),
            (Reason::Unclear, 1),
            (Reason::InvalidAction, 2),
            (Reason::Refused, 1),
            (Reason::PluginFailed, 1),
            (Reason::Unauthenticated, 6),
        ];
        for (reason, expected) in pinned {
            assert_eq!(code(reason), expected, "{reason}");
        }
        let spec = om_api::Error::new(Reason::StateTooLarge, "x").with("field", "spec");
        assert_eq!(Failure::from(spec).exit as u8, 7);
    }
}

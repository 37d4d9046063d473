//! What the store's and the plugins' errors are to a client.

use om_api::{Error, Reason};
use tonic::{Code, Status};

/// A store's error, as a client hears it.
pub(crate) fn of_store(error: &om_store::Error) -> Error {
    use om_store::Error as E;
    let reason = match error {
        E::Fenced { .. } | E::Outrun { .. } => Reason::Fenced,
        E::Conflict { .. } => Reason::RevisionConflict,
        E::Unclear(_) => Reason::Unclear,
        E::TooLarge { .. } | E::Full { .. } => Reason::StateTooLarge,
        E::Compacted { .. } => Reason::Compacted,
        _ => Reason::StoreUnavailable,
    };
    let out = Error::new(reason, error.to_string());
    match error {
        E::Fenced { newest, .. } | E::Outrun { newest, .. } => {
            out.with("term", newest).hint("another replica took over; ask again, and the new leader answers")
        }
        E::Conflict { actual, .. } => out.with("revision", actual.unwrap_or(0)),
        E::Unclear(_) => out.hint("repeat the call with the same request id: it takes effect once"),
        E::Compacted { oldest, .. } => {
            out.with("oldest", oldest).hint(format!("start from revision {oldest}, or without --from"))
        }
        E::Unavailable { cause, .. } if cause.kind() == std::io::ErrorKind::StorageFull => out
            .hint("make room on the state directory's file system; nothing was lost, and the next try works"),
        E::Unavailable { .. } => out.hint("nothing was stored; see the manager's log"),
        E::Corrupt { .. } | E::NewerFormat { .. } | E::WentBack { .. } => {
            out.hint("nothing was touched; see docs/failure-modes.md")
        }
        _ => out,
    }
}

/// A plugin's status, as a client hears it: its own error if it sent one, else by the code.
pub(crate) fn of_plugin(plugin: &str, status: &Status) -> Error {
    if let Some(error) = Error::from_status(status) {
        return error;
    }
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => unavailable(plugin, status.message()),
        _ => Error::new(Reason::PluginFailed, format!("plugin {plugin}: {}", status.message()))
            .hint("see the plugin's log"),
    }
}

/// A plugin that does not answer.
pub(crate) fn unavailable(plugin: &str, why: &str) -> Error {
    Error::new(Reason::PluginUnavailable, format!("plugin {plugin} does not answer: {why}"))
        .hint("see whether it runs: om plugins")
        .with("plugin", plugin)
}

/// The reign is over, or not yet confirmed again.
pub(crate) fn no_leader(why: &str) -> Error {
    Error::new(Reason::NoLeader, format!("nobody leads just now: {why}"))
        .hint("ask again soon; om status tells who is named")
}

/// No such service.
pub(crate) fn no_service(name: &str, freed: bool) -> Error {
    let error = Error::new(Reason::NotFound, format!("no service {name:?}")).with("service", name);
    if freed {
        return error.hint(format!("{name} was freed: commit it again to look after it, or destroy it"));
    }
    error.hint("om ls shows what there is")
}

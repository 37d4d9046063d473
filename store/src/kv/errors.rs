//! What an error on the way to the keyspace means for the store.

use std::io;

use om_kv::Error as E;

use crate::Error;

/// For what was not written, or was only to be read.
pub(crate) fn told(error: &E) -> Error {
    let kind = match error {
        E::WentBack(failure) => return Error::WentBack { what: failure.to_string() },
        E::TooLarge(_) => return Error::Full { what: error.to_string() },
        E::Refused(_) => io::ErrorKind::PermissionDenied,
        E::NoSpace(_) => io::ErrorKind::QuotaExceeded,
        E::Unavailable(_) | E::Unclear(_) => io::ErrorKind::TimedOut,
        _ => io::ErrorKind::Other,
    };
    Error::io("the store", io::Error::new(kind, error.to_string()))
}

/// For what was to be written.
pub(crate) fn of_write(error: &E) -> Error {
    match error {
        E::Unclear(failure) => Error::Unclear(failure.to_string()),
        other => told(other),
    }
}

//! What to do about an error of etcd.

use om_kv::{Error, Failure};

/// What failed at this endpoint. What to do about it follows from what it means.
pub(crate) fn failure(what: &str, endpoint: &str, why: String) -> Failure {
    Failure { what: what.to_owned(), place: format!("etcd {endpoint}"), why, hint: String::new() }
}

/// The same error, with what to do about it.
pub(crate) fn hinted(error: Error) -> Error {
    let with = |failure: Failure, hint: &str| Failure { hint: hint.to_owned(), ..failure };
    match error {
        Error::Unavailable(failure) => {
            // etcd only closes the connection of a client whose certificate it does not take.
            let certificates =
                if failure.place.contains("https:") { " Does it take our certificate?" } else { "" };
            let hint = format!("is etcd running, with a leader, and reachable from here?{certificates}");
            Error::Unavailable(with(failure, &hint))
        }
        Error::Refused(failure) => Error::Refused(with(
            failure,
            "check the user, the password and the user's role (`etcdctl user get`), or the client certificate",
        )),
        Error::NoSpace(failure) => Error::NoSpace(with(
            failure,
            "etcd's database is full: compact it (`etcdctl compact`), then `etcdctl defrag` and `etcdctl alarm disarm`, \
             or raise its `--quota-backend-bytes`",
        )),
        Error::TooLarge(failure) => {
            Error::TooLarge(with(failure, "etcd's limits are `--max-request-bytes` and `--max-txn-ops`"))
        }
        Error::WentBack(failure) => Error::WentBack(with(
            failure,
            "was etcd wiped, or restored from a backup? What is known of it does not count any more: read afresh",
        )),
        other => other,
    }
}

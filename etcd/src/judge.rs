//! What an error of the client means: was it done, could it help to ask elsewhere?
//!
//! etcd tells its errors apart by gRPC code and text only (`etcdserver/api/v3rpc/rpctypes/error.go`), so the text is
//! looked at where one code stands for several; a text that is not known falls back to what its code says.

use tonic::{Code, ConnectError, Status};

use crate::options::chain;

/// What to do about an attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was not done: ask elsewhere.
    NotDone(String),
    /// It may have been done: ask elsewhere, if asking twice does no harm.
    Open(String),
    /// It was not done, for the token is not (or no longer) good: authenticate and ask again.
    Token(String),
    /// Asking elsewhere changes nothing.
    Final(Kind, String),
}

/// Which error it is, when asking elsewhere changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Refused,
    NoSpace,
    TooLarge,
    Compacted,
    LeaseGone,
    Invalid,
}

pub(crate) fn judge(error: &etcd_client::Error) -> Verdict {
    use etcd_client::Error as E;
    match error {
        E::GRpcStatus(status) => judge_status(status),
        E::LeaseKeepAliveError(why) if why.contains("not found") => {
            Verdict::Final(Kind::LeaseGone, why.clone())
        }
        E::InvalidArgs(_) | E::InvalidUri(_) | E::InvalidMetadataValue(_) => {
            Verdict::Final(Kind::Invalid, error.to_string())
        }
        _ => Verdict::Open(error.to_string()),
    }
}

/// Whether authentication is asked for where etcd has none switched on.
pub(crate) fn needs_no_user(error: &etcd_client::Error) -> bool {
    matches!(error, etcd_client::Error::GRpcStatus(status)
        if status.code() == Code::FailedPrecondition && status.message().contains("authentication is not enabled"))
}

fn judge_status(status: &Status) -> Verdict {
    let text = status.message();
    let says = |part: &str| text.contains(part);
    let why = || text.to_owned();
    match status.code() {
        _ if never_connected(status) => Verdict::NotDone(in_words(status)),
        Code::Unauthenticated => Verdict::Token(why()),
        Code::InvalidArgument if says("revision of auth store is old") || says("user name is empty") => {
            Verdict::Token(why())
        }
        Code::Unknown if says("invalid auth token") => Verdict::Token(why()),
        Code::PermissionDenied => Verdict::Final(Kind::Refused, why()),
        Code::InvalidArgument if says("authentication failed") => Verdict::Final(Kind::Refused, why()),
        Code::ResourceExhausted if says("space exceeded") => Verdict::Final(Kind::NoSpace, why()),
        Code::ResourceExhausted if says("too many requests") => Verdict::NotDone(why()),
        Code::ResourceExhausted | Code::InvalidArgument if says("too large") || says("larger than max") => {
            Verdict::Final(Kind::TooLarge, why())
        }
        Code::InvalidArgument if says("too many operations") => Verdict::Final(Kind::TooLarge, why()),
        Code::OutOfRange if says("compacted") => Verdict::Final(Kind::Compacted, why()),
        // This member lags behind.
        Code::OutOfRange if says("future revision") => Verdict::NotDone(why()),
        Code::OutOfRange => Verdict::Final(Kind::TooLarge, why()),
        Code::NotFound if says("lease not found") => Verdict::Final(Kind::LeaseGone, why()),
        Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition | Code::Unimplemented => {
            Verdict::Final(Kind::Invalid, why())
        }
        _ => Verdict::Open(in_words(status)),
    }
}

/// What went wrong, and why, without the wrapping.
fn in_words(status: &Status) -> String {
    let causes = std::error::Error::source(status).map(chain).unwrap_or_default();
    match status.message() {
        said if causes.contains(said) => causes,
        said if causes.is_empty() => said.to_owned(),
        said => format!("{said}: {causes}"),
    }
}

fn never_connected(status: &Status) -> bool {
    let mut next = std::error::Error::source(status);
    while let Some(cause) = next {
        if cause.is::<ConnectError>() {
            return true;
        }
        next = cause.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(code: Code, text: &str) -> Verdict {
        judge(&etcd_client::Error::GRpcStatus(Status::new(code, text)))
    }

    #[test]
    fn what_etcd_says_is_understood() {
        let kind = |code, text| match verdict(code, text) {
            Verdict::Final(kind, _) => kind,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(kind(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"), Kind::NoSpace);
        assert_eq!(kind(Code::InvalidArgument, "etcdserver: request is too large"), Kind::TooLarge);
        assert_eq!(
            kind(Code::ResourceExhausted, "grpc: received message larger than max (3 vs. 2)"),
            Kind::TooLarge
        );
        assert_eq!(
            kind(Code::InvalidArgument, "etcdserver: too many operations in txn request"),
            Kind::TooLarge
        );
        assert_eq!(kind(Code::PermissionDenied, "etcdserver: permission denied"), Kind::Refused);
        let refused = "etcdserver: authentication failed, invalid user ID or password";
        assert_eq!(kind(Code::InvalidArgument, refused), Kind::Refused);
        assert_eq!(
            kind(Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted"),
            Kind::Compacted
        );
        assert_eq!(kind(Code::NotFound, "etcdserver: requested lease not found"), Kind::LeaseGone);
        assert_eq!(
            kind(Code::InvalidArgument, "etcdserver: duplicate key given in txn request"),
            Kind::Invalid
        );
    }

    #[test]
    fn what_may_have_been_done_is_told_from_what_was_not() {
        assert!(matches!(verdict(Code::Unavailable, "etcdserver: request timed out"), Verdict::Open(_)));
        assert!(matches!(verdict(Code::Unavailable, "etcdserver: leader changed"), Verdict::Open(_)));
        assert!(matches!(verdict(Code::Unknown, "something new"), Verdict::Open(_)));
        assert!(matches!(
            verdict(Code::ResourceExhausted, "etcdserver: too many requests"),
            Verdict::NotDone(_)
        ));
        let future = "etcdserver: mvcc: required revision is a future revision";
        assert!(matches!(verdict(Code::OutOfRange, future), Verdict::NotDone(_)));
        assert!(matches!(
            verdict(Code::Unauthenticated, "etcdserver: invalid auth token"),
            Verdict::Token(_)
        ));
    }
}

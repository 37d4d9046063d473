//! What the trouble with an engine means: was it done, does it help to ask again?

use om_kv::{Error, Failure};

use crate::engine::Trouble;
use crate::node::NodeState;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was not done: ask again.
    NotDone,
    /// It may have been done: ask again, if asking twice does no harm.
    Open,
    /// The object has another version than was named, or was changed twice by one request.
    Conflict,
    /// There is no such object.
    Missing,
    /// There is an object of that name.
    Taken,
    /// It is too large.
    TooLarge,
    /// It is not allowed.
    Refused,
    /// It is not understood.
    Invalid,
}

pub(super) fn judge(trouble: &Trouble) -> Fate {
    let Trouble::Said { status, message } = trouble else {
        return if matches!(trouble, Trouble::Silent(_)) { Fate::Open } else { Fate::NotDone };
    };
    let says = |part: &str| message.contains(part);
    match NodeState::told_by(trouble) {
        // Somebody may have taken it before the leader was lost.
        Some(NodeState::NoQuorum) => return Fate::Open,
        Some(_) => return Fate::NotDone,
        None => {}
    }
    match status {
        _ if says("update out of sequence") => Fate::Conflict,
        _ if says("message is too large")
            || says("larger than max")
            || says("must be larger than 0 and less") =>
        {
            Fate::TooLarge
        }
        404 => Fate::Missing,
        409 => Fate::Taken,
        401 | 403 => Fate::Refused,
        400 | 405..=499 => Fate::Invalid,
        _ => Fate::Open,
    }
}

/// What to do about it, as far as the engine's words tell.
pub(super) fn hint(trouble: &Trouble) -> String {
    match (judge(trouble), NodeState::told_by(trouble)) {
        // An engine also keeps silent where its Swarm has no leader.
        _ if matches!(trouble, Trouble::Silent(_)) => {
            "is the engine running (`docker info`), and has its Swarm a leader: are more than half of the managers there (`docker node ls`)?".to_owned()
        }
        (_, Some(state)) => state.hint().to_owned(),
        (Fate::TooLarge, _) => CEILING.to_owned(),
        _ => String::new(),
    }
}

/// What to do where a Swarm takes no more.
pub(super) const CEILING: &str = "a Swarm takes about 1 MB at once: what was there is untouched; delete services, or keep the state in etcd";

/// The error for what asking again does not change, or for which there is no more time.
pub(super) fn error(fate: Fate, failure: Failure) -> Error {
    match fate {
        Fate::TooLarge => Error::TooLarge(failure),
        Fate::Refused => Error::Refused(failure),
        Fate::Invalid => Error::Invalid(failure),
        Fate::NotDone | Fate::Open | Fate::Conflict | Fate::Missing | Fate::Taken => {
            Error::Unavailable(failure)
        }
    }
}

impl Fate {
    /// Whether the same request, sent again, gets the same answer.
    pub(super) fn is_final(self) -> bool {
        matches!(self, Self::TooLarge | Self::Refused | Self::Invalid)
    }
}

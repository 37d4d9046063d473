//! Whether an engine can be asked about its Swarm, and what to do if not.

use std::fmt;

use crate::engine::Trouble;

/// How an engine stands to its Swarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// A manager of a Swarm that has a leader.
    Active,
    /// In no Swarm.
    NotInSwarm,
    /// In a Swarm, as a worker: it was never promoted, or was demoted.
    Worker,
    /// A manager that was restarted and needs the Swarm's key.
    Locked,
    /// A manager whose certificates have run out.
    Expired,
    /// A manager of a Swarm without a leader: too few managers are there.
    NoQuorum,
    /// Joining, or something that went wrong while joining; in the engine's words.
    Pending(String),
    /// The engine does not answer, or not as an engine; why.
    Unreachable(String),
    /// The engine does not trust us, or we do not trust it; why.
    Untrusted(String),
}

impl NodeState {
    /// What to do about it; empty: nothing.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Active => "",
            Self::NotInSwarm => {
                "make a Swarm with `docker swarm init`, or join one as a manager with `docker swarm join` and the token of `docker swarm join-token manager`"
            }
            Self::Worker => {
                "make this node a manager with `docker node promote NODE`, on a manager; or name another engine with --docker-host"
            }
            Self::Locked => {
                "unlock it with `docker swarm unlock`; `docker swarm unlock-key`, on another manager, shows the key"
            }
            Self::Expired => "renew them with `docker swarm ca --rotate`, on another manager, or join anew",
            Self::NoQuorum => {
                "bring back more than half of the managers (`docker node ls` shows them), or, if they are lost for good, `docker swarm init --force-new-cluster`"
            }
            Self::Pending(_) => "see `docker info`",
            Self::Unreachable(_) => "is the engine running (`docker info`), and is --docker-host right?",
            Self::Untrusted(_) => {
                "--docker-tls-verify is for an engine with `--tlsverify`; in --docker-cert-path, ca.pem is what has signed the engine's certificate, and cert.pem, with key.pem, is one that the engine takes (`docker --tlsverify info` tells whether they are)"
            }
        }
    }

    /// What an engine that refuses tells of itself; nothing where the refusal is about the request.
    pub(crate) fn told_by(trouble: &Trouble) -> Option<Self> {
        // The engine has no codes for these: the words stand in moby's daemon/cluster/errors.go and swarmkit's
        // manager/state/raft.
        let message = match trouble {
            Trouble::Said { message, .. } => message,
            Trouble::Untrusted(why) => return Some(Self::Untrusted(why.clone())),
            Trouble::Unreached(why) | Trouble::Silent(why) => return Some(Self::Unreachable(why.clone())),
        };
        let says = |part: &str| message.contains(part);
        if says("HTTP request to an HTTPS server") {
            Some(Self::Untrusted("it wants TLS".to_owned()))
        } else if says("needs to be unlocked") {
            Some(Self::Locked)
        } else if says("Worker nodes can't be used") {
            Some(Self::Worker)
        } else if says("is not a swarm manager") || says("not part of a swarm") {
            Some(Self::NotInSwarm)
        } else if says("certificates have expired") {
            Some(Self::Expired)
        } else if says("does not have a leader")
            || says("context deadline exceeded")
            || says("lost quorum")
            || says("lost leadership")
        {
            Some(Self::NoQuorum)
        } else {
            None
        }
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Active => f.write_str("a manager of its Swarm"),
            Self::NotInSwarm => f.write_str("in no Swarm"),
            Self::Worker => f.write_str("a worker of its Swarm, not a manager"),
            Self::Locked => f.write_str("locked: it waits for the Swarm's key"),
            Self::Expired => f.write_str("a manager whose certificates have expired"),
            Self::NoQuorum => f.write_str("a manager of a Swarm that has no leader"),
            Self::Pending(why) => write!(f, "not in its Swarm yet: {why}"),
            Self::Unreachable(why) => write!(f, "not to be reached: {why}"),
            Self::Untrusted(why) => write!(f, "not to be spoken to: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_says_is_understood() {
        let told =
            |message: &str| NodeState::told_by(&Trouble::Said { status: 503, message: message.to_owned() });
        let not = "This node is not a swarm manager. ";
        let none =
            r#"Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again."#;
        assert_eq!(told(&format!("{not}{none}")), Some(NodeState::NotInSwarm));
        let worker = "Worker nodes can't be used to view or modify cluster state. Please run this command on a manager node or promote the current node to a manager.";
        assert_eq!(told(&format!("{not}{worker}")), Some(NodeState::Worker));
        let locked = "Swarm is encrypted and needs to be unlocked before it can be used. Please use \"docker swarm unlock\" to unlock it.";
        assert_eq!(told(locked), Some(NodeState::Locked));
        let leaderless = "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few managers are online.";
        assert_eq!(told(leaderless), Some(NodeState::NoQuorum));
        assert_eq!(told("rpc error: code = Unknown desc = update out of sequence"), None);
        let gone = Trouble::Unreached("no such file".to_owned());
        assert_eq!(NodeState::told_by(&gone), Some(NodeState::Unreachable("no such file".to_owned())));
    }
}

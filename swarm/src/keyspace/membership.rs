//! What an engine's answers say of whether it is a manager of a Swarm at all: when to ask again, and when not to write yet.

use std::time::Duration;

use tokio::time::Instant;

use crate::engine::Trouble;
use crate::node::NodeState;

/// A Swarm is left alone for so long once it is there. `docker swarm init` sets its options by one compare-and-swap that it
/// does not repeat (moby: daemon/cluster/swarm.go, `initClusterSpec`): whoever writes in between makes it fail.
const YOUNG: Duration = Duration::from_secs(1);

/// How an engine stood to a Swarm when it last answered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Membership {
    /// Only a person can change that it refuses.
    barred: bool,
    /// It was in no Swarm.
    none: bool,
    /// Since when it is in one, if it was in none.
    since: Option<Instant>,
}

impl Membership {
    /// Takes in why there was no answer.
    pub(super) fn refused(&mut self, trouble: &Trouble) {
        use NodeState::{Expired, Locked, NotInSwarm, Worker};
        let state = NodeState::told_by(trouble);
        self.barred = matches!(state, Some(Expired | Locked | NotInSwarm | Worker));
        // One that is a member and begins anew is "being prepared", and is in no Swarm by the same answer.
        let invited = |message: &str| message.contains("docker swarm init");
        if matches!(trouble, Trouble::Said { message, .. } if invited(message)) {
            self.none = true;
        }
    }

    /// Takes in that the Swarm could be read.
    pub(super) fn answered(&mut self, now: Instant) {
        self.barred = false;
        if std::mem::take(&mut self.none) {
            self.since = Some(now);
        }
    }

    /// Whether it refuses for a reason that lasts.
    pub(super) fn is_barred(&self) -> bool {
        self.barred
    }

    /// Until when its Swarm may be in the making.
    pub(super) fn young_until(&self, now: Instant) -> Option<Instant> {
        self.since.map(|since| since + YOUNG).filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message: &str) -> Trouble {
        Trouble::Said { status: 503, message: message.to_owned() }
    }

    const NONE: &str = r#"This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again."#;
    const PREPARED: &str = "This node is not a swarm manager. Manager is being prepared or has trouble connecting to the cluster.";

    #[test]
    fn a_swarm_that_was_just_made_is_left_alone_for_a_while() {
        let mut membership = Membership::default();
        let now = Instant::now();
        membership.refused(&said(NONE));
        membership.refused(&said(PREPARED));
        membership.answered(now);
        membership.answered(now + YOUNG / 2);
        assert_eq!(membership.young_until(now + YOUNG / 2), Some(now + YOUNG));
        assert_eq!(membership.young_until(now + YOUNG), None);
    }

    #[test]
    fn one_that_was_there_before_is_not() {
        let mut membership = Membership::default();
        let now = Instant::now();
        membership.answered(now);
        assert_eq!(membership.young_until(now), None);
        membership.refused(&said(PREPARED));
        assert!(membership.is_barred());
        membership.answered(now);
        assert_eq!((membership.young_until(now), membership.is_barred()), (None, false));
    }
}

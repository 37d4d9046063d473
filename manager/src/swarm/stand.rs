//! What follows from what an engine says of its node. Pure.

use om_leadership::election::Places;
use om_swarm::node::{Availability, NodeState, Role, Sight};

/// What a leader at this node is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// Lead on.
    Stay,
    /// Hand over, in order.
    HandOver,
    /// Hand over before the engine takes no more writes, which may be in a moment.
    Flee,
    /// End the reign: nothing can be written from here any more.
    GiveUp,
}

/// How a node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stand {
    pub(super) duty: Duty,
    /// Why nobody is to take over from here, with what to do about it.
    pub(super) unfit: Option<String>,
    /// Where the leader had best be.
    pub(super) preferred: Option<String>,
}

impl Stand {
    /// `others`: where other replicas stand that live.
    pub(super) fn of(sight: &Sight, others: &[String]) -> Self {
        let drained = |place: &str| {
            let node = sight.managers.iter().find(|manager| manager.node == place);
            node.is_some_and(|node| node.availability == Availability::Drain)
        };
        // Where all are drained (managers without work of their own are common) that says nothing.
        let counts = !drained(&sight.node) || others.iter().any(|place| can_lead(sight, place));
        let (duty, unfit) = match &sight.state {
            NodeState::Active if sight.wanted == Role::Worker => {
                let mend = format!("docker node promote {}", sight.name());
                (Duty::Flee, Some(format!("this node is being made a worker; to undo that: {mend}")))
            }
            NodeState::Active if drained(&sight.node) && counts => {
                let mend = format!("docker node update --availability active {}", sight.name());
                (Duty::HandOver, Some(format!("this node is drained; to undo that: {mend}")))
            }
            NodeState::Active => (Duty::Stay, None),
            // Nobody can take over; who leads goes on by promises for the time of the lease.
            state @ NodeState::NoQuorum => (Duty::Stay, Some(told(state))),
            state => (Duty::GiveUp, Some(told(state))),
        };
        let leaves =
            |place: &str| sight.managers.iter().any(|node| node.node == place && node.wanted == Role::Worker);
        let fit = |place: &String| !(drained(place) && counts || leaves(place));
        let preferred = sight.leader.clone().filter(fit);
        Self { duty, unfit, preferred }
    }

    /// The same for the election.
    pub(super) fn places(self, here: Option<String>) -> Places {
        Places { here, preferred: self.preferred, unfit: self.unfit }
    }
}

/// Whether the leader may be at this node, for all that is seen of it.
pub(super) fn can_lead(sight: &Sight, place: &str) -> bool {
    let node = sight.managers.iter().find(|manager| manager.node == place);
    node.is_some_and(|node| {
        node.reachable && node.wanted == Role::Manager && node.availability != Availability::Drain
    })
}

fn told(state: &NodeState) -> String {
    format!("this engine is {state}; {}", state.hint())
}

#[cfg(test)]
mod tests {
    use om_swarm::node::Manager;

    use super::*;

    fn manager(node: &str, availability: Availability) -> Manager {
        let (node, name) = (node.to_owned(), format!("node-{node}"));
        Manager { node, name, address: String::new(), reachable: true, availability, wanted: Role::Manager }
    }

    // Seen from the first of the nodes a, b, …, of which b leads the Swarm.
    fn sight(availabilities: &[Availability]) -> Sight {
        let names = ["a", "b", "c"].iter();
        Sight {
            state: NodeState::Active,
            node: "a".to_owned(),
            wanted: Role::Manager,
            availability: availabilities[0],
            leader: Some("b".to_owned()),
            managers: names
                .zip(availabilities)
                .map(|(name, availability)| manager(name, *availability))
                .collect(),
        }
    }

    const ACTIVE: Availability = Availability::Active;
    const DRAIN: Availability = Availability::Drain;

    fn others() -> Vec<String> {
        vec!["b".to_owned(), "c".to_owned()]
    }

    #[test]
    fn an_active_manager_prefers_the_swarms_leader() {
        let stand = Stand::of(&sight(&[ACTIVE; 3]), &others());
        assert_eq!(stand, Stand { duty: Duty::Stay, unfit: None, preferred: Some("b".to_owned()) });
    }

    #[test]
    fn each_state_is_told_with_the_command_that_mends_it() {
        for (state, duty, command) in [
            (NodeState::NotInSwarm, Duty::GiveUp, "docker swarm init"),
            (NodeState::Worker, Duty::GiveUp, "docker node promote"),
            (NodeState::Locked, Duty::GiveUp, "docker swarm unlock"),
            (NodeState::Expired, Duty::GiveUp, "docker swarm ca --rotate"),
            (NodeState::NoQuorum, Duty::Stay, "docker node ls"),
            (NodeState::Unreachable("refused".to_owned()), Duty::GiveUp, "docker info"),
            (NodeState::Untrusted("it wants TLS".to_owned()), Duty::GiveUp, "--docker-cert-path"),
        ] {
            let seen = Sight { state: state.clone(), managers: Vec::new(), ..sight(&[ACTIVE; 3]) };
            let stand = Stand::of(&seen, &others());
            assert_eq!(stand.duty, duty, "{state:?}");
            assert!(stand.unfit.is_some_and(|why| why.contains(command)), "{state:?}");
        }
        let stand = Stand::of(&Sight { wanted: Role::Worker, ..sight(&[ACTIVE; 3]) }, &others());
        assert_eq!(stand.duty, Duty::Flee);
        assert!(stand.unfit.is_some_and(|why| why.contains("docker node promote node-a")));
    }

    #[test]
    fn a_drained_node_stands_back_unless_nobody_else_can_lead() {
        let drained = sight(&[DRAIN, ACTIVE, DRAIN]);
        let stand = Stand::of(&drained, &others());
        assert_eq!(stand.duty, Duty::HandOver);
        assert!(stand.unfit.is_some_and(|why| why.contains("--availability active node-a")));
        assert_eq!(Stand::of(&drained, &[]).duty, Duty::Stay, "nobody else is there");
        let stand = Stand::of(&sight(&[DRAIN; 3]), &others());
        assert_eq!(stand, Stand { duty: Duty::Stay, unfit: None, preferred: Some("b".to_owned()) });
    }

    #[test]
    fn a_swarm_leader_that_is_being_made_a_worker_is_not_preferred_and_gets_nothing() {
        let mut seen = sight(&[ACTIVE; 3]);
        assert!(can_lead(&seen, "b"));
        seen.managers[1].wanted = Role::Worker;
        assert_eq!(Stand::of(&seen, &others()).preferred, None);
        assert!(!can_lead(&seen, "b"));
    }

    #[test]
    fn a_swarm_leader_that_is_drained_is_not_preferred() {
        assert_eq!(Stand::of(&sight(&[ACTIVE, DRAIN, ACTIVE]), &others()).preferred, None);
    }
}

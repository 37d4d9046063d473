//! What is seen of a Swarm from one of its nodes.

use serde::Deserialize;

use super::NodeState;

/// What an engine says of its node and its Swarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Whether it can be asked, and why not.
    pub state: NodeState,
    /// The identity of its node in the Swarm, as it was last told; empty: never.
    pub node: String,
    /// Whether the Swarm wants the node to be a manager. A node that is demoted is told so first, and goes on as a
    /// manager for a moment.
    pub wanted: Role,
    /// What the node may be given to run.
    pub availability: Availability,
    /// The identity of the node that leads the Swarm; `None`: nobody, or that is not known.
    pub leader: Option<String>,
    /// The managers, in order of their identities; empty unless the state is [`NodeState::Active`].
    pub managers: Vec<Manager>,
}

/// What a node is in its Swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It keeps the Swarm's state and decides.
    Manager,
    /// It only runs what it is told to.
    Worker,
}

/// What a node may be given to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// Anything.
    Active,
    /// Nothing new.
    Pause,
    /// Nothing: what it had goes elsewhere.
    Drain,
}

/// A manager, as the Swarm's leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manager {
    /// The identity of its node.
    pub node: String,
    /// Its host's name.
    pub name: String,
    /// Where the other managers reach it: `10.0.0.1:2377`.
    pub address: String,
    /// Whether the leader reaches it.
    pub reachable: bool,
    /// What it may be given to run.
    pub availability: Availability,
    /// Whether the Swarm wants it to be a manager: else it is one for a moment more.
    pub wanted: Role,
}

impl Sight {
    /// Nothing was seen yet.
    pub(super) fn none() -> Self {
        Self {
            state: NodeState::Pending("it was not asked yet".to_owned()),
            node: String::new(),
            wanted: Role::Manager,
            availability: Availability::Active,
            leader: None,
            managers: Vec::new(),
        }
    }

    /// The name of its node's host, for people; its identity where the name is not known.
    #[must_use]
    pub fn name(&self) -> &str {
        let own = self.managers.iter().find(|manager| manager.node == self.node);
        own.map_or(&self.node, |own| &own.name)
    }

    /// The same node, of which no more is known than this.
    pub(super) fn blind(&self, state: NodeState) -> Self {
        let wanted = if state == NodeState::Worker { Role::Worker } else { self.wanted };
        Self { state, wanted, leader: None, managers: Vec::new(), ..self.clone() }
    }

    /// What the list of nodes says to this one; `None` if it is not among them.
    pub(super) fn of(node: &str, nodes: &[Node]) -> Option<Self> {
        let own = nodes.iter().find(|it| it.id == node)?;
        let leads = |node: &&Node| node.manager.as_ref().is_some_and(|manager| manager.leader);
        let leader = nodes.iter().find(leads).map(|node| node.id.clone());
        let mut managers: Vec<Manager> = nodes.iter().filter_map(Node::as_manager).collect();
        managers.sort_by(|one, other| one.node.cmp(&other.node));
        Some(Self {
            state: if leader.is_some() { NodeState::Active } else { NodeState::NoQuorum },
            node: node.to_owned(),
            wanted: own.spec.wanted(),
            availability: own.spec.availability(),
            leader,
            managers,
        })
    }
}

/// A node, as the engine lists it.
#[derive(Debug, Deserialize)]
pub(super) struct Node {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Spec", default)]
    spec: Spec,
    #[serde(rename = "Description", default)]
    description: Description,
    #[serde(rename = "ManagerStatus", default)]
    manager: Option<ManagerStatus>,
}

#[derive(Debug, Default, Deserialize)]
struct Spec {
    #[serde(rename = "Role", default)]
    role: String,
    #[serde(rename = "Availability", default)]
    availability: String,
}

impl Spec {
    fn wanted(&self) -> Role {
        if self.role == "worker" { Role::Worker } else { Role::Manager }
    }

    fn availability(&self) -> Availability {
        match self.availability.as_str() {
            "drain" => Availability::Drain,
            "pause" => Availability::Pause,
            _ => Availability::Active,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
struct Description {
    #[serde(rename = "Hostname", default)]
    name: String,
}

#[derive(Debug, Deserialize)]
struct ManagerStatus {
    #[serde(rename = "Leader", default)]
    leader: bool,
    #[serde(rename = "Reachability", default)]
    reachability: String,
    #[serde(rename = "Addr", default)]
    address: String,
}

impl Node {
    fn as_manager(&self) -> Option<Manager> {
        let status = self.manager.as_ref()?;
        Some(Manager {
            node: self.id.clone(),
            name: self.description.name.clone(),
            address: status.address.clone(),
            reachable: status.reachability == "reachable",
            availability: self.spec.availability(),
            wanted: self.spec.wanted(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nodes(spec: &serde_json::Value) -> Vec<Node> {
        let status = |leader: bool, reachability: &str| json!({ "Leader": leader, "Reachability": reachability, "Addr": "10.0.0.1:2377" });
        let nodes = json!([
            { "ID": "b", "Spec": spec, "Description": { "Hostname": "two" }, "ManagerStatus": status(false, "reachable") },
            { "ID": "a", "Description": { "Hostname": "one" }, "ManagerStatus": status(true, "reachable") },
            { "ID": "c", "Spec": { "Role": "manager" }, "ManagerStatus": status(false, "unreachable") },
            { "ID": "d", "Spec": { "Role": "worker", "Availability": "active" } },
        ]);
        serde_json::from_value(nodes).unwrap()
    }

    #[test]
    fn a_node_sees_itself_the_leader_and_the_managers() {
        let sight = Sight::of("b", &nodes(&json!({ "Role": "manager", "Availability": "drain" }))).unwrap();
        assert_eq!((&sight.state, sight.leader.as_deref()), (&NodeState::Active, Some("a")));
        assert_eq!((sight.wanted, sight.availability), (Role::Manager, Availability::Drain));
        let seen: Vec<_> =
            sight.managers.iter().map(|manager| (manager.node.as_str(), manager.reachable)).collect();
        assert_eq!(seen, [("a", true), ("b", true), ("c", false)]);
        assert_eq!(Sight::of("e", &nodes(&json!({}))), None);
    }

    #[test]
    fn one_that_is_demoted_knows_it_while_it_still_can_be_asked_and_after() {
        let sight = Sight::of("b", &nodes(&json!({ "Role": "worker" }))).unwrap();
        assert_eq!((&sight.state, sight.wanted), (&NodeState::Active, Role::Worker));
        // So do the others.
        let seen: Vec<_> = sight.managers.iter().map(|it| (it.node.as_str(), it.wanted)).collect();
        assert_eq!(seen, [("a", Role::Manager), ("b", Role::Worker), ("c", Role::Manager)]);
        let later = Sight::of("b", &nodes(&json!({ "Role": "manager" }))).unwrap().blind(NodeState::Worker);
        assert_eq!((later.node.as_str(), later.wanted, later.leader), ("b", Role::Worker, None));
    }
}

//! Which keys a group of replicas has in etcd, and what the ones that `leadership` and `store` share hold.
//!
//! Everything lies under `/openmanage/CLUSTER/`. The records are JSON, so that `etcdctl get --prefix` shows an operator
//! who leads and who is there; what is written often or is large (journal, base) is not.

use serde::{Deserialize, Serialize};

/// The keys of one group of replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    root: String,
}

impl Layout {
    /// The keys of the group named `cluster` (`--cluster`).
    #[must_use]
    pub fn of(cluster: &str) -> Self {
        Self { root: format!("/openmanage/{cluster}/") }
    }

    /// What all keys begin with.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// What the keys of the election begin with: leader, electorate, beat and replicas.
    #[must_use]
    pub fn election(&self) -> String {
        format!("{}election/", self.root)
    }

    /// The claim: a [`LeaderRecord`]. Its mod-revision is the term, unless the record says that it was rewritten. Under
    /// no lease: once claimed, it is always there.
    #[must_use]
    pub fn leader(&self) -> String {
        format!("{}election/leader", self.root)
    }

    /// Whose promises count: an [`ElectorateRecord`].
    #[must_use]
    pub fn electorate(&self) -> String {
        format!("{}election/electorate", self.root)
    }

    /// The heartbeat of a leader that cannot get enough promises: a [`BeatRecord`].
    #[must_use]
    pub fn beat(&self) -> String {
        format!("{}election/beat", self.root)
    }

    /// Written by a leader to prove that its claim still is the newest, where a read does not prove that: its term.
    #[must_use]
    pub fn proof(&self) -> String {
        format!("{}election/proof", self.root)
    }

    /// What the records of the living replicas begin with.
    #[must_use]
    pub fn replicas(&self) -> String {
        format!("{}election/replica/", self.root)
    }

    /// A living replica: a [`ReplicaRecord`] under its lease.
    #[must_use]
    pub fn replica(&self, instance: &str) -> String {
        format!("{}{instance}", self.replicas())
    }
}

/// Who holds the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderRecord {
    /// The replica's name.
    pub name: String,
    /// Identity of its process; empty where none is known.
    #[serde(default)]
    pub instance: String,
    /// Where it serves: a URL.
    pub endpoint: String,
    /// The longest authority that it hands out, in milliseconds.
    pub authority_ms: u64,
    /// Wall time of the claim, milliseconds since 1970 UTC. For people.
    pub time_unix_ms: i64,
    /// Unique to the attempt to claim: by it a claim whose answer was lost is recognised.
    pub nonce: String,
    /// If it was released: the term of the claim, for this record was written after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Released>,
}

/// A claim that was given up: everything that was done under it has stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// The term of the claim.
    pub term: u64,
    /// The name of the replica that is to follow, if one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<String>,
}

impl LeaderRecord {
    /// The term of the claim, given the mod-revision of the key.
    #[must_use]
    pub fn term(&self, mod_revision: i64) -> u64 {
        self.released.as_ref().map_or(u64::try_from(mod_revision).unwrap_or(0), |released| released.term)
    }
}

/// Whose promises count. The instances of the leader and of the replicas that it admitted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElectorateRecord {
    /// Instances, sorted; the leader's among them.
    pub members: Vec<String>,
    /// Authority that does not rest on promises of these members, nor on a heartbeat (what the claim itself gave, and what
    /// earlier terms left), is over this many milliseconds after the record was written.
    #[serde(default)]
    pub settles_ms: u64,
}

/// The heartbeat of a leader that cannot get enough promises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeatRecord {
    /// The leader's term.
    pub term: u64,
    /// How long the leader's authority lasts by this heartbeat at most, in milliseconds.
    pub authority_ms: u64,
}

/// A living replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaRecord {
    /// Its name.
    pub name: String,
    /// Identity of its process: another one after each start.
    pub instance: String,
    /// Identity of its host.
    pub host: String,
    /// Where other hosts reach it: a URL; its socket's where it listens nowhere else.
    pub endpoint: String,
    /// Its socket, for replicas on the same host: a URL.
    pub socket: String,
    /// Where it stands in what keeps the election, if that knows places: the id of its Swarm node. Else empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
}

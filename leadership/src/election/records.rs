//! What the keyspace holds of the election, as one replica sees it.

use std::collections::BTreeMap;

use om_kv::layout::{BeatRecord, ElectorateRecord, LeaderRecord, ReplicaRecord};

/// A record and the the keyspace revision that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// The key's mod-revision.
    pub revision: i64,
    /// What it holds.
    pub record: T,
}

/// The keys of the election at one revision of the keyspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Election {
    /// The claim; `None`: nobody ever claimed.
    pub leader: Option<At<LeaderRecord>>,
    /// Whose promises count.
    pub electorate: Option<At<ElectorateRecord>>,
    /// The last heartbeat that was written.
    pub beat: Option<At<BeatRecord>>,
    /// The living replicas, by their instance.
    pub replicas: BTreeMap<String, ReplicaRecord>,
}

impl Election {
    /// The newest term; 0: none.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.leader.as_ref().map_or(0, |leader| leader.record.term(leader.revision))
    }

    /// Whether a replica of this name lives.
    #[must_use]
    pub fn lives(&self, name: &str) -> bool {
        self.replicas.values().any(|replica| replica.name == name)
    }
}

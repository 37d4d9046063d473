//! What the files hold, as messages.

use crate::wire::EntryRecord;
use crate::{Candidate, Claim, Term};

/// Content of `format`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Format {
    #[prost(string, tag = "1")]
    pub(crate) cluster: String,
}

/// Content of `claim-<term>`, and with the same meaning of its fields of `release-<term>`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ClaimFile {
    #[prost(string, tag = "1")]
    pub(crate) cluster: String,
    #[prost(uint64, tag = "2")]
    pub(crate) term: u64,
    /// Made for this claim alone: tells a file from another one that got its name later.
    #[prost(string, tag = "3")]
    pub(crate) nonce: String,
    #[prost(string, tag = "4")]
    pub(crate) name: String,
    #[prost(string, tag = "5")]
    pub(crate) endpoint: String,
    #[prost(uint64, tag = "6")]
    pub(crate) authority_ms: u64,
    #[prost(int64, tag = "7")]
    pub(crate) time_unix_ms: i64,
    /// Of a release: who is to follow. Empty, as in files of older programs: nobody was named.
    #[prost(string, tag = "8")]
    pub(crate) successor: String,
}

impl ClaimFile {
    /// The claim, given the release of it, if there is one.
    pub(crate) fn into_claim(self, release: Option<Self>) -> Claim {
        Claim {
            term: Term(self.term),
            candidate: Candidate {
                name: self.name,
                endpoint: self.endpoint,
                authority_ms: self.authority_ms,
            },
            released: release.is_some(),
            successor: release.map(|release| release.successor).filter(|name| !name.is_empty()),
            time_unix_ms: self.time_unix_ms,
        }
    }
}

/// Head of a journal file.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SegmentHeader {
    #[prost(string, tag = "1")]
    pub(crate) cluster: String,
    #[prost(uint64, tag = "2")]
    pub(crate) term: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) seq: u64,
    /// The revision before its first entry.
    #[prost(uint64, tag = "4")]
    pub(crate) base: u64,
    #[prost(message, optional, tag = "5")]
    pub(crate) previous: Option<Seal>,
    #[prost(message, optional, tag = "6")]
    pub(crate) snapshot: Option<SnapshotRef>,
}

/// Up to where the file before counts.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Seal {
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) seq: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) length: u64,
}

/// The snapshot that a chain starts from.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct SnapshotRef {
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) revision: u64,
}

/// Head of a snapshot file.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SnapshotHeader {
    #[prost(string, tag = "1")]
    pub(crate) cluster: String,
    #[prost(uint64, tag = "2")]
    pub(crate) term: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) revision: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) count: u64,
}

/// The entries that were made durable together: one frame of the journal.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Batch {
    #[prost(message, repeated, tag = "1")]
    pub(crate) entries: Vec<EntryRecord>,
}

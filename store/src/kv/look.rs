//! One look at the store: who holds it and how far it is, at one revision of the keyspace; and whether it still is the store
//! that this handle has seen.
//!
//! A keyspace can be wiped, or restored from a backup that is older than what it acknowledged. Then revisions and terms that
//! were given out are given out again, and whoever remembers the old ones would take new writes for known ones. So every
//! look compares what is there with what was seen, and a difference stops everything before anything is written.

use om_kv::layout::LeaderRecord;
use om_kv::{Header, Kv, Op, Range, Txn, TxnAnswer};

use super::errors::told;
use super::shared::Shared;
use super::wire::{Manifest, Meta, Tip, corrupt};
use crate::envelope::{self, Kind};
use crate::{Candidate, Claim, Error, Head, Result, Revision, Term};

/// What was known before a look was asked for: an answer may be older than what others learned meanwhile.
pub(crate) struct Before {
    pub(crate) revision: Revision,
    pub(crate) mark: i64,
    pub(crate) cluster: Option<String>,
    term: u64,
    kv_revision: i64,
}

/// What was seen.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) header: Header,
    /// Empty if there is no store yet.
    pub(crate) cluster: String,
    /// The newest claim and the mod-revision of its key.
    pub(crate) leader: Option<(LeaderRecord, i64)>,
    pub(crate) tip: Tip,
    pub(crate) tip_modified: i64,
    pub(crate) manifest: Option<Manifest>,
    /// The mod-revision of the manifest; 0 if there is none.
    pub(crate) manifest_modified: i64,
}

impl Look {
    pub(crate) fn claim(&self) -> Option<Claim> {
        self.leader.as_ref().map(|(record, modified)| claim_of(record, *modified))
    }

    pub(crate) fn head(&self) -> Head {
        Head { cluster: self.cluster.clone(), claim: self.claim() }
    }

    pub(crate) fn term(&self) -> u64 {
        self.leader.as_ref().map_or(0, |(record, modified)| record.term(*modified))
    }

    pub(crate) fn leader_modified(&self) -> i64 {
        self.leader.as_ref().map_or(0, |(_, modified)| *modified)
    }

    pub(crate) fn floor(&self) -> Revision {
        self.manifest.as_ref().map_or(0, |manifest| manifest.floor)
    }
}

pub(crate) fn claim_of(record: &LeaderRecord, modified: i64) -> Claim {
    Claim {
        term: Term(record.term(modified)),
        candidate: Candidate {
            name: record.name.clone(),
            endpoint: record.endpoint.clone(),
            authority_ms: record.authority_ms,
        },
        released: record.released.is_some(),
        successor: record.released.as_ref().and_then(|released| released.successor.clone()),
        time_unix_ms: record.time_unix_ms,
    }
}

/// How many reads a look is.
pub(crate) const READS: usize = 5;

impl Shared {
    /// Looks, and notes what was seen.
    pub(crate) async fn look(&self) -> Result<Look> {
        let before = self.before();
        let txn = Txn { then: self.reads(&before), ..Txn::default() };
        let answer = self.kv.txn(&txn, self.tuning.patience).await.map_err(|error| told(&error))?;
        let look = self.judge(&answer, &before).inspect_err(|error| {
            if matches!(error, Error::WentBack { .. }) {
                self.fail(error.clone());
            }
        })?;
        self.note(&look);
        Ok(look)
    }

    pub(crate) fn before(&self) -> Before {
        let known = self.known();
        Before {
            revision: self.view.revision(),
            mark: known.mark,
            cluster: known.cluster.clone(),
            term: known.term,
            kv_revision: known.kv_revision,
        }
    }

    /// The first steps of a transaction whose answer is to be judged.
    pub(crate) fn reads(&self, before: &Before) -> Vec<Op> {
        let keys = &self.keys;
        let newest = Range::key(keys.entry(before.revision)).keys_only();
        let mut reads: Vec<_> =
            [&keys.leader, &keys.meta, &keys.tip, &keys.manifest].map(|key| Op::get(key.as_str())).into();
        reads.push(Op::Get(newest));
        reads
    }

    /// Whether what the first reads of an answer found is whole, and the store that was seen before.
    pub(crate) fn judge(&self, answer: &TxnAnswer, before: &Before) -> Result<Look> {
        let keys = &self.keys;
        let one = |place: usize| answer.found(place).first();
        let went_back =
            |why: String| Error::WentBack { what: format!("{} {}*: {why}", self.kv.name(), keys.root) };
        let Some(meta) = one(1) else {
            if let Some(cluster) = &before.cluster {
                return Err(went_back(format!("store {cluster} was here, and is gone")));
            }
            if [0, 2, 3].iter().any(|place| one(*place).is_some()) {
                return Err(corrupt(&keys.meta, "is missing, though there is more of the store"));
            }
            return Ok(Look::of_nothing(answer.header));
        };
        let meta: Meta = envelope::decode_whole(Kind::Format, &keys.meta, &meta.value)?;
        if let Some(cluster) = before.cluster.as_ref().filter(|cluster| **cluster != meta.cluster) {
            return Err(went_back(format!("it is store {} now, and was {cluster}", meta.cluster)));
        }
        let missing = |key: &str| corrupt(key, "is missing");
        let leader = one(0).ok_or_else(|| missing(&keys.leader))?;
        let tip = one(2).ok_or_else(|| missing(&keys.tip))?;
        let manifest = one(3);
        let look = Look {
            header: answer.header,
            cluster: meta.cluster,
            leader: Some((leader_record(leader)?, leader.modified)),
            tip: envelope::decode_whole(Kind::Tip, &keys.tip, &tip.value)?,
            tip_modified: tip.modified,
            manifest: manifest.map(|kv| manifest_of(&keys.manifest, kv)).transpose()?,
            manifest_modified: manifest.map_or(0, |kv| kv.modified),
        };
        if answer.header.revision < before.kv_revision {
            let (now, then) = (answer.header.revision, before.kv_revision);
            return Err(went_back(format!("it is at revision {now}, and was at {then}")));
        }
        if look.term() < before.term {
            return Err(went_back(format!("the newest term is {}, and was {}", look.term(), before.term)));
        }
        if look.tip.revision < before.revision {
            let (now, then) = (look.tip.revision, before.revision);
            return Err(went_back(format!("the newest entry is {now}, and was {then}")));
        }
        self.judge_newest(&look, one(4), before)?;
        Ok(look)
    }

    /// Whether the newest entry of the view still is the one that was read.
    fn judge_newest(&self, look: &Look, newest: Option<&Kv>, before: &Before) -> Result<()> {
        match newest {
            Some(kv) if before.mark != 0 && kv.modified != before.mark => {
                let what = format!("{} key {}: was written anew", self.kv.name(), kv.key);
                Err(Error::WentBack { what })
            }
            None if before.revision > look.floor() => {
                Err(corrupt(&self.keys.entry(before.revision), "is missing"))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn note(&self, look: &Look) {
        let mut known = self.known();
        if !look.cluster.is_empty() {
            known.cluster = Some(look.cluster.clone());
        }
        known.kv_revision = known.kv_revision.max(look.header.revision);
        known.floor = known.floor.max(look.floor());
        known.saw_term(look.term(), look.claim().is_some_and(|claim| claim.released));
    }
}

impl Look {
    fn of_nothing(header: Header) -> Self {
        Self {
            header,
            cluster: String::new(),
            leader: None,
            tip: Tip::default(),
            tip_modified: 0,
            manifest: None,
            manifest_modified: 0,
        }
    }
}

pub(crate) fn leader_record(kv: &Kv) -> Result<LeaderRecord> {
    serde_json::from_slice(&kv.value).map_err(|error| corrupt(&kv.key, error))
}

fn manifest_of(place: &str, kv: &Kv) -> Result<Manifest> {
    envelope::decode_whole(Kind::Manifest, place, &kv.value)
}

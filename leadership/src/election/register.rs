//! What a replica reads and writes of the election where that is kept.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use om_kv::Keyspace;
use om_kv::layout::{BeatRecord, ElectorateRecord, Layout, LeaderRecord, ReplicaRecord};
use om_kv::{Error, Guard, Header, Kv, Op, Range, Txn, TxnAnswer, Watching};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::io::Outcome;
use super::records::{At, Election};

/// How long one write or look may take before it is called unclear.
const PATIENCE: Duration = Duration::from_millis(800);

#[derive(Clone)]
pub(super) struct Register {
    pub(super) kv: Arc<dyn Keyspace>,
    layout: Layout,
    past: Arc<Past>,
}

/// What is known of the past of the keyspace: one that is behind it has been wiped, or restored from an older backup, and
/// what it says of terms does not count. Once that was seen it counts for good: more writes would only hide it.
#[derive(Default)]
struct Past {
    revision: AtomicI64,
    cluster: OnceLock<u64>,
    went_back: OnceLock<String>,
}

impl Past {
    /// Takes in the answer to something that was asked when `before` was known.
    fn check(&self, kept_in: &str, before: i64, header: Header) -> Result<(), String> {
        self.revision.fetch_max(header.revision, Ordering::SeqCst);
        let cluster = *self.cluster.get_or_init(|| header.cluster);
        if header.revision < before || header.cluster != cluster {
            let found = if header.cluster == cluster {
                format!("it is at revision {}, and was at {before}", header.revision)
            } else {
                format!("it is cluster {:x}, and was {cluster:x}", header.cluster)
            };
            self.went_back.get_or_init(|| {
                format!(
                    "{kept_in} went back: {found}; has it been wiped, or restored from an older backup? Nobody leads on \
                     that: restore a newer backup, or restart every manager and plugin to go on from what {kept_in} holds"
                )
            });
        }
        self.went_back.get().map_or(Ok(()), |why| Err(why.clone()))
    }

    fn revision(&self) -> i64 {
        self.revision.load(Ordering::SeqCst)
    }
}

impl Register {
    pub(super) fn new(kv: Arc<dyn Keyspace>, layout: Layout) -> Self {
        Self { kv, layout, past: Arc::default() }
    }

    /// Takes in how far the keyspace is, from what a watch says.
    pub(super) fn learn(&self, header: Header) -> Result<(), String> {
        // Members may lag behind each other: only what is asked for anew tells that it went back.
        self.past.check(self.kv.name(), header.revision, header)
    }

    /// Why nothing that is read there counts any more, if so.
    pub(super) fn went_back(&self) -> Option<String> {
        self.past.went_back.get().cloned()
    }

    /// The election as it is now, and the revision at which it was read.
    pub(super) async fn look(&self, patience: Duration) -> Result<(Election, i64), String> {
        let before = self.past.revision();
        let found = self.kv.range(&Range::prefix(self.layout.election()), patience).await;
        let found = found.map_err(|error| error.to_string())?;
        self.past.check(self.kv.name(), before, found.header)?;
        let mut election = Election::default();
        for kv in &found.kvs {
            self.take(&mut election, &kv.key, Some(kv))?;
        }
        Ok((election, found.header.revision))
    }

    /// What happens to the election after a revision.
    pub(super) fn watch(&self, after: i64) -> Watching {
        self.kv.watch(&self.layout.election(), after + 1)
    }

    /// Takes in what a key holds now; `None`: it is gone.
    pub(super) fn take(&self, election: &mut Election, key: &str, kv: Option<&Kv>) -> Result<(), String> {
        if key == self.layout.leader() {
            election.leader = kv.map(read::<LeaderRecord>).transpose()?;
        } else if key == self.layout.electorate() {
            election.electorate = kv.map(read::<ElectorateRecord>).transpose()?;
        } else if key == self.layout.beat() {
            election.beat = kv.map(read::<BeatRecord>).transpose()?;
        } else if let Some(instance) = key.strip_prefix(&self.layout.replicas()) {
            match kv {
                Some(kv) => {
                    election.replicas.insert(instance.to_owned(), read::<ReplicaRecord>(kv)?.record);
                }
                None => drop(election.replicas.remove(instance)),
            }
        }
        Ok(())
    }

    /// Records the electorate under the claim of `term`, if its record still is the one of revision `electorate`. Gives the
    /// revision of the new one, also if it was written by an earlier try.
    pub(super) async fn record(
        &self,
        term: u64,
        electorate: u64,
        members: &BTreeSet<String>,
        settles: Duration,
    ) -> Outcome<u64> {
        let key = self.layout.electorate();
        let txn = self
            .under(term)
            .when(Guard::modified(&key, signed(electorate)))
            .then(Op::put(&key, json(&electorate_record(members, settles))))
            .otherwise(Op::get(&key));
        let answer = match self.ask(&txn).await {
            Ok(answer) => answer,
            Err(outcome) => return outcome,
        };
        if answer.succeeded {
            return Outcome::Done(answer.header.revision.unsigned_abs());
        }
        if let Some(why) = self.fenced(term, answer.found(0)) {
            return Outcome::Fenced(why);
        }
        let written = answer.found(1).first().and_then(|kv| read::<ElectorateRecord>(kv).ok());
        match written.filter(|at| at.record.members.iter().eq(members)) {
            Some(at) => Outcome::Done(at.revision.unsigned_abs()),
            None => Outcome::Unclear("the electorate is not as it was last seen".to_owned()),
        }
    }

    /// Writes a heartbeat under the claim of `term`.
    pub(super) async fn beat(&self, term: u64, authority: Duration) -> Outcome<()> {
        let record = BeatRecord { term, authority_ms: millis(authority) };
        let txn = self.under(term).then(Op::put(self.layout.beat(), json(&record)));
        self.written(term, &txn).await
    }

    /// Writes something under the claim of `term`.
    async fn written(&self, term: u64, txn: &Txn) -> Outcome<()> {
        match self.ask(txn).await {
            Ok(answer) if answer.succeeded => Outcome::Done(()),
            Ok(answer) => self.fenced(term, answer.found(0)).map_or_else(unexplained, Outcome::Fenced),
            Err(outcome) => outcome,
        }
    }

    /// Looks whether the claim of `term` still is the newest.
    pub(super) async fn prove(&self, term: u64) -> Outcome<()> {
        if !self.kv.reads_prove() {
            let txn = self.under(term).then(Op::put(self.layout.proof(), json(&term)));
            return self.written(term, &txn).await;
        }
        let before = self.past.revision();
        let found = match self.kv.range(&Range::key(self.layout.leader()), PATIENCE).await {
            Ok(found) => found,
            Err(error) => return Outcome::Unclear(error.to_string()),
        };
        match self.past.check(self.kv.name(), before, found.header) {
            Ok(()) => self.fenced(term, &found.kvs).map_or(Outcome::Done(()), Outcome::Fenced),
            Err(why) => Outcome::Fenced(why),
        }
    }

    /// Does a transaction; `Err`: the outcome, if that is no answer that counts.
    async fn ask<T>(&self, txn: &Txn) -> Result<TxnAnswer, Outcome<T>> {
        let before = self.past.revision();
        let answer = self.kv.txn(txn, PATIENCE).await.map_err(|error| Outcome::Unclear(error.to_string()))?;
        self.past.check(self.kv.name(), before, answer.header).map_err(Outcome::Fenced)?;
        Ok(answer)
    }

    /// Puts a replica's record under its lease, and gives the revision of that.
    pub(super) async fn enter(&self, replica: &ReplicaRecord, lease: i64) -> Result<i64, Error> {
        let value = json(replica);
        let op = Op::Put { key: self.layout.replica(&replica.instance), value, lease };
        self.kv.txn(&Txn::new().then(op), PATIENCE).await.map(|answer| answer.header.revision)
    }

    /// A transaction that is done only while the claim of `term` is the newest; else it tells the claim first.
    fn under(&self, term: u64) -> Txn {
        let leader = self.layout.leader();
        Txn::new().when(Guard::modified(&leader, signed(term))).otherwise(Op::get(leader))
    }

    /// Why the claim of `term` is not the newest, if it is not.
    fn fenced(&self, term: u64, leader: &[Kv]) -> Option<String> {
        let kept_in = self.kv.name();
        let Some(kv) = leader.first() else {
            return Some(format!("{} is gone from {}: was it wiped?", self.layout.leader(), self.kv.name()));
        };
        if kv.modified == signed(term) {
            return None;
        }
        Some(match read::<LeaderRecord>(kv) {
            Ok(at) if kv.modified > signed(term) => {
                format!("{} claimed term {}", at.record.name, at.record.term(at.revision))
            }
            Ok(at) => {
                format!("{kept_in} went back to term {}, of {}", at.record.term(at.revision), at.record.name)
            }
            Err(why) => why,
        })
    }
}

fn unexplained() -> Outcome<()> {
    Outcome::Unclear("the write was refused, yet the claim stands".to_owned())
}

/// An electorate's record.
pub(super) fn electorate_record(members: &BTreeSet<String>, settles: Duration) -> ElectorateRecord {
    ElectorateRecord { members: members.iter().cloned().collect(), settles_ms: millis(settles) }
}

/// Milliseconds, rounded up: what is promised in them is never shorter than what was meant.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}

fn signed(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

/// A record as the keyspace keeps it. These records are plain: they can always be written.
pub(super) fn json(record: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_default()
}

fn read<T: DeserializeOwned>(kv: &Kv) -> Result<At<T>, String> {
    let record =
        serde_json::from_slice(&kv.value).map_err(|cause| format!("{} cannot be read: {cause}", kv.key))?;
    Ok(At { revision: kv.modified, record })
}

//! What a cluster is by its own promises. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use om_kv::{
    Answer, End, Error, Event, Failure, Found, Granted, Guard, Header, Kv, Op, Range, Result, Txn, TxnAnswer,
};

/// Keys, with everything that they held, and leases.
pub(super) struct Model {
    revision: i64,
    compacted: i64,
    /// Each key's versions, oldest first; `None`: it was deleted.
    keys: BTreeMap<String, Vec<(i64, Option<Kv>)>>,
    leases: BTreeMap<i64, Lease>,
    granted: i64,
    elections: u64,
    /// Everything since the compaction.
    log: Vec<Event>,
}

struct Lease {
    ttl: Duration,
    ends: Duration,
    keys: BTreeSet<String>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            revision: 1,
            compacted: 0,
            keys: BTreeMap::new(),
            leases: BTreeMap::new(),
            granted: 0,
            elections: 1,
            log: Vec::new(),
        }
    }
}

pub(super) fn failure(what: impl ToString, why: &str) -> Failure {
    Failure {
        what: what.to_string(),
        place: "the model".to_owned(),
        why: why.to_owned(),
        hint: String::new(),
    }
}

impl Model {
    pub(super) fn header(&self) -> Header {
        Header { cluster: 7, member: 1, revision: self.revision, raft_term: self.elections }
    }

    pub(super) fn range(&self, range: &Range) -> Result<Found> {
        if range.revision > 0 && range.revision < self.compacted {
            let failure = failure(range, "compacted");
            return Err(Error::Compacted { failure, oldest: Some(self.compacted) });
        }
        Ok(self.read(range))
    }

    fn read(&self, range: &Range) -> Found {
        let at = if range.revision > 0 { range.revision } else { i64::MAX };
        let within = |key: &str| match &range.end {
            End::One => key == range.key,
            End::Prefix => key.starts_with(&range.key),
            End::Before(end) => key < end.as_str(),
        };
        let keys = self.keys.range(range.key.clone()..).take_while(|(key, _)| within(key));
        let live = keys.filter_map(|(_, versions)| {
            let before = versions.partition_point(|(revision, _)| *revision <= at);
            versions[..before].last()?.1.clone()
        });
        let mut kvs: Vec<Kv> = live.collect();
        let count = kvs.len() as u64;
        let limit = usize::try_from(range.limit).unwrap_or(0);
        let more = limit > 0 && kvs.len() > limit;
        if more {
            kvs.truncate(limit);
        }
        if range.count_only {
            kvs.clear();
        }
        if range.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value.clear());
        }
        Found { header: self.header(), kvs, count, more }
    }

    fn newest(&self, key: &str) -> Option<&Kv> {
        self.keys.get(key)?.last()?.1.as_ref()
    }

    /// What the last revisions wrote is lost; their numbers are not used again.
    pub(super) fn forget(&mut self, revisions: i64) {
        let kept = self.revision - revisions;
        for versions in self.keys.values_mut() {
            versions.retain(|(revision, _)| *revision <= kept);
        }
        self.keys.retain(|_, versions| !versions.is_empty());
    }

    fn holds(&self, guard: &Guard) -> bool {
        let modified = |key: &str| self.newest(key).map_or(0, |kv| kv.modified);
        match guard {
            Guard::Modified { key, revision } => modified(key) == *revision,
            Guard::Created { key, revision } => self.newest(key).map_or(0, |kv| kv.created) == *revision,
            Guard::Present { key } => self.newest(key).is_some(),
            Guard::Since { key, revision } => modified(key) >= *revision,
            Guard::Value { key, value } => self.newest(key).is_some_and(|kv| kv.value == *value),
            Guard::Untouched { prefix, since } => {
                self.read(&Range::prefix(prefix.as_str())).kvs.iter().all(|kv| kv.modified <= *since)
            }
        }
    }

    pub(super) fn txn(&mut self, txn: &Txn) -> Result<TxnAnswer> {
        let succeeded = txn.guards.iter().all(|guard| self.holds(guard));
        let steps = if succeeded { &txn.then } else { &txn.otherwise };
        let lost =
            |op: &Op| matches!(op, Op::Put { lease, .. } if *lease != 0 && !self.leases.contains_key(lease));
        if steps.iter().any(lost) {
            return Err(Error::LeaseGone(failure(txn, "no such lease")));
        }
        let before = self.revision;
        let mut answers = Vec::new();
        for step in steps {
            answers.push(match step {
                Op::Get(range) => Answer::Get(self.range(range)?),
                Op::Put { key, value, lease } => {
                    self.put(before + 1, key, value.clone(), *lease);
                    Answer::Put
                }
                Op::Delete(range) => {
                    let found = self.read(range).kvs;
                    found.iter().for_each(|kv| self.delete(before + 1, &kv.key));
                    Answer::Delete(found.len() as u64)
                }
            });
        }
        Ok(TxnAnswer { header: self.header(), succeeded, answers })
    }

    fn put(&mut self, revision: i64, key: &str, value: Vec<u8>, lease: i64) {
        let old = self.newest(key).map(|kv| (kv.created, kv.lease));
        if let Some(lease) = old.and_then(|(_, lease)| self.leases.get_mut(&lease)) {
            lease.keys.remove(key);
        }
        if let Some(lease) = self.leases.get_mut(&lease) {
            lease.keys.insert(key.to_owned());
        }
        let created = old.map_or(revision, |(created, _)| created);
        let kv = Kv { key: key.to_owned(), value, created, modified: revision, lease };
        self.keys.entry(key.to_owned()).or_default().push((revision, Some(kv.clone())));
        self.log.push(Event::Put(kv));
        self.revision = revision;
    }

    fn delete(&mut self, revision: i64, key: &str) {
        if let Some(versions) = self.keys.get_mut(key) {
            versions.push((revision, None));
            self.log.push(Event::Delete { key: key.to_owned(), revision });
            self.revision = revision;
        }
    }

    pub(super) fn grant(&mut self, now: Duration, ttl: Duration) -> Granted {
        self.granted += 1;
        let ttl = Duration::from_secs(ttl.as_secs().max(1));
        self.leases.insert(self.granted, Lease { ttl, ends: now + ttl, keys: BTreeSet::new() });
        Granted { id: self.granted, ttl, header: self.header() }
    }

    pub(super) fn keep_alive(&mut self, now: Duration, id: i64) -> Result<()> {
        let lease =
            self.leases.get_mut(&id).ok_or_else(|| Error::LeaseGone(failure("keep alive", "gone")))?;
        lease.ends = now + lease.ttl;
        Ok(())
    }

    pub(super) fn revoke(&mut self, id: i64) {
        let Some(lease) = self.leases.remove(&id) else { return };
        let revision = self.revision + 1;
        lease.keys.iter().for_each(|key| self.delete(revision, key));
    }

    /// Leases that have run out end.
    pub(super) fn expire(&mut self, now: Duration) {
        let over: Vec<i64> =
            self.leases.iter().filter(|(_, lease)| lease.ends <= now).map(|(id, _)| *id).collect();
        over.into_iter().for_each(|id| self.revoke(id));
    }

    /// Every lease lasts its whole time again from then.
    pub(super) fn extend(&mut self, from: Duration) {
        self.elections += 1;
        self.leases.values_mut().for_each(|lease| lease.ends = from + lease.ttl);
    }

    pub(super) fn compact(&mut self, keep: i64) {
        self.compacted = self.compacted.max(self.revision - keep);
        let compacted = self.compacted;
        self.log.retain(|event| event.revision() > compacted);
    }

    /// What happened to keys that begin with `prefix`, from a revision on.
    pub(super) fn since(&self, prefix: &str, from: i64) -> Result<Vec<Event>> {
        if from <= self.compacted {
            let failure = failure(format!("watch {prefix} from {from}"), "compacted");
            return Err(Error::Compacted { failure, oldest: Some(self.compacted) });
        }
        let begin = self.log.partition_point(|event| event.revision() < from);
        Ok(self.log[begin..].iter().filter(|event| event.key().starts_with(prefix)).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn put(key: &str) -> Txn {
        Txn::new().then(Op::put(key, "v"))
    }

    #[test]
    fn a_transaction_is_one_revision_and_its_guards_are_looked_at_first() {
        let mut model = Model::default();
        let both = Txn::new().when(Guard::absent("a")).then(Op::put("a", "1")).then(Op::put("b", "1"));
        let done = model.txn(&both).unwrap();
        assert!(done.succeeded && done.header.revision == 2);
        assert!(!model.txn(&both).unwrap().succeeded, "it is there now");
        assert_eq!(
            model.read(&Range::prefix("")).kvs.iter().map(|kv| kv.modified).collect::<Vec<_>>(),
            [2, 2]
        );
    }

    #[test]
    fn the_past_can_be_read_until_it_is_compacted() {
        let mut model = Model::default();
        model.txn(&put("a")).unwrap();
        model.txn(&Txn::new().then(Op::Delete(Range::key("a")))).unwrap();
        assert!(model.range(&Range::key("a")).unwrap().one().is_none());
        assert!(model.range(&Range::key("a").at(2)).unwrap().one().is_some());
        assert_eq!(model.since("a", 2).unwrap().len(), 2);
        model.compact(0);
        assert!(matches!(model.range(&Range::key("a").at(2)), Err(Error::Compacted { .. })));
        assert!(matches!(model.since("a", 3), Err(Error::Compacted { .. })));
        assert_eq!(model.since("a", 4).unwrap(), []);
    }

    #[test]
    fn a_lease_takes_its_keys_with_it_unless_it_is_kept_alive_or_another_leads() {
        let mut model = Model::default();
        let lease = model.grant(S, 2 * S).id;
        model.txn(&Txn::new().then(Op::Put { key: "a".into(), value: Vec::new(), lease })).unwrap();
        model.keep_alive(2 * S, lease).unwrap();
        model.expire(3 * S);
        assert!(model.newest("a").is_some());
        model.extend(4 * S);
        model.expire(5 * S);
        assert!(model.newest("a").is_some());
        model.expire(6 * S);
        assert!(model.newest("a").is_none());
        assert!(matches!(model.keep_alive(6 * S, lease), Err(Error::LeaseGone(_))));
    }
}

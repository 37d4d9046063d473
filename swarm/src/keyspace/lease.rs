//! Leases: keys that vanish with their owner.
//!
//! A lease is a config object whose labels its owner changes again and again. Who watches it counts it as run out when
//! it has stood still for its time by the watcher's own clock, counted from when it was seen first; it then marks it as
//! ended, by the object's version, so that an owner who comes just in time keeps it, deletes the keys under it by a
//! transaction like any other, and removes it last. Whoever finds keys whose lease is marked or gone goes on from there.
//!
//! A lease says who seems to be alive, and when a claim may be waited out. Safety does not rest on it: a claim is a key
//! under no lease, and a write of its holder compares that key's revision.

use std::collections::HashMap;
use std::time::Duration;

use om_kv::{Error, Granted, Guard, Op, Range, Result, Txn};
use tokio::time::Instant;
use uuid::Uuid;

use super::core::{Core, Effort, Failed};
use super::judge::{self, Fate};
use super::names::{ENDED, KEPT, TTL};
use crate::engine::{Config, Trouble};

/// How long what follows on a lease's end may take.
const CLEARING: Duration = Duration::from_secs(10);

/// Who has not seen leases for longer than this was blind. Polls are more often.
const BLIND: Duration = Duration::from_secs(4);

/// When leases were seen to be kept alive. Time in which they could not be seen does not count: while a Swarm has no
/// leader, nobody can keep a lease alive either.
#[derive(Debug, Default)]
pub(super) struct Observed {
    kept: HashMap<i64, Kept>,
    looked: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    version: u64,
    since: Instant,
    ttl: Duration,
}

impl Observed {
    /// Takes in the leases as they are; those that ran out.
    pub(super) fn take(&mut self, leases: &[(i64, Config)], now: Instant) -> Vec<i64> {
        let blind = now.saturating_duration_since(self.looked.replace(now).unwrap_or(now));
        if blind > BLIND {
            self.kept.values_mut().for_each(|kept| kept.since += blind);
        }
        self.kept.retain(|id, _| leases.iter().any(|(other, _)| other == id));
        let mut over = Vec::new();
        for (id, config) in leases {
            let version = config.version();
            let ttl = config
                .label(TTL)
                .and_then(|ttl| ttl.parse().ok())
                .map_or(Duration::ZERO, Duration::from_secs);
            let kept = self.kept.entry(*id).or_insert(Kept { version, since: now, ttl });
            if kept.version != version {
                *kept = Kept { version, since: now, ttl };
            }
            if config.label(ENDED).is_some() || now.saturating_duration_since(kept.since) > kept.ttl {
                over.push(*id);
            }
        }
        over
    }

    /// When the next one runs out if it is not kept alive.
    pub(super) fn next(&self) -> Option<Instant> {
        self.kept.values().map(|kept| kept.since + kept.ttl + Duration::from_millis(1)).min()
    }
}

impl Core {
    pub(super) async fn grant_lease(&self, ttl: Duration, mut effort: Effort) -> Result<Granted> {
        let ttl =
            Duration::from_secs(u64::try_from(ttl.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1));
        loop {
            let base = self.read(&mut effort).await?;
            if base.swarm.label(&self.names.label).is_some() {
                break;
            }
            if let Err(failed) = self.begin(&base, &mut effort).await {
                self.again(&mut effort, failed).await?;
            }
        }
        let id = (Uuid::new_v4().as_u64_pair().0 >> 1).max(1).cast_signed();
        let mut labels = self.names.labels("lease");
        labels.push((TTL, ttl.as_secs().to_string()));
        loop {
            let time = effort.time(self.options.attempt);
            let created = self.engine.create_config(&self.names.lease(id), &labels, b"lease", time).await;
            match created.map_err(|trouble| self.failed(&effort, &trouble)) {
                // An answer was lost, and it was made.
                Ok(_) | Err(Failed::Again(Fate::Taken, _)) => {
                    return Ok(Granted { id, ttl, header: self.header() });
                }
                Err(failed) => self.again(&mut effort, failed).await?,
            }
        }
    }

    pub(super) async fn keep_lease(&self, id: i64, mut effort: Effort) -> Result<()> {
        loop {
            let config = self.living_lease(id, &mut effort).await?;
            let kept: u64 = config.label(KEPT).and_then(|kept| kept.parse().ok()).unwrap_or(0);
            let set = [(KEPT, (kept + 1).to_string())];
            let time = effort.time(self.options.attempt);
            match self.engine.label_config(&config, &set, time).await {
                Ok(()) => return Ok(()),
                Err(trouble) => {
                    let failed = self.failed(&effort, &trouble);
                    self.again(&mut effort, failed).await?;
                }
            }
        }
    }

    pub(super) async fn revoke_lease(&self, id: i64, mut effort: Effort) -> Result<()> {
        loop {
            let time = effort.time(self.options.attempt);
            let removed = self.engine.remove_config(&self.names.lease(id), time).await;
            match removed.map_err(|trouble| self.failed(&effort, &trouble)) {
                Ok(()) | Err(Failed::Again(Fate::Missing, _)) => break,
                Err(failed) => self.again(&mut effort, failed).await?,
            }
        }
        let base = self.read(&mut effort).await?;
        if base.state.under(id).is_empty() {
            return Ok(());
        }
        let left = effort.time(Duration::MAX);
        match self.drop_keys(id, left).await {
            // Whether they are gone yet or not: the lease is, and with it they go.
            Err(Error::Unclear(failure)) => Err(Error::Unavailable(failure)),
            other => other,
        }
    }

    /// The object of a lease that lives.
    pub(super) async fn living_lease(&self, id: i64, effort: &mut Effort) -> Result<Config> {
        loop {
            let time = effort.time(self.options.attempt);
            let found = self.engine.config(&self.names.lease(id), time).await;
            match found.map_err(|trouble| self.failed(effort, &trouble)) {
                Ok(config) if config.label(ENDED).is_none() => return Ok(config),
                Ok(_) | Err(Failed::Again(Fate::Missing, _)) => {
                    return Err(Error::LeaseGone(self.failure(effort, format!("no lease {id:016x}"), "")));
                }
                Err(failed) => self.again(effort, failed).await?,
            }
        }
    }

    /// The leases that there are.
    pub(super) async fn leases(&self) -> std::result::Result<Vec<(i64, Config)>, Trouble> {
        let found = self.engine.configs(&self.names.leases(), self.options.attempt).await?;
        let ours = found.into_iter().filter(|config| self.names.is_ours(config));
        Ok(ours.filter_map(|config| Some((self.names.lease_of(config.name())?, config))).collect())
    }

    /// Ends a lease that ran out, unless it was kept alive since this was read.
    pub(super) async fn end_lease(&self, id: i64, config: &Config) {
        if config.label(ENDED).is_none() {
            let set = [(ENDED, "1".to_owned())];
            if let Err(trouble) = self.engine.label_config(config, &set, self.options.attempt).await {
                tracing::debug!(%trouble, lease = id, "a lease is not ended yet");
                return;
            }
        }
        if self.drop_keys(id, CLEARING).await.is_ok()
            && let Err(trouble) = self.engine.remove_config(&config.id, self.options.attempt).await
        {
            tracing::debug!(%trouble, lease = id, "a lease is not removed yet");
        }
    }

    /// Deletes the keys under a lease.
    pub(super) async fn drop_keys(&self, id: i64, patience: Duration) -> Result<()> {
        let effort = Effort::new(format!("delete what is under the lease {id:016x}"), patience);
        loop {
            let base = self.read(&mut effort.clone()).await?;
            let keys = base.state.under(id);
            if keys.is_empty() {
                return Ok(());
            }
            let mut txn = Txn::new();
            for key in keys {
                let modified = base.state.get(&key).map_or(0, |hit| hit.mark.modified);
                txn = txn.when(Guard::modified(key.as_str(), modified)).then(Op::Delete(Range::key(key)));
            }
            if self.transact(&txn, effort.clone()).await?.succeeded {
                return Ok(());
            }
        }
    }

    /// Waits, if it helps to ask again.
    async fn again(&self, effort: &mut Effort, failed: Failed) -> Result<()> {
        match failed {
            Failed::Over(error) => Err(error),
            Failed::Again(fate, failure) if effort.is_over() => Err(judge::error(fate, failure)),
            Failed::Again(..) => {
                effort.pause().await;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lease_runs_out_by_the_time_in_which_it_was_seen_to_stand_still() {
        let config = |version: u64| -> Config {
            let spec = json!({ "Name": "lease", "Labels": { TTL: "10" } });
            serde_json::from_value(json!({ "ID": "x", "Version": { "Index": version }, "Spec": spec }))
                .unwrap()
        };
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let mut observed = Observed::default();
        let mut at =
            |seconds: u32, version: u64| observed.take(&[(1, config(version))], begin + second * seconds);
        for seconds in [0, 3, 6] {
            assert_eq!(at(seconds, 1), [0; 0]);
        }
        assert_eq!(at(7, 2), [0; 0], "it was kept alive");
        assert_eq!(at(10, 2), [0; 0]);
        assert_eq!(at(40, 2), [0; 0], "nobody could look, nobody could keep it alive");
        assert_eq!(at(43, 2), [0; 0]);
        assert_eq!(at(46, 2), [0; 0]);
        assert_eq!(at(48, 2), [1]);
    }
}

//! The world's etcd: one copy, slow, sometimes away, with answers that get lost.

use super::*;

impl World {
    pub(super) fn keep_alive(&mut self, instance: &str) {
        if self.now < self.away_until {
            return;
        }
        let Some(replica) = self.replicas.get(instance).filter(|replica| replica.sees_etcd) else { return };
        let name = replica.name.clone();
        self.leases.insert(instance.to_owned(), self.now + LEASE);
        self.at(LEASE, Event::Lapse);
        if !self.etcd.replicas.contains_key(instance) {
            let record = ReplicaRecord {
                name: name.clone(),
                instance: instance.to_owned(),
                host: String::new(),
                endpoint: String::new(),
                socket: String::new(),
                place: name,
            };
            self.etcd.replicas.insert(instance.to_owned(), record);
            self.changed();
        }
    }

    pub(super) fn changed(&mut self) {
        self.revision += 1;
        for instance in self.replicas.keys().cloned().collect::<Vec<_>>() {
            let delay = self.dice.within(MS / 2, 3 * MS);
            self.at(delay, Event::Observe(instance));
        }
    }

    /// Leases run out, and living replicas keep theirs.
    pub(super) fn expire(&mut self) {
        let due: Vec<String> =
            self.replicas.values().filter(|r| r.resumes <= self.now).map(|r| r.instance.clone()).collect();
        for instance in due {
            let left =
                self.leases.get(&instance).map_or(Duration::ZERO, |until| until.saturating_sub(self.now));
            if left < LEASE * 2 / 3 {
                self.keep_alive(&instance);
            }
        }
        if self.now < self.away_until {
            return;
        }
        let gone: Vec<String> = self
            .leases
            .iter()
            .filter(|(_, until)| **until <= self.now)
            .map(|(instance, _)| instance.clone())
            .collect();
        for instance in gone {
            self.leases.remove(&instance);
            if self.etcd.replicas.remove(&instance).is_some() {
                self.changed();
            }
        }
    }

    pub(super) fn observe(&mut self, instance: String) {
        let away = self.now < self.away_until;
        let Some(replica) = self.replicas.get_mut(&instance) else { return };
        if away || !replica.sees_etcd {
            return self.put(&instance, Input::Blind("etcd is away".to_owned()));
        }
        if replica.resumes <= self.now {
            replica.seen = self.revision;
        }
        let election = self.etcd.clone();
        self.put(&instance, Input::Observed(election));
    }

    /// How long a request takes to take effect in etcd, and whether its answer comes back.
    pub(super) fn etcd_delay(&mut self, instance: &str) -> (Duration, bool) {
        let slow = self.faults.0 && self.dice.one_in(20);
        let delay = if slow { self.dice.within(MS, 3000 * MS) } else { self.dice.within(MS, 4 * MS) };
        let sees = self.replicas.get(instance).is_some_and(|replica| replica.sees_etcd);
        let answered = sees && !(self.faults.0 && self.dice.one_in(30));
        (delay, answered)
    }

    pub(super) fn claim(&mut self, by: String, asked_at: Duration, warrant: Box<Warrant>, answered: bool) {
        if self.now < self.away_until {
            let wait = self.away_until - self.now + MS;
            return self.at(wait, Event::Claim { by, asked_at, warrant, answered });
        }
        let revision = |at: Option<i64>| at.unwrap_or(0);
        let leader = revision(self.etcd.leader.as_ref().map(|at| at.revision));
        let holds = leader == warrant.leader
            && warrant.guards.iter().all(|(guard, wanted)| {
                *wanted
                    == match guard {
                        Guard::Electorate => revision(self.etcd.electorate.as_ref().map(|at| at.revision)),
                        Guard::Beat => revision(self.etcd.beat.as_ref().map(|at| at.revision)),
                        Guard::Replica(instance) => i64::from(self.etcd.replicas.contains_key(instance)),
                    }
            });
        let term = holds.then(|| self.write_claim(&by, &warrant));
        let delay = if answered { self.dice.within(MS / 2, 2 * MS) } else { 100 * MS };
        let term = term.filter(|_| answered);
        self.at(delay, Event::Claimed { by, asked_at, term, warrant });
    }

    pub(super) fn write_claim(&mut self, by: &str, warrant: &Warrant) -> u64 {
        let revision = self.revision + 1;
        let record = LeaderRecord {
            name: by.split('#').next().unwrap_or_default().to_owned(),
            instance: by.to_owned(),
            endpoint: String::new(),
            authority_ms: 0,
            time_unix_ms: 0,
            nonce: String::new(),
            released: None,
        };
        let settles_ms = u64::try_from(warrant.settles.as_millis()).unwrap_or(0) + 1;
        let members = warrant.members.iter().cloned().collect();
        let before = self.etcd.leader.replace(At { revision, record });
        if before.is_some_and(|before| before.record.released.is_none()) && warrant.old_until.is_none() {
            self.bequests += 1;
        }
        self.etcd.electorate = Some(At { revision, record: ElectorateRecord { members, settles_ms } });
        self.writes += 1;
        self.changed();
        u64::try_from(revision).unwrap_or(0)
    }

    /// Whether the claim of this term is the newest, and not released.
    pub(super) fn holds(&self, term: u64) -> bool {
        self.etcd.leader.as_ref().is_some_and(|leader| u64::try_from(leader.revision) == Ok(term))
    }

    pub(super) fn write(&mut self, by: &str, sent: Duration, what: &Output, answered: bool) {
        if self.now < self.away_until || !self.replicas.get(by).is_some_and(|replica| replica.sees_etcd) {
            // Given up on after a while; it may still take effect.
            let input = Self::outcome(what, sent, None);
            self.at(100 * MS, Event::Into(by.to_owned(), Box::new(input)));
            if self.dice.one_in(2) {
                let wait = self.away_until.saturating_sub(self.now) + 200 * MS;
                self.at(
                    wait,
                    Event::Write { by: "nobody".to_owned(), sent, what: what.clone(), answered: false },
                );
            }
            return;
        }
        let held = |term: u64| self.holds(term);
        let outcome = match what {
            Output::Record { term, electorate, members, settles } if held(*term) => {
                let at = self.etcd.electorate.as_ref().map_or(0, |at| at.revision);
                let same =
                    self.etcd.electorate.as_ref().is_some_and(|at| at.record.members.iter().eq(members));
                if u64::try_from(at) == Ok(*electorate) {
                    let revision = self.revision + 1;
                    let settles_ms = u64::try_from(settles.as_millis()).unwrap_or(0) + 1;
                    let record = ElectorateRecord { members: members.iter().cloned().collect(), settles_ms };
                    self.etcd.electorate = Some(At { revision, record });
                    self.writes += 1;
                    self.changed();
                    Some(Ok(u64::try_from(revision).unwrap_or(0)))
                } else {
                    // It was written by an earlier try.
                    same.then(|| Ok(u64::try_from(at).unwrap_or(0)))
                }
            }
            Output::Beat { term, authority } if held(*term) => {
                let revision = self.revision + 1;
                let authority_ms = u64::try_from(authority.as_millis()).unwrap_or(0) + 1;
                self.etcd.beat = Some(At { revision, record: BeatRecord { term: *term, authority_ms } });
                self.writes += 1;
                self.changed();
                Some(Ok(0))
            }
            Output::Prove { term } if held(*term) => Some(Ok(0)),
            _ => Some(Err(())),
        };
        let delay = if answered { self.dice.within(MS / 2, 2 * MS) } else { 100 * MS };
        let input = Self::outcome(what, sent, outcome.filter(|_| answered));
        self.at(delay, Event::Into(by.to_owned(), Box::new(input)));
    }

    pub(super) fn outcome(what: &Output, sent: Duration, done: Option<Result<u64, ()>>) -> Input {
        fn told<T>(done: Option<Result<T, ()>>) -> Outcome<T> {
            match done {
                Some(Ok(value)) => Outcome::Done(value),
                Some(Err(())) => Outcome::Fenced("a newer claim".to_owned()),
                None => Outcome::Unclear("no answer".to_owned()),
            }
        }
        let nothing = done.map(|done| done.map(drop));
        match what {
            Output::Record { term, members, .. } => {
                Input::Recorded { term: *term, sent, members: members.clone(), outcome: told(done) }
            }
            Output::Beat { term, authority } => {
                Input::Beaten { term: *term, sent, authority: *authority, outcome: told(nothing) }
            }
            Output::Prove { term } => Input::Proven { term: *term, sent, outcome: told(nothing) },
            _ => Input::Tick,
        }
    }
}

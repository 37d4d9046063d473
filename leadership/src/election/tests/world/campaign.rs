//! The campaigns of the world's replicas: what their electors and seats say to each other, and what is checked of it.

use super::*;

impl World {
    pub(super) fn campaign(&mut self, instance: &str, input: Campaign) {
        let Some(replica) = self.replicas.get_mut(instance) else { return };
        let clock = replica.clock(self.now);
        let orders = replica.elector.step(clock, input);
        for order in orders {
            let Some(replica) = self.replicas.get_mut(instance) else { return };
            match order {
                Order::Claim { asked_at, .. } => {
                    replica.claim = Some(asked_at);
                    let outputs = replica.seat.step(clock, Input::Claiming);
                    self.perform(instance, outputs);
                }
                Order::Confirm { term, asked_at } => {
                    replica.confirm = Some((term, asked_at));
                    let outputs = replica.seat.step(clock, Input::Confirm { term, asked_at });
                    self.perform(instance, outputs);
                }
                Order::Abandon => (replica.claim, replica.confirm) = (None, None),
                Order::Begin { term, deadline } | Order::Extend { term, deadline } => {
                    let until = replica.world(deadline);
                    self.publish(term, until);
                }
                Order::End { term, .. } => drop(self.ended.insert(term, self.now)),
                Order::Follow { .. } | Order::Unknown { .. } => {}
            }
        }
        self.plan(instance);
    }

    pub(super) fn publish(&mut self, term: u64, until: Duration) {
        let stopped = self.stopped.get(&term);
        assert!(stopped.is_none(), "seed {}: term {term} acts after it has stopped, {stopped:?}", self.seed);
        let published = self.published.entry(term).or_default();
        *published = (*published).max(until);
        self.check(term);
    }

    pub(super) fn check(&self, term: u64) {
        let until = self.published.get(&term).copied().unwrap_or_default();
        let until = self.stopped.get(&term).map_or(until, |stopped| until.min(*stopped));
        for (newer, (_, acts)) in self.begins.range(term + 1..) {
            assert!(
                until <= *acts,
                "seed {}: at {:?} term {term} has authority until {until:?}, but term {newer} acts from {acts:?}",
                self.seed,
                self.now
            );
        }
    }

    pub(super) fn warranted(&mut self, by: String, warrant: Option<Warrant>) {
        let Some(replica) = self.replicas.get_mut(&by) else { return };
        let Some(asked_at) = replica.claim else { return };
        match warrant {
            None => {
                let error = OfficeError::Unavailable("no warrant".to_owned());
                self.campaign(&by, Campaign::ClaimFailed { asked_at, error });
            }
            Some(warrant) => {
                let (delay, answered) = self.etcd_delay(&by);
                self.at(delay, Event::Claim { by, asked_at, warrant: Box::new(warrant), answered });
            }
        }
    }

    pub(super) fn confirmed(&mut self, instance: &str, result: Result<Duration, OfficeError>) {
        let Some(replica) = self.replicas.get_mut(instance) else { return };
        let Some((term, asked_at)) = replica.confirm.take() else { return };
        let answer = match result {
            Ok(lasts) => Campaign::Confirmed { term, asked_at, lasts },
            Err(error) => Campaign::ConfirmFailed { term, asked_at, error },
        };
        self.campaign(instance, answer);
    }

    pub(super) fn claimed(&mut self, by: &str, asked_at: Duration, term: Option<u64>, warrant: &Warrant) {
        let Some(replica) = self.replicas.get_mut(by) else { return };
        if replica.resumes > self.now {
            let wait = replica.resumes - self.now;
            let event =
                Event::Claimed { by: by.to_owned(), asked_at, term, warrant: Box::new(warrant.clone()) };
            return self.at(wait, event);
        }
        let wanted = replica.claim == Some(asked_at);
        let clock = replica.clock(self.now);
        let Some(term) = term.filter(|_| wanted) else {
            let outputs = replica.seat.step(clock, Input::NotClaimed);
            self.perform(by, outputs);
            if wanted {
                let error = OfficeError::Unavailable("outrun, or unclear".to_owned());
                self.campaign(by, Campaign::ClaimFailed { asked_at, error });
            }
            return self.plan(by);
        };
        replica.claim = None;
        let outputs = replica.seat.step(clock, Input::Claimed { term, asked_at });
        let inherited = replica.seat.old_until(warrant);
        let acts = inherited.map_or(self.now, |until| replica.world(until).max(self.now));
        self.begins.insert(term, (self.now, acts));
        for older in self.published.range(..term).map(|(older, _)| *older).collect::<Vec<_>>() {
            self.check(older);
        }
        self.perform(by, outputs);
        self.campaign(by, Campaign::ClaimGranted { term, asked_at });
    }
}

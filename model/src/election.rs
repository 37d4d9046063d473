//! What replicas do among themselves and in the keyspace: promise, vote, claim, and lead. Each move gives the moment after
//! it, or `None` where it cannot happen.

use crate::rules::{AUTHORITY, Constellation, HOLD, HOSTS, Mistake, REPLICAS, enough, host};
use crate::state::{Asked, By, State, Way, bit, small};

impl State {
    /// Whether a replica leads, for all that it knows, and acts on it.
    pub(crate) fn leads(&self, replica: usize) -> bool {
        let it = &self.replicas[replica];
        it.rule != 0 && !it.ending && it.authority > 0
    }

    /// A replica looks at the keyspace.
    pub(crate) fn learn(mut self, replica: usize) -> Option<Self> {
        let newest = self.claim.term;
        let it = &self.replicas[replica];
        let deposed = it.rule != 0 && !it.ending && !self.stands(replica);
        if it.known == newest && !deposed {
            return None;
        }
        self.replicas[replica].known = newest;
        self.replicas[replica].ending |= deposed;
        Some(self)
    }

    /// A follower of the electorate that took the leader for lost votes against it, for the candidate.
    pub(crate) fn vote(mut self, bounds: &Constellation, candidate: usize, voter: usize) -> Option<Self> {
        let claim = self.claim;
        let runs = &self.replicas[candidate];
        let begins = candidate == voter;
        let may_run = claim.term != 0
            && claim.term < bounds.terms
            && !claim.released
            && runs.known == claim.term
            && runs.rule == 0
            && runs.way == Way::None;
        let follows = |who: usize| claim.holder != small(who) && claim.electorate & bit(who) != 0;
        let votes = follows(candidate)
            && follows(voter)
            && runs.votes & bit(voter) == 0
            && (begins || runs.votes & bit(candidate) != 0)
            && self.replicas[voter].rule != claim.term;
        if !(may_run && votes) {
            return None;
        }
        let voted = &mut self.replicas[voter];
        voted.known = claim.term;
        voted.abjured = claim.term;
        let promised = if bounds.errs(Mistake::PromiseIgnored) { 0 } else { voted.promised };
        let runs = &mut self.replicas[candidate];
        runs.until = if begins { promised } else { runs.until.max(promised) };
        runs.votes |= bit(voter);
        Some(self)
    }

    /// A replica that has a right to sends its claim, with an electorate of those that it has a line to: any.
    pub(crate) fn claim(
        mut self,
        bounds: &Constellation,
        replica: usize,
        by: By,
        electorate: u8,
    ) -> Option<Self> {
        let claim = self.claim;
        let it = self.replicas[replica];
        let rests = it.rule == 0 && it.way == Way::None;
        if it.known != claim.term || !rests || claim.term >= bounds.terms {
            return None;
        }
        let followers = (claim.electorate & !bit(usize::from(claim.holder))).count_ones();
        let beaten = if bounds.errs(Mistake::HeartbeatUnguarded) { 0 } else { self.beat };
        let before = claim.settles.max(beaten);
        let free = claim.term == 0 || claim.released;
        let until = match by {
            By::Nobody if free => 0,
            By::Nobody if usize::from(claim.holder) == replica => it.until.max(it.authority).max(before),
            By::Votes
                if !free && it.votes != 0 && it.votes.count_ones() >= bounds.votes_needed(followers) =>
            {
                it.until.max(before)
            }
            // It may have run out at any time.
            By::Lease if !free && usize::from(claim.holder) != replica => before,
            _ => return None,
        };
        let it = &mut self.replicas[replica];
        it.until = until;
        it.way = Way::Sent { age: 0, by, electorate };
        if bounds.slow_claims { Some(self) } else { self.land(bounds, replica)?.won(replica) }
    }

    /// A claim that was sent comes to the keyspace, and nothing that it rests on has changed.
    pub(crate) fn land(mut self, bounds: &Constellation, replica: usize) -> Option<Self> {
        let Way::Sent { age, by, electorate } = self.replicas[replica].way else { return None };
        let before = self.claim;
        self.grants_pass_on(replica);
        let claimant = &mut self.replicas[replica];
        if by == By::Lease && !bounds.errs(Mistake::LeaseEndsAuthority) {
            claimant.until = claimant.until.max(HOLD);
        }
        let settles = if bounds.errs(Mistake::NothingInherited) { 0 } else { claimant.until.max(AUTHORITY) };
        let term = before.term + 1;
        claimant.way = Way::Won { term, age };
        self.broken.term |= term <= before.term;
        self.claim.term = term;
        self.claim.holder = small(replica);
        self.claim.released = false;
        self.claim.electorate = electorate;
        self.claim.settles = settles;
        self.by = by;
        self.moved_on();
        self.unvote();
        Some(self)
    }

    /// What earlier leaders handed out is waited for, unless the claim before was released; and the new leader's own grant is
    /// recorded.
    fn grants_pass_on(&mut self, replica: usize) {
        let released = self.claim.term == 0 || self.claim.released;
        let old = (0..HOSTS).filter(|host| self.grants[*host] != 0);
        let waits = old.fold(0, |waits, host| waits | bit(host));
        if released {
            self.grants = [0; HOSTS];
        }
        self.grants[host(replica)] = self.claim.term + 1;
        let claimant = &mut self.replicas[replica];
        claimant.waits = if released { 0 } else { waits };
    }

    /// The keys that claims rest on have changed: none that is on its way can be made.
    fn moved_on(&mut self) {
        for replica in &mut self.replicas {
            if matches!(replica.way, Way::Sent { .. }) {
                replica.way = Way::None;
            }
        }
    }

    /// The electorate is another: votes under the one before are worth nothing.
    fn unvote(&mut self) {
        for replica in &mut self.replicas {
            replica.votes = 0;
        }
    }

    /// A claimant hears that its claim was made.
    pub(crate) fn won(mut self, replica: usize) -> Option<Self> {
        let Way::Won { term, age } = self.replicas[replica].way else { return None };
        let electorate = self.claim.electorate;
        let stands = self.claim.term == term;
        let it = &mut self.replicas[replica];
        it.way = Way::None;
        it.known = it.known.max(term);
        if stands && age < AUTHORITY {
            it.rule = term;
            it.electorate = electorate;
            it.authority = it.authority.max(AUTHORITY - age);
            it.proven = HOLD - age;
        } else {
            // Too late for anything: it is given up, and the claim stands without a leader.
            it.waits = 0;
        }
        Some(self)
    }

    /// A leader asks a follower for a promise; itself: nobody else counts.
    pub(crate) fn ask(mut self, bounds: &Constellation, leader: usize, follower: usize) -> Option<Self> {
        let it = &self.replicas[leader];
        if !self.leads(leader) {
            return None;
        }
        if leader == follower {
            let alone = enough((it.electorate & !bit(leader)).count_ones()) == 0;
            let until = it.proven.min(AUTHORITY);
            if !alone || it.authority >= until {
                return None;
            }
            self.replicas[leader].authority = until;
            return Some(self);
        }
        if it.asked[follower] != Asked::None || it.electorate & bit(follower) == 0 {
            return None;
        }
        self.replicas[leader].asked[follower] = Asked::Sent(0);
        if bounds.slow_promises {
            return Some(self);
        }
        let promised = self.promise(bounds, leader, follower)?;
        Some(promised.hear(bounds, leader, follower).unwrap_or(promised)).filter(|after| *after != self)
    }

    /// A follower promises, or refuses.
    pub(crate) fn promise(mut self, bounds: &Constellation, leader: usize, follower: usize) -> Option<Self> {
        let Asked::Sent(age) = self.replicas[leader].asked[follower] else { return None };
        let term = self.replicas[leader].rule;
        let it = &mut self.replicas[follower];
        let older = it.rule >= term || term < it.known;
        let voted = it.abjured == term && !bounds.errs(Mistake::VotedAndPromised);
        if older || voted {
            self.replicas[leader].asked[follower] = Asked::None;
            return Some(self);
        }
        it.ending |= it.rule != 0;
        it.known = term;
        it.promised = AUTHORITY;
        self.replicas[leader].asked[follower] = Asked::Promised(age);
        Some(self)
    }

    /// The leader hears of a promise.
    pub(crate) fn hear(mut self, bounds: &Constellation, leader: usize, follower: usize) -> Option<Self> {
        let Asked::Promised(age) = self.replicas[leader].asked[follower] else { return None };
        if !self.leads(leader) {
            return None;
        }
        let it = &mut self.replicas[leader];
        it.asked[follower] = Asked::None;
        let age = if bounds.errs(Mistake::CountedFromTheAnswer) { 0 } else { age };
        // Of three, one promise is enough.
        it.authority = it.authority.max((AUTHORITY - age).min(it.proven));
        Some(self)
    }

    /// A leader that was not promised enough writes a heartbeat under its claim.
    pub(crate) fn beat(mut self, bounds: &Constellation, leader: usize) -> Option<Self> {
        let needed = self.replicas[leader].authority < AUTHORITY;
        if !(self.leads(leader) && self.stands(leader) && needed) {
            return None;
        }
        self.beat = AUTHORITY;
        self.replicas[leader].authority = AUTHORITY;
        self.replicas[leader].proven = HOLD;
        if !bounds.errs(Mistake::HeartbeatUnguarded) {
            self.moved_on();
        }
        Some(self)
    }

    /// A leader that some voted against records its electorate anew: they may promise again, and their votes are void.
    pub(crate) fn record(mut self, leader: usize) -> Option<Self> {
        let term = self.claim.term;
        let challenged = self.replicas.iter().any(|replica| replica.abjured == term);
        if !(self.leads(leader) && self.stands(leader) && challenged) {
            return None;
        }
        for replica in &mut self.replicas {
            if replica.abjured == term {
                replica.abjured = 0;
            }
        }
        self.moved_on();
        self.unvote();
        Some(self)
    }

    /// A leader hands over, or was told to stop.
    pub(crate) fn hand_over(mut self, leader: usize) -> Option<Self> {
        if !self.leads(leader) {
            return None;
        }
        self.replicas[leader].ending = true;
        Some(self)
    }

    /// A leader that leads no more, and whose plugin stopped, releases its claim.
    pub(crate) fn free(mut self, bounds: &Constellation, leader: usize) -> Option<Self> {
        let it = &self.replicas[leader];
        let may = it.ending && self.stands(leader);
        let discharged = it.waits == 0 || it.until == 0;
        if !(may && discharged && self.returned(bounds, leader)) {
            return None;
        }
        self.claim.released = true;
        self.claim.settles = 0;
        self.moved_on();
        self.unvote();
        self.replicas[leader].let_go();
        Some(self)
    }

    /// A leader that leads no more waits for nothing any more.
    pub(crate) fn quit(mut self, leader: usize) -> Option<Self> {
        if !self.replicas[leader].ending {
            return None;
        }
        self.replicas[leader].let_go();
        Some(self)
    }
}

impl crate::state::Replica {
    /// The reign is over; how long its authority may last is remembered.
    pub(crate) fn let_go(&mut self) {
        self.rule = 0;
        self.electorate = 0;
        self.ending = false;
        self.proven = 0;
        self.asked = [Asked::None; REPLICAS];
        self.waits = 0;
    }
}

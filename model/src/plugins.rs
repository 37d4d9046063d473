//! What happens between a leader and the plugin of its host, in the plugin itself, and to writes of the state.

use crate::rules::{Constellation, HOLD, HOSTS, Mistake, REPLICAS, SERVICES, host};
use crate::state::{Session, State, Write, bit, small};

impl State {
    /// Whether a plugin can do something to its services at this moment.
    pub(crate) fn acts(&self, bounds: &Constellation, plugin: usize) -> bool {
        let it = &self.plugins[plugin];
        it.steers != 0 && (it.authority > 0 || bounds.errs(Mistake::NoDeadline))
    }

    /// The replica that leads under the term of a plugin's session.
    pub(crate) fn leader_of(&self, plugin: usize) -> Option<usize> {
        let term = self.plugins[plugin].term;
        (0..REPLICAS).find(|replica| {
            let it = &self.replicas[*replica];
            term != 0 && host(*replica) == plugin && it.rule == term
        })
    }

    /// A leader opens a session with the plugin of its host; that of an earlier term ends, and must have stopped first.
    pub(crate) fn attend(mut self, bounds: &Constellation, leader: usize) -> Option<Self> {
        if !self.leads(leader) {
            return None;
        }
        let term = self.replicas[leader].rule;
        let plugin = &mut self.plugins[host(leader)];
        let old = plugin.term > term && !bounds.errs(Mistake::OldTermAttends);
        let again = plugin.term == term;
        if old || (again && !plugin.fresh) {
            return None;
        }
        match plugin.session {
            Session::Open | Session::Cleared | Session::Releasing => {
                plugin.session = Session::Over;
                return Some(self);
            }
            Session::Over if plugin.steers != 0 => return None,
            Session::Over | Session::None => {}
        }
        self.broken.term |= plugin.term > term;
        plugin.term = term;
        plugin.session = Session::Open;
        plugin.authority = 0;
        plugin.fresh = false;
        self.replicas[leader].waits &= !bit(host(leader));
        Some(self)
    }

    /// A leader that lost its session records a grant for the next, under its claim.
    pub(crate) fn grant(mut self, leader: usize) -> Option<Self> {
        let may = self.leads(leader) && self.stands(leader);
        let term = self.replicas[leader].rule;
        let plugin = &mut self.plugins[host(leader)];
        if !may || plugin.term != term || plugin.session != Session::Over || plugin.fresh {
            return None;
        }
        plugin.fresh = true;
        self.grants[host(leader)] = term;
        Some(self)
    }

    /// A plugin whose session is over, or to be, stops steering a service.
    pub(crate) fn stop(mut self, plugin: usize) -> Option<Self> {
        let it = &mut self.plugins[plugin];
        let ends = matches!(it.session, Session::Over | Session::Releasing);
        if !ends || it.steers == 0 {
            return None;
        }
        it.steers -= 1;
        Some(self)
    }

    /// A session breaks: its leader died, or leads no more, or for no reason at all.
    pub(crate) fn break_off(mut self, plugin: usize) -> Option<Self> {
        if !matches!(self.plugins[plugin].session, Session::Open | Session::Cleared | Session::Releasing) {
            return None;
        }
        self.plugins[plugin].session = Session::Over;
        Some(self)
    }

    /// Does at once what can only make matters worse, for more can go wrong after it and nothing less: whoever can prove its
    /// claim does, who need not wait for a plugin any more does not, who may commit has committed everything, who leads no
    /// more has said so to its plugin, and authority is lent as far as it goes.
    pub(crate) fn hasten(&mut self, bounds: &Constellation) {
        for leader in 0..REPLICAS {
            if self.leads(leader) && self.stands(leader) {
                self.replicas[leader].proven = HOLD;
            }
            for plugin in 0..HOSTS {
                if self.is_discharged(bounds, leader, plugin) {
                    self.replicas[leader].waits &= !bit(plugin);
                }
            }
        }
        for plugin in 0..HOSTS {
            let Some(leader) = self.leader_of(plugin) else { continue };
            let (leads, lends) = (self.leads(leader), self.replicas[leader]);
            let it = &mut self.plugins[plugin];
            match it.session {
                Session::Open if leads && lends.waits == 0 => it.session = Session::Cleared,
                Session::Open | Session::Cleared if lends.ending => it.session = Session::Releasing,
                _ => {}
            }
            if matches!(it.session, Session::Open | Session::Cleared) && leads {
                it.authority = it.authority.max(lends.authority);
            }
            if it.session == Session::Cleared && it.authority > 0 {
                it.steers = small(SERVICES);
            }
        }
    }

    /// Whether the authority of an earlier leader over a plugin is over, for all that this one knows: the plugin said so
    /// itself, or it must have run out.
    fn is_discharged(&self, bounds: &Constellation, leader: usize, plugin: usize) -> bool {
        if !self.leads(leader) {
            return false;
        }
        let it = &self.plugins[plugin];
        let stopped = it.steers == 0 || bounds.errs(Mistake::ToldBeforeTheStop);
        let ended = matches!(it.session, Session::Over | Session::Releasing);
        let counts = !it.fresh || bounds.errs(Mistake::OldWordCounts);
        let said = plugin != host(leader) && it.term == self.grants[plugin] && ended && stopped && counts;
        said || self.replicas[leader].until == 0
    }

    /// Whether the plugin of a leader's host gave back what it was lent, or was lent nothing.
    pub(crate) fn returned(&self, bounds: &Constellation, leader: usize) -> bool {
        let it = &self.plugins[host(leader)];
        let stopped = it.steers == 0 || bounds.errs(Mistake::ToldBeforeTheStop);
        it.term != self.replicas[leader].rule || (it.session == Session::Releasing && stopped)
    }

    /// A leader sends a write of the state.
    pub(crate) fn send(mut self, leader: usize) -> Option<Self> {
        if !self.leads(leader) || self.write.is_some() {
            return None;
        }
        self.write = Some(Write { by: small(leader), term: self.replicas[leader].rule });
        Some(self)
    }

    /// A write comes to the store, which takes it or not.
    pub(crate) fn write(mut self, bounds: &Constellation) -> Option<Self> {
        let write = self.write.take()?;
        let newest = write.term == self.claim.term && !self.claim.released;
        let taken = newest
            || bounds.errs(Mistake::NoFence)
            || (bounds.errs(Mistake::FenceByName) && write.by == self.claim.holder);
        self.broken.fence |= taken && !newest;
        Some(self)
    }

    /// Whether all services are steered under the newest term.
    pub(crate) fn all_steered(&self, bounds: &Constellation) -> bool {
        let all = |plugin: usize| usize::from(self.plugins[plugin].steers) == SERVICES;
        let newest = |plugin: usize| self.plugins[plugin].term == self.claim.term;
        (0..self.plugins.len()).any(|plugin| self.acts(bounds, plugin) && newest(plugin) && all(plugin))
    }
}

//! What time does, and what is forgotten because nothing can come of it any more.

use crate::rules::{AUTHORITY, Constellation, Mistake};
use crate::state::{Asked, Session, State, Way};

impl State {
    /// A tick passes, everywhere.
    pub(crate) fn tick(mut self, bounds: &Constellation) -> Self {
        let less = |left: &mut u8| *left = left.saturating_sub(1);
        less(&mut self.claim.settles);
        less(&mut self.beat);
        for replica in &mut self.replicas {
            less(&mut replica.promised);
            less(&mut replica.until);
            less(&mut replica.authority);
            // It steps down, sooner or later; until then it can do nothing.
            replica.ending |= replica.rule != 0 && replica.authority == 0;
            less(&mut replica.proven);
            if let Way::Sent { age, .. } | Way::Won { age, .. } = &mut replica.way {
                *age = (*age + 1).min(AUTHORITY);
            }
            for asked in &mut replica.asked {
                if let Asked::Sent(age) | Asked::Promised(age) = asked {
                    *age += 1;
                    // It asks for nothing any more.
                    if *age >= AUTHORITY {
                        *asked = Asked::None;
                    }
                }
            }
        }
        for plugin in &mut self.plugins {
            let held = plugin.authority > 0;
            less(&mut plugin.authority);
            if held && plugin.authority == 0 && !bounds.errs(Mistake::NoDeadline) {
                plugin.session = Session::Over;
                plugin.steers = 0;
            }
        }
        self
    }

    /// The same moment without what makes no difference any more, so that moments which differ in nothing else are one.
    pub(crate) fn essence(mut self, bounds: &Constellation) -> Self {
        let newest = self.claim.term;
        let rules = self.replicas.map(|replica| replica.rule);
        let ruled = |term: u8| term != 0 && rules.contains(&term);
        for (index, replica) in self.replicas.iter_mut().enumerate() {
            // Which older term it knows of matters only where somebody rules under one.
            if replica.known < newest {
                let older = rules
                    .iter()
                    .copied()
                    .filter(|rule| *rule >= replica.known && *rule < newest && *rule != 0);
                replica.known = older.min().unwrap_or(newest - 1);
            }
            let won = matches!(replica.way, Way::Won { term, .. } if term == replica.abjured);
            if !ruled(replica.abjured) && !won && replica.abjured != newest {
                replica.abjured = 0;
            }
            let claims = replica.rule != 0 || replica.way != Way::None;
            let holds = usize::from(self.claim.holder) == index && newest != 0;
            // What a holder has inherited stands with its claim, too.
            if !claims && replica.votes == 0 {
                replica.until = 0;
            }
            if replica.rule == 0 && !holds {
                replica.authority = 0;
            }
        }
        if newest >= bounds.terms {
            // Nobody votes or claims any more.
            (self.claim.settles, self.beat) = (0, 0);
            let deposed = rules.iter().any(|rule| *rule != 0 && *rule < newest);
            for replica in &mut self.replicas {
                (replica.promised, replica.votes) = (0, 0);
                if !deposed {
                    (replica.known, replica.abjured) = (newest, 0);
                }
            }
        }
        for plugin in &mut self.plugins {
            if plugin.session == Session::Over && plugin.steers == 0 {
                plugin.authority = 0;
            }
        }
        self
    }
}

//! Which service claims which ports of this host, as far as this program looks after them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
struct Table {
    /// By service: its turn, and what it claims. Whoever came first has the right.
    claims: BTreeMap<String, (u64, RangeInclusive<u16>)>,
    turns: u64,
}

/// All claims.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports(Arc<Mutex<Table>>);

/// The claim of a service that is looked after; dropped with it.
#[derive(Debug)]
pub(crate) struct Claim {
    ports: Ports,
    service: String,
    turn: u64,
}

impl Ports {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Every change of the table is one assignment: it is whole even after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims ports for a service, or none.
    pub(crate) fn claim(&self, service: &str, wanted: Option<RangeInclusive<u16>>) -> Claim {
        let mut claim = Claim { ports: self.clone(), service: service.to_owned(), turn: 0 };
        claim.change(wanted);
        claim
    }

    /// Who else claims some of these ports.
    pub(crate) fn overlap(&self, service: &str, wanted: &RangeInclusive<u16>) -> Option<String> {
        let table = self.table();
        let overlaps = |claimed: &RangeInclusive<u16>| {
            claimed.start() <= wanted.end() && wanted.start() <= claimed.end()
        };
        let (other, (_, claimed)) =
            table.claims.iter().find(|(other, (_, claimed))| *other != service && overlaps(claimed))?;
        Some(format!(
            "ports {} to {} overlap with those of the service {other}, {} to {}",
            wanted.start(),
            wanted.end(),
            claimed.start(),
            claimed.end()
        ))
    }
}

impl Claim {
    /// Claims others instead. The same ports keep their turn.
    pub(crate) fn change(&mut self, wanted: Option<RangeInclusive<u16>>) {
        let mut table = self.ports.table();
        let kept = table.claims.get(&self.service).filter(|(_, claimed)| Some(claimed) == wanted.as_ref());
        if kept.is_some_and(|(turn, _)| *turn == self.turn) {
            return;
        }
        table.turns += 1;
        self.turn = table.turns;
        match wanted {
            Some(range) => table.claims.insert(self.service.clone(), (self.turn, range)),
            None => table.claims.remove(&self.service),
        };
    }

    /// Why this port cannot be had: who claimed it before.
    pub(crate) fn conflict(&self, port: u16) -> Option<String> {
        let table = self.ports.table();
        let before = |(other, (turn, claimed)): (&String, &(u64, RangeInclusive<u16>))| {
            (*other != self.service && *turn < self.turn && claimed.contains(&port)).then(|| other.clone())
        };
        let other = table.claims.iter().find_map(before)?;
        Some(format!("port {port} is claimed by the service {other}"))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut table = self.ports.table();
        if table.claims.get(&self.service).is_some_and(|(turn, _)| *turn == self.turn) {
            table.claims.remove(&self.service);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_came_first_has_the_port() {
        let ports = Ports::default();
        let first = ports.claim("a", Some(80..=82));
        let mut second = ports.claim("b", Some(82..=84));
        assert_eq!(first.conflict(82), None);
        assert_eq!(second.conflict(82).as_deref(), Some("port 82 is claimed by the service a"));
        assert_eq!(second.conflict(83), None);
        assert!(ports.overlap("c", &(84..=90)).is_some_and(|why| why.contains("service b")));
        assert_eq!(ports.overlap("c", &(85..=90)), None);
        assert_eq!(ports.overlap("a", &(80..=81)), None);
        second.change(Some(90..=91));
        assert_eq!(second.conflict(90), None);
        drop(first);
        assert_eq!(ports.overlap("c", &(80..=89)), None);
    }

    #[test]
    fn a_service_that_is_looked_after_anew_keeps_its_claim_when_the_old_one_goes() {
        let ports = Ports::default();
        let old = ports.claim("a", Some(80..=80));
        let _new = ports.claim("a", Some(80..=80));
        drop(old);
        assert!(ports.overlap("b", &(80..=80)).is_some());
    }
}

//! Leaders that hand over in order, and say so over the lines, or by a release.

use super::*;

/// How long a leader waits for its successor before it writes the release.
const SUCCESSION: Duration = Duration::from_millis(700);

impl World {
    /// The leader hands over to the replica of this name. Its term, and the time.
    pub(in crate::election::tests) fn hand_over(&mut self, successor: &str) -> (u64, Duration) {
        let (term, instance) = self.leader().expect("a leader");
        self.close(&instance, Some(successor.to_owned()));
        (term, self.now)
    }

    /// A leader ends its reign, if there is one, names a replica or none, and waits for its plugins.
    pub(super) fn close(&mut self, instance: &str, successor: Option<String>) {
        let Some(replica) = self.replicas.get(instance).filter(|replica| replica.resumes <= self.now) else {
            return;
        };
        let Some(term) = replica.seat.rule.as_ref().map(|rule| rule.term) else { return };
        // Or a write was refused, and its campaign does not know yet.
        if !(self.faults.0 && self.dice.one_in(4)) {
            let until = replica.clock(self.now) + Duration::from_secs(5);
            self.campaign(instance, Campaign::Resign);
            self.put(instance, Input::Resign { until });
        }
        let slow = self.faults.0 && self.dice.one_in(4);
        let plugins = self.dice.within(MS / 2, if slow { 400 * MS } else { 5 * MS });
        self.at(plugins, Event::Stopped { by: instance.to_owned(), term, successor });
    }

    /// Its plugins have stopped, for all that it knows.
    pub(super) fn stopped(&mut self, by: String, term: u64, successor: Option<String>) {
        let Some(replica) = self.replicas.get(&by) else { return };
        if replica.resumes > self.now {
            let wait = replica.resumes - self.now;
            return self.at(wait, Event::Stopped { by, term, successor });
        }
        // Those of the leaders before, too.
        let inherited = self.begins.get(&term).is_none_or(|(_, acts)| *acts > self.now);
        if inherited || self.faults.0 && self.dice.one_in(8) {
            return self.put(&by, Input::Farewell { term });
        }
        let named = |peer: &String| peer.split('#').next() == successor.as_deref();
        let told = replica.seat.lines.iter().any(|peer| successor.is_none() || named(peer));
        // Whoever closes twice has stopped at the first time.
        self.stopped.entry(term).or_insert(self.now);
        self.put(&by, Input::Bequeath { term, successor: successor.clone() });
        let pause = if told { SUCCESSION } else { Duration::ZERO };
        self.at(pause, Event::Release { by, term, successor });
    }

    /// Nobody has followed, for all that it knows: the release is written.
    pub(super) fn release(&mut self, by: String, term: u64, successor: Option<String>) {
        let Some(replica) = self.replicas.get(&by) else { return };
        if replica.seat.voter.newest() > term {
            return;
        }
        let (delay, _) = self.etcd_delay(&by);
        self.at(delay.max(self.away_until.saturating_sub(self.now)), Event::Released { term, successor });
    }

    /// The release takes effect, if its claim is the newest.
    pub(super) fn released(&mut self, term: u64, successor: Option<String>) {
        if self.holds(term)
            && let Some(leader) = &mut self.etcd.leader
        {
            leader.revision = self.revision + 1;
            leader.record.released = Some(Released { term, successor });
            self.writes += 1;
            self.changed();
        }
    }

    /// Somebody hands over to somebody, perhaps to one that is not there.
    pub(super) fn hand_over_somehow(&mut self, one: &str) {
        let successor = self.dice.roll(5);
        self.close(one, (successor < 4).then(|| format!("r{successor}")));
    }
}

//! What goes wrong in the world.

use super::*;

impl World {
    pub(in crate::election::tests) fn kill_leader(&mut self) -> (u64, Duration) {
        let (term, instance) = self.leader().expect("a leader");
        self.kill(&instance);
        (term, self.now)
    }

    pub(in crate::election::tests) fn kill_a_follower(&mut self) {
        let leader = self.leader().expect("a leader").1;
        let follower =
            self.replicas.keys().find(|instance| **instance != leader).expect("a follower").clone();
        self.kill(&follower);
    }

    pub(in crate::election::tests) fn freeze_leader(&mut self) -> (u64, Duration) {
        let (term, instance) = self.leader().expect("a leader");
        self.freeze(&instance);
        (term, self.now)
    }

    pub(in crate::election::tests) fn freeze(&mut self, instance: &str) {
        self.replicas.get_mut(instance).expect("it lives").resumes = self.now + Duration::from_secs(3600);
    }

    pub(in crate::election::tests) fn cut_off_from_etcd_but_one_follower(&mut self) -> (u64, Duration) {
        let (term, leader) = self.leader().expect("a leader");
        let sees = self.replicas.keys().find(|instance| **instance != leader).expect("a follower").clone();
        for (instance, replica) in &mut self.replicas {
            replica.sees_etcd = *instance == sees;
        }
        for instance in self.replicas.keys().cloned().collect::<Vec<_>>() {
            self.at(MS, Event::Observe(instance));
        }
        (term, self.now)
    }

    pub(in crate::election::tests) fn kill(&mut self, instance: &str) {
        self.replicas.remove(instance);
        let others: Vec<String> = self.replicas.keys().cloned().collect();
        for other in others {
            let delay = self.dice.within(MS / 5, MS);
            self.at(delay, Event::Line { from: instance.to_owned(), to: other, up: false });
        }
    }

    pub(in crate::election::tests) fn etcd_away(&mut self, time: Duration) {
        self.away_until = self.now + time;
    }

    pub(in crate::election::tests) fn heal(&mut self) {
        self.away_until = Duration::ZERO;
        let cut: Vec<_> = std::mem::take(&mut self.cut).into_iter().collect();
        let pairs =
            cut.into_iter().flat_map(|(a, b)| [(a.clone(), b.clone()), (b, a)]).collect::<BTreeSet<_>>();
        for (from, to) in pairs {
            self.at(MS, Event::Line { from, to, up: true });
        }
        for replica in self.replicas.values_mut() {
            replica.sees_etcd = true;
            replica.resumes = replica.resumes.min(self.now);
        }
        for instance in self.replicas.keys().cloned().collect::<Vec<_>>() {
            self.at(MS, Event::Observe(instance));
        }
        for name in ["r0", "r1", "r2"] {
            if !self.replicas.values().any(|replica| replica.name == name) {
                self.start(name);
            }
        }
    }

    pub(in crate::election::tests) fn fault(&mut self) {
        if !self.faults.0 {
            return;
        }
        let pause = self.dice.within(50 * MS, 2500 * MS);
        self.at(pause, Event::Fault);
        let instances: Vec<String> = self.replicas.keys().cloned().collect();
        if instances.is_empty() {
            return;
        }
        let pick = |dice: &mut Dice| {
            instances[usize::try_from(dice.roll(instances.len() as u64)).unwrap_or(0)].clone()
        };
        let leader = self.leader().map(|leader| leader.1).filter(|leader| self.replicas.contains_key(leader));
        let one = if self.dice.one_in(2) {
            leader.unwrap_or_else(|| pick(&mut self.dice))
        } else {
            pick(&mut self.dice)
        };
        let time = self.dice.within(20 * MS, 4000 * MS);
        match self.dice.roll(8) {
            0 if instances.len() > 1 => {
                let name = one.split('#').next().unwrap_or_default().to_owned();
                self.kill(&one);
                self.at(time, Event::Revive(name));
            }
            1 => {
                if let Some(replica) = self.replicas.get_mut(&one) {
                    replica.resumes = self.now + time;
                }
            }
            2 => self.away_until = self.now + time,
            3 => {
                if let Some(replica) = self.replicas.get_mut(&one) {
                    replica.sees_etcd = !replica.sees_etcd;
                }
                self.at(MS, Event::Observe(one));
            }
            4 => self.hand_over_somehow(&one),
            5 | 6 => {
                let other = pick(&mut self.dice);
                self.cut_line(&one, &other);
            }
            _ => self.heal(),
        }
    }

    pub(in crate::election::tests) fn cut_line(&mut self, a: &str, b: &str) {
        if a == b {
            return;
        }
        let pair = if a < b { (a, b) } else { (b, a) };
        self.cut.insert((pair.0.to_owned(), pair.1.to_owned()));
        // A cut is noticed by its silence, or, sometimes, at once.
        if self.dice.one_in(2) {
            for (from, to) in [(a, b), (b, a)] {
                self.at(MS, Event::Line { from: from.to_owned(), to: to.to_owned(), up: false });
            }
        }
    }
}

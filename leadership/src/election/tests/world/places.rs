//! Each replica stands at a place of its own, named after it; one of them is preferred, and not all hear of it at once.

use super::*;

impl World {
    /// From now on the leader had best be the replica of this name.
    pub(in crate::election::tests) fn prefer(&mut self, name: &str) {
        self.preferred = Some(name.to_owned());
        for instance in self.replicas.keys().cloned().collect::<Vec<_>>() {
            self.tell_place(&instance, false);
        }
    }

    /// The preferred place changes now and then, and some places are unfit to lead from.
    pub(in crate::election::tests) fn wander(&mut self) {
        self.preferred = Some(format!("r{}", self.dice.roll(3)));
        for instance in self.replicas.keys().cloned().collect::<Vec<_>>() {
            let unfit = self.dice.one_in(8);
            self.tell_place(&instance, unfit);
        }
        let pause = self.dice.within(50 * MS, 2000 * MS);
        self.at(pause, Event::Wander);
    }

    pub(in crate::election::tests) fn tell_place(&mut self, instance: &str, unfit: bool) {
        let Some(replica) = self.replicas.get(instance) else { return };
        let places = Places {
            here: Some(replica.name.clone()),
            preferred: self.preferred.clone(),
            unfit: unfit.then(|| "told so".to_owned()),
        };
        let delay = self.dice.within(MS, 300 * MS);
        self.at(delay, Event::Into(instance.to_owned(), Box::new(Input::Placed(places))));
    }

    /// The names of the leader and of the others.
    pub(in crate::election::tests) fn names(&self) -> (String, Vec<String>) {
        let leader = self.leader().expect("a leader").1;
        let name = |instance: &String| self.replicas.get(instance).map(|replica| replica.name.clone());
        let others = self.replicas.keys().filter(|instance| **instance != leader).filter_map(name);
        (name(&leader).unwrap_or_default(), others.collect())
    }

    /// The instance of the replica of this name.
    pub(in crate::election::tests) fn instance(&self, name: &str) -> String {
        let found = self.replicas.values().find(|replica| replica.name == name);
        found.expect("it lives").instance.clone()
    }
}

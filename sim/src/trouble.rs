//! What goes wrong.

use std::time::Duration;

use crate::etcd::Ambush;
use crate::fate::Dice;
use crate::hub::{ETCD, Place};
use crate::places::CLIENTS;
use crate::plant::Plant;
use crate::world::{Later, Program, TROUBLE, World};

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);

impl World {
    /// One fault more.
    pub(crate) fn trouble(&mut self) {
        let places = self.places();
        let place = places[usize::try_from(self.dice.roll(places.len() as u64)).unwrap_or(0)];
        match self.dice.roll(17) {
            0 | 1 => self.die(place, Program::Manager),
            2 => self.die(place, Program::Plugin),
            3 | 4 => self.freeze(place, Program::Manager),
            5 => self.freeze(place, Program::Plugin),
            6 | 7 => self.part(place, ETCD),
            8 | 9 => {
                let other = places[(usize::from(place.0) + 1) % places.len()];
                self.part(place, other);
            }
            10 => self.part(place, CLIENTS),
            11 => self.isolate(place),
            12 | 13 if self.hub.lock().is_os => self.hinder_disk(place),
            12 => {
                let away = self.dice.within(100 * MS, 2500 * MS);
                let now = self.now();
                self.hub.say(format_args!("etcd elects for {away:?}"));
                self.hub.lock().etcd.elect(now, away);
                if self.hub.lock().plant == Some(Plant::NoSync) {
                    let revisions = 1 + self.dice.roll(4).cast_signed();
                    self.hub.lock().etcd.forget(revisions);
                }
            }
            13 => self.hinder_etcd(),
            14 => {
                if let Some(process) = self.programs.get(&(place, Program::Manager)) {
                    process.terminate();
                }
            }
            15 => self.lose(place),
            _ => {
                let latency = self.dice.within(MS, 30 * MS);
                self.hub.say(format_args!("latency {latency:?}"));
                self.hub.lock().latency = latency;
                let time = self.dice.within(100 * MS, 4 * S);
                self.after(time, Later::Near);
            }
        }
    }

    pub(crate) fn die(&mut self, place: Place, program: Program) {
        let again = self.dice.within(Duration::ZERO, 2 * S);
        self.kill(place, program, again);
    }

    fn freeze(&mut self, place: Place, program: Program) {
        let time = if self.dice.one_in(3) {
            self.dice.within(S, 6 * S)
        } else {
            self.dice.within(20 * MS, 900 * MS)
        };
        if let Some(process) = self.programs.get_mut(&(place, program))
            && !process.is_paused()
        {
            process.pause(time);
        }
    }

    /// Both ways, or one.
    fn part(&mut self, a: Place, b: Place) {
        let time = self.dice.within(50 * MS, 5 * S);
        let ways = self.dice.roll(4);
        if ways != 0 {
            self.hub.cut(a, b);
            self.after(time, Later::Heal(a, b));
        }
        if ways != 1 {
            self.hub.cut(b, a);
            self.after(time, Later::Heal(b, a));
        }
    }

    fn isolate(&mut self, place: Place) {
        let time = self.dice.within(50 * MS, 6 * S);
        self.isolate_for(time, place, &[ETCD, CLIENTS]);
    }

    /// From the other hosts, and from these.
    fn isolate_for(&mut self, time: Duration, place: Place, also: &[Place]) {
        for other in self.places().into_iter().chain(also.iter().copied()).filter(|other| *other != place) {
            for (from, to) in [(place, other), (other, place)] {
                self.hub.cut(from, to);
                self.after(time, Later::Heal(from, to));
            }
        }
    }

    /// In one world of three, leaders are cut off when they have just written.
    pub(crate) fn lay_ambushes(&mut self, dice: &mut Dice) {
        if dice.one_in(3) {
            for _ in 0..=dice.roll(4) {
                let time = dice.within(2 * S, TROUBLE);
                self.after(time, Later::Ambush);
            }
        }
    }

    /// The leader that fell into an ambush does not hear that its write was done; another leads, and dies when it is back.
    pub(crate) fn spring(&mut self) {
        let ambush = self.hub.lock().etcd.ambush;
        let Ambush::Sprung(place) = ambush else { return };
        self.hub.lock().etcd.ambush = Ambush::None;
        self.hub.say(format_args!("an ambush on r{}", place.0));
        let time = self.dice.within(200 * MS, 2500 * MS);
        self.isolate_for(time, place, &[ETCD]);
        for other in self.places().into_iter().filter(|other| *other != place) {
            if self.dice.one_in(2) {
                let later = self.dice.within(Duration::ZERO, 1500 * MS);
                self.after(time + later, Later::Die(other));
            }
        }
    }

    fn hinder_etcd(&mut self) {
        let time = self.dice.within(100 * MS, 3 * S);
        let now = self.now();
        match self.dice.roll(4) {
            0 => {
                let slow = self.dice.within(5 * MS, 700 * MS);
                self.hub.say(format_args!("etcd is slow: {slow:?}"));
                self.hub.lock().etcd.slow = slow;
                self.after(time, Later::Fast);
            }
            1 => {
                self.hub.say(format_args!("etcd writes nothing for {time:?}"));
                self.hub.lock().etcd.stuck_until = now + time;
            }
            2 => {
                self.hub.say(format_args!("etcd is full for {time:?}"));
                self.hub.lock().etcd.full_until = now + time;
            }
            _ => {
                let keep = self.dice.roll(30).cast_signed();
                self.hub.say(format_args!("etcd compacts all but {keep}"));
                self.hub.lock().etcd.compact(keep);
            }
        }
    }

    /// Another is named leader, or the disk that all share fails.
    fn hinder_disk(&mut self, place: Place) {
        let until = self.now() + self.dice.within(100 * MS, 3 * S);
        match self.dice.roll(8) {
            0 => {
                self.hub.say(format_args!("the disk is full"));
                self.hub.lock().shared.full_until = until;
            }
            1 => {
                self.hub.say(format_args!("the disk fails now and then"));
                self.hub.lock().shared.bad_until = until;
            }
            2 => {
                self.hub.say(format_args!("the power fails everywhere"));
                for place in self.places() {
                    self.die(place, Program::Manager);
                    self.die(place, Program::Plugin);
                }
                let seed = self.dice.next();
                self.hub.lock().shared.cut_power(seed);
            }
            _ => {
                self.hub.say(format_args!("r{} is named", place.0));
                self.hub.lock().shared.named = place;
            }
        }
    }

    /// A whole host is gone, without a word.
    fn lose(&mut self, place: Place) {
        let time = self.dice.within(500 * MS, 5 * S);
        self.hub.say(format_args!("lose host {}", place.0));
        self.hub.lose(place, true);
        self.after(time, Later::Find(place));
        for program in [Program::Manager, Program::Plugin] {
            let again = time + self.dice.within(MS, S);
            self.kill(place, program, again);
        }
    }
}

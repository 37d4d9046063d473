//! What goes wrong.

use std::time::Duration;

use crate::hub::{ETCD, Place};
use crate::places::CLIENTS;
use crate::plant::Plant;
use crate::world::{Program, Undo, World};

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
                self.undo_after(time, Undo::Near);
            }
        }
    }

    fn die(&mut self, place: Place, program: Program) {
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
            self.undo_after(time, Undo::Heal(a, b));
        }
        if ways != 1 {
            self.hub.cut(b, a);
            self.undo_after(time, Undo::Heal(b, a));
        }
    }

    fn isolate(&mut self, place: Place) {
        let time = self.dice.within(50 * MS, 6 * S);
        for other in self.places().into_iter().chain([ETCD, CLIENTS]).filter(|other| *other != place) {
            for (from, to) in [(place, other), (other, place)] {
                self.hub.cut(from, to);
                self.undo_after(time, Undo::Heal(from, to));
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
                self.undo_after(time, Undo::Fast);
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
        self.undo_after(time, Undo::Find(place));
        for program in [Program::Manager, Program::Plugin] {
            let again = time + self.dice.within(MS, S);
            self.kill(place, program, again);
        }
    }
}

//! The hand that makes the faults of a round, and mends them.

use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use om_api::clock::since_boot;
use om_checker::What;
use om_system_tests::{NAMES, Program, Random, SOON, clocks_possible};

use crate::fault::Fault;
use crate::history::History;
use crate::plan::{Round, Strike, Whom, at, ms};
use crate::world::World;

/// Days by which the clocks of a replica that is started again may be ahead.
const AHEAD: [u64; 4] = [0, 0, 86_400, 8_640_000];

pub(crate) struct Hand<'w> {
    world: &'w dyn World,
    history: &'w History,
    random: Random,
    frozen: Vec<Arc<Program>>,
    /// Managers that were told to stop while they stood still: they do it when they go on.
    stopping: Vec<(usize, Arc<Program>)>,
    clocks: bool,
}

impl<'w> Hand<'w> {
    pub(crate) fn new(world: &'w dyn World, history: &'w History, seed: u64) -> Self {
        let (frozen, stopping, clocks) = (Vec::new(), Vec::new(), clocks_possible());
        Self { world, history, random: Random::seeded(seed ^ 0x5EED), frozen, stopping, clocks }
    }

    /// Makes the faults of a round, holds them, and mends everything. Which could be made.
    pub(crate) fn round(&mut self, round: &Round) -> Vec<Fault> {
        let mut struck = Vec::new();
        for strike in &round.strikes {
            sleep(strike.after);
            if self.strike(strike) {
                struck.push(strike.fault);
            }
        }
        sleep(round.hold);
        self.mend();
        sleep(round.rest);
        struck
    }

    fn strike(&mut self, strike: &Strike) -> bool {
        let leader =
            self.world.leader().map_or_else(|| at(&mut self.random, NAMES.len()), |(leader, _)| leader);
        let number = match strike.whom {
            Whom::Leader => leader,
            Whom::Other(step) => (leader + step) % NAMES.len(),
        };
        let next = (number + 1 + at(&mut self.random, 2)) % NAMES.len();
        let others = (0..NAMES.len()).filter(|other| *other != number);
        let net = self.world.net();
        match strike.fault {
            Fault::KillManager => self.kill_manager(number),
            Fault::RestartManager => {
                self.kill_manager(number);
                self.start_manager(number);
            }
            Fault::StopManager => return self.stop_manager(number),
            Fault::FreezeManager => return self.freeze(self.world.manager(number)),
            Fault::KillPlugin => _ = self.plugin(number).kill(),
            Fault::FreezePlugin => return self.freeze(self.plugin(number)),
            Fault::KillHost => {
                self.world.kill_keeper(number);
                self.kill_manager(number);
                self.plugin(number).kill();
            }
            Fault::FreezeHost => {
                let plugin = self.freeze(self.plugin(number));
                return self.freeze(self.world.manager(number)) || plugin;
            }
            Fault::Handover => {
                self.world.handing_over();
                return self.world.bed(leader).client(NAMES[leader]).patience(SOON).handover("").is_ok();
            }
            Fault::CutOff => _ = net.map(|net| net.cut_off(number)),
            Fault::Deaf => others.for_each(|other| _ = net.map(|net| net.cut_one_way(other, number))),
            Fault::Mute => others.for_each(|other| _ = net.map(|net| net.cut_one_way(number, other))),
            Fault::CutPair => _ = net.map(|net| net.cut(number, next)),
            Fault::KillKeeper => self.world.kill_keeper(number),
            Fault::KillKeepers => {
                [number, next].into_iter().for_each(|keeper| self.world.kill_keeper(keeper));
            }
            Fault::FreezeKeeper => {
                return self.world.keeper(number).is_some_and(|keeper| self.freeze(keeper));
            }
            Fault::MoveKeeper | Fault::FillDisk | Fault::Name | Fault::Flap | Fault::Unname => {
                return self.world.strike(strike.fault, number, &mut self.random);
            }
        }
        true
    }

    fn plugin(&self, number: usize) -> Arc<Program> {
        self.world.bed(number).program("record")
    }

    fn kill_manager(&self, number: usize) {
        let manager = self.world.manager(number);
        if manager.is_alive() {
            manager.kill();
            self.died(number);
        }
    }

    fn died(&self, number: usize) {
        self.history.add_at(since_boot(), What::Died { replica: NAMES[number].to_owned() });
    }

    /// One that is frozen, or hangs, is not waited for now.
    fn stop_manager(&mut self, number: usize) -> bool {
        let manager = self.world.manager(number);
        manager.terminate();
        let stopped = self.sees_end(number, &manager, SOON / 2);
        if !stopped {
            self.stopping.push((number, manager));
        }
        stopped
    }

    /// Nothing stands still any more: those who were told to stop do, and are started again like all who are gone. One that
    /// was killed meanwhile has died already.
    fn see_them_stop(&mut self) {
        for (number, manager) in std::mem::take(&mut self.stopping) {
            if manager.is_alive() {
                self.sees_end(number, &manager, SOON);
            }
        }
    }

    /// Waits for a manager to end, at most this long, and writes that down.
    fn sees_end(&self, number: usize, manager: &Program, at_most: Duration) -> bool {
        let end = since_boot() + at_most;
        while manager.is_alive() {
            if since_boot() > end {
                return false;
            }
            sleep(Duration::from_millis(5));
        }
        self.died(number);
        true
    }

    fn start_manager(&mut self, number: usize) {
        let ahead = if self.clocks { *self.random.pick(&AHEAD) } else { 0 };
        self.world.restart(number, ahead);
    }

    fn freeze(&mut self, program: Arc<Program>) -> bool {
        let frozen = program.is_alive();
        if frozen {
            program.freeze();
            self.frozen.push(program);
        }
        frozen
    }

    /// Mends everything, in an order of its own.
    pub(crate) fn mend(&mut self) {
        let late = self.random.below(2) == 0;
        if !late {
            self.thaw();
        }
        if let Some(net) = self.world.net() {
            net.heal();
        }
        if late {
            sleep(ms(&mut self.random, 400));
            self.thaw();
        }
        self.see_them_stop();
        for number in 0..NAMES.len() {
            if !self.plugin(number).is_alive() {
                self.world.bed(number).recording_plugin("record");
            }
        }
        // Keepers before managers, or the other way round: a manager serves also where its keeper does not answer.
        let keepers_first = self.random.below(2) == 0;
        if keepers_first {
            self.world.mend(&mut self.random);
        }
        for number in 0..NAMES.len() {
            if !self.world.manager(number).is_alive() {
                self.start_manager(number);
            }
        }
        if !keepers_first {
            self.world.mend(&mut self.random);
        }
    }

    fn thaw(&mut self) {
        while !self.frozen.is_empty() {
            let program = self.frozen.swap_remove(at(&mut self.random, self.frozen.len()));
            program.thaw();
            sleep(ms(&mut self.random, 150));
        }
    }
}

impl Drop for Hand<'_> {
    // Also after a panic: what stands still would be waited for.
    fn drop(&mut self) {
        self.frozen.iter().for_each(|program| program.thaw());
    }
}

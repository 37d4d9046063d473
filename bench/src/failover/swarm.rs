//! Faults of a Swarm under the replicas.

use om_api::clock::since_boot;

use super::round::fail_over;
use super::{Results, World};

/// The leader's node is made a worker.
pub(super) fn demoted(world: &mut World<'_>, what: &str, results: &mut Results) {
    let fault = |world: &World<'_>, leader: usize| {
        let before = since_boot();
        world.group.swarm().demote(leader);
        before
    };
    fail_over(world, what, results, fault, |world, leader| {
        world.group.swarm().promote(leader);
        world.group.swarm().wait_whole();
    });
}

/// The engine beside the leader, which leads the Swarm, is killed; beside it stands how long the Swarm itself took to elect.
pub(super) fn killed(world: &mut World<'_>, what: &str, results: &mut Results) {
    let mut elected = None;
    let fault = |world: &World<'_>, leader: usize| {
        let swarm = world.group.swarm();
        let logs = swarm.logs();
        let before = swarm.engine(leader).kill();
        elected = Some(swarm.wait_elected(&logs).saturating_sub(before));
        before
    };
    fail_over(world, what, results, fault, |world, leader| {
        world.group.swarm().engine(leader).restart();
        world.group.swarm().wait_whole();
    });
    results.of("Swarm: its own election in the same round").rounds.extend(elected);
}

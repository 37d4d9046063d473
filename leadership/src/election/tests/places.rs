//! Elections in which the leader had best be at a certain place.

use super::world::{Faults, World};
use super::{MS, SEEDS};

#[test]
fn two_never_have_authority_whatever_place_is_preferred() {
    let mut reigns = 0;
    for seed in 0..SEEDS / 2 {
        let mut world = World::new(seed, 3 + (seed % 3) as usize);
        world.wander();
        world.run_with(Faults::all(), 60_000 * MS);
        reigns += world.reigns();
    }
    assert!(reigns > SEEDS as usize * 5 / 2, "{reigns} reigns in {} runs", SEEDS / 2);
}

#[test]
fn of_several_that_could_take_over_the_one_at_the_preferred_place_does() {
    for seed in 0..40 {
        for which in 0..2 {
            let mut world = World::new(seed, 3);
            world.run_with(Faults::none(), 3_000 * MS);
            let preferred = world.names().1.remove(which);
            world.prefer(&preferred);
            world.run_with(Faults::none(), 3_000 * MS);
            let killed = world.kill_leader();
            let claimed = world.run_until_newer(killed);
            // It may have been asked for its vote a little too early, and is asked again.
            assert!(claimed.by < 100 * MS, "seed {seed}: {claimed:?}");
            assert_eq!(world.names().0, preferred, "seed {seed}");
        }
    }
}

#[test]
fn a_preferred_replica_that_is_dead_is_not_waited_for_and_a_frozen_one_not_for_long() {
    for seed in 0..40 {
        for dead in [true, false] {
            let mut world = World::new(seed, 5);
            world.run_with(Faults::none(), 3_000 * MS);
            let preferred = world.names().1.remove(0);
            world.prefer(&preferred);
            world.run_with(Faults::none(), 3_000 * MS);
            let instance = world.instance(&preferred);
            if dead {
                world.kill(&instance);
            } else {
                world.freeze(&instance);
            }
            let killed = world.kill_leader();
            let claimed = world.run_until_newer(killed);
            let limit = if dead { 40 * MS } else { 200 * MS };
            assert!(claimed.by < limit, "seed {seed}, dead: {dead}: {claimed:?}");
        }
    }
}

#[test]
fn a_replica_at_an_unfit_place_does_not_take_over() {
    for seed in 0..40 {
        let mut world = World::new(seed, 3);
        world.run_with(Faults::none(), 3_000 * MS);
        let followers = world.names().1;
        let unfit = world.instance(&followers[0]);
        world.tell_place(&unfit, true);
        world.run_with(Faults::none(), 3_000 * MS);
        let killed = world.kill_leader();
        let claimed = world.run_until_newer(killed);
        // The other may have lost the leader too late to vote when it was asked first.
        assert!(claimed.by < 100 * MS, "seed {seed}: {claimed:?}");
        assert_eq!(world.names().0, followers[1], "seed {seed}");
    }
}

//! Handovers in order, over the lines.

use super::MS;
use super::world::{Faults, World};

#[test]
fn who_is_named_follows_at_once_waits_for_nothing_and_nothing_is_written_but_its_claim() {
    for seed in 0..40 {
        for which in 0..2 {
            let mut world = World::new(seed, 3);
            world.run_with(Faults::none(), 3_000 * MS);
            let named = world.names().1.remove(which);
            let writes = world.writes();
            let handed = world.hand_over(&named);
            let claimed = world.run_until_newer(handed);
            // Of that 5 ms are the plugins'.
            assert!(claimed.by < 20 * MS && claimed.acts == claimed.by, "seed {seed}: {claimed:?}");
            assert_eq!((world.names().0, world.writes()), (named, writes + 1), "seed {seed}");
        }
    }
}

#[test]
fn a_successor_that_hears_nothing_is_told_by_the_release() {
    for seed in 0..40 {
        let mut world = World::new(seed, 3);
        world.run_with(Faults::none(), 3_000 * MS);
        let (leader, others) = world.names();
        let (leader, other) = (world.instance(&leader), world.instance(&others[0]));
        world.cut_line(&leader, &other);
        let handed = world.hand_over(&others[0]);
        let claimed = world.run_until_newer(handed);
        // Or by a vote, if it has heard nothing for so long.
        assert!(claimed.acts < 340 * MS, "seed {seed}: {claimed:?}");
        assert_eq!(world.names().0, others[0], "seed {seed}");
    }
}

#[test]
fn a_successor_that_hangs_is_waited_for_a_while_and_no_longer_for_the_release() {
    for seed in 0..40 {
        let mut world = World::new(seed, 3);
        world.run_with(Faults::none(), 3_000 * MS);
        let others = world.names().1;
        let instance = world.instance(&others[0]);
        world.freeze(&instance);
        let handed = world.hand_over(&others[0]);
        let claimed = world.run_until_newer(handed);
        assert!(claimed.by < 850 * MS && claimed.acts == claimed.by, "seed {seed}: {claimed:?}");
        assert_eq!(world.names().0, others[1], "seed {seed}");
    }
}

#[test]
fn who_is_named_does_not_wait_for_the_replica_at_the_preferred_place() {
    for seed in 0..40 {
        let mut world = World::new(seed, 3);
        world.run_with(Faults::none(), 3_000 * MS);
        let others = world.names().1;
        world.prefer(&others[1]);
        world.run_with(Faults::none(), 3_000 * MS);
        let handed = world.hand_over(&others[0]);
        let claimed = world.run_until_newer(handed);
        assert!(claimed.by < 20 * MS && claimed.acts == claimed.by, "seed {seed}: {claimed:?}");
        assert_eq!(world.names().0, others[0], "seed {seed}");
    }
}

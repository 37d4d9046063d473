//! Whole elections, in a world where everything goes wrong.

mod handover;
mod heard;
mod places;
mod real;
mod world;

use std::time::Duration;

use self::world::{Faults, World};

const MS: Duration = Duration::from_millis(1);

/// Seeds that are tried; each is another run of a minute, and everything about it.
const SEEDS: u64 = 400;

#[test]
fn two_never_have_authority_whatever_happens_to_processes_lines_clocks_and_etcd() {
    let (mut reigns, mut bequests) = (0, 0);
    for seed in 0..SEEDS {
        let mut world = World::new(seed, 3 + (seed % 3) as usize);
        world.run_with(Faults::all(), 60_000 * MS);
        reigns += world.reigns();
        bequests += world.bequests();
    }
    // What nobody ever did would prove nothing.
    assert!(bequests > SEEDS as usize, "{bequests} bequests in {SEEDS} runs");
    assert!(reigns > SEEDS as usize * 5, "{reigns} reigns in {SEEDS} runs");
}

#[test]
fn when_the_faults_are_over_somebody_leads_soon() {
    for seed in 0..SEEDS / 4 {
        let mut world = World::new(seed, 3);
        world.run_with(Faults::all(), 20_000 * MS);
        world.heal();
        world.run_with(Faults::none(), 30_000 * MS);
        world.assert_led_for(10_000 * MS);
    }
}

#[test]
fn without_faults_the_first_leader_stays_and_writes_nothing_to_etcd() {
    for seed in 0..40 {
        let mut world = World::new(seed, 3);
        world.run_with(Faults::none(), 3_000 * MS);
        let (reigns, writes) = (world.reigns(), world.writes());
        world.run_with(Faults::none(), 60_000 * MS);
        assert_eq!((world.reigns(), world.writes()), (reigns, writes), "seed {seed}");
    }
}

#[test]
fn a_killed_leader_is_replaced_at_once_and_a_frozen_one_after_its_promises() {
    for seed in 0..40 {
        let mut world = World::new(seed, 3);
        world.run_with(Faults::none(), 3_000 * MS);
        let killed = world.kill_leader();
        let claimed = world.run_until_newer(killed);
        assert!(claimed.by < 40 * MS, "seed {seed}: {claimed:?}");
        // It could act for as long as it was promised.
        assert!(claimed.acts < 260 * MS, "seed {seed}: {claimed:?}");

        world.run_with(Faults::none(), 10_000 * MS);
        let frozen = world.freeze_leader();
        let claimed = world.run_until_newer(frozen);
        assert!(claimed.by < 300 * MS && claimed.acts <= claimed.by + 5 * MS, "seed {seed}: {claimed:?}");
    }
}

#[test]
fn of_two_replicas_the_other_takes_over_by_itself() {
    for seed in 0..20 {
        let mut world = World::new(seed, 2);
        world.run_with(Faults::none(), 3_000 * MS);
        let frozen = world.freeze_leader();
        let claimed = world.run_until_newer(frozen);
        assert!(claimed.by < 300 * MS && claimed.acts < 320 * MS, "seed {seed}: {claimed:?}");
    }
}

#[test]
fn the_last_of_three_waits_for_the_lease() {
    for seed in 0..20 {
        let mut world = World::new(seed, 3);
        world.run_with(Faults::none(), 3_000 * MS);
        world.kill_a_follower();
        let killed = world.kill_leader();
        let claimed = world.run_until_newer(killed);
        assert!(claimed.by < 8_000 * MS && claimed.acts < 16_000 * MS, "seed {seed}: {claimed:?}");
    }
}

#[test]
fn etcd_away_for_less_than_the_hold_changes_nothing() {
    for seed in 0..20 {
        let mut world = World::new(seed, 3);
        world.run_with(Faults::none(), 3_000 * MS);
        let reigns = world.reigns();
        world.etcd_away(2_500 * MS);
        world.run_with(Faults::none(), 10_000 * MS);
        assert_eq!(world.reigns(), reigns, "seed {seed}");
        world.assert_led_for(10_000 * MS);
    }
}

#[test]
fn a_leader_and_a_follower_without_etcd_go_on_for_the_hold_and_no_longer() {
    for seed in 0..20 {
        let mut world = World::new(seed, 3);
        world.run_with(Faults::none(), 3_000 * MS);
        let cut = world.cut_off_from_etcd_but_one_follower();
        let claimed = world.run_until_newer(cut);
        // By the lease alone, for the follower that it shares with the leader goes on promising.
        assert!(claimed.by > 4_000 * MS && claimed.acts > 8_000 * MS, "seed {seed}: {claimed:?}");
        world.run_with(Faults::none(), 15_000 * MS);
    }
}

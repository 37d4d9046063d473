//! Several replicas on one directory, their calls to the disk interleaved by dice.
//!
//! Every call of every replica waits to be let through, and one is let through at a time: any replica may rest for long
//! at any place while others go on, again and again. The same seed gives the same order.

use std::sync::{Arc, Condvar, Mutex};

use super::freeze::Follower;
use super::{DIR, claim, runtime, store_on};
use crate::Store;
use crate::testing::ledger::{Ledger, check, verify};
use crate::testing::{Dice, Fate, MemoryDisk, Twist, TwistedDisk};

/// Where each replica is: running between two calls, waiting before one, or done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Running,
    Waiting,
    Done,
}

#[derive(Clone)]
struct Turns(Arc<(Mutex<Vec<At>>, Condvar)>);

impl Turns {
    fn of(replicas: usize) -> Self {
        Self(Arc::new((Mutex::new(vec![At::Running; replicas]), Condvar::new())))
    }

    fn set(&self, replica: usize, at: At) {
        self.0.0.lock().unwrap()[replica] = at;
        self.0.1.notify_all();
    }

    /// For a replica: waits for its turn.
    fn wait(&self, replica: usize) {
        self.set(replica, At::Waiting);
        let lock = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(lock, |all| all[replica] == At::Waiting).unwrap());
    }

    /// For the dice: waits until nobody runs; says who can be let through.
    fn ready(&self) -> Vec<usize> {
        let lock = self.0.0.lock().unwrap();
        let all = self.0.1.wait_while(lock, |all| all.contains(&At::Running)).unwrap();
        (0..all.len()).filter(|replica| all[*replica] == At::Waiting).collect()
    }

    fn alone(&self, replica: usize) -> bool {
        let all = self.0.0.lock().unwrap();
        all.iter().enumerate().all(|(other, at)| other == replica || *at == At::Done)
    }

    fn disk(&self, disk: &MemoryDisk, replica: usize) -> Arc<TwistedDisk> {
        let turns = self.clone();
        Arc::new(TwistedDisk::new(Arc::new(disk.clone()), move |_| {
            turns.wait(replica);
            Twist::Go
        }))
    }
}

/// Says, also in a panic, that a replica is done.
struct Leaving<'a>(&'a Turns, usize);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.set(self.1, At::Done);
    }
}

/// A replica: takes over, writes, perhaps compacts, and once more.
async fn replica(store: &dyn Store, ledger: &Ledger, first: u32, mut dice: Dice) {
    for round in 0..2 {
        let Ok(token) = claim(store, "r").await else { continue };
        for number in 0..2 {
            if !ledger.write(store, &token, first + 10 * round + number, 10).await {
                break;
            }
        }
        if dice.roll(3) == 0 {
            drop(store.compact(&token, 0).await);
            ledger.write(store, &token, first + 10 * round + 5, 10).await;
        }
    }
}

fn play(seed: u64) -> Result<(), String> {
    const REPLICAS: usize = 3;
    let disk = MemoryDisk::new();
    let ledger = Ledger::default();
    // The last one is a follower that only watches.
    let turns = Turns::of(REPLICAS + 1);
    let mut dice = Dice::new(seed);
    let mut follower = Follower::on(store_on(DIR, turns.disk(&disk, REPLICAS)));
    let seen = follower.seen.clone();
    std::thread::scope(|scope| {
        for number in 0..REPLICAS {
            let (turns, disk, ledger) = (turns.clone(), disk.clone(), ledger.clone());
            scope.spawn(move || {
                let _leaving = Leaving(&turns, number);
                let store = store_on(DIR, turns.disk(&disk, number));
                let first = 100 * u32::try_from(number).unwrap();
                runtime().block_on(replica(&store, &ledger, first, Dice::new(seed + first as u64)));
            });
        }
        let (turns, ledger) = (&turns, &ledger);
        scope.spawn(move || {
            let _leaving = Leaving(turns, REPLICAS);
            let runtime = runtime();
            for _ in 0..12 {
                follower.look();
                runtime.block_on(follower.store.load()).unwrap();
            }
            // The last load, when all is over, is compared.
            while !turns.alone(REPLICAS) {
                turns.wait(REPLICAS);
            }
            runtime.block_on(follower.store.load()).unwrap();
            check(&follower.store, &ledger.now()).unwrap();
        });
        let mut outcome = Ok(());
        loop {
            let ready = turns.ready();
            if ready.is_empty() {
                break outcome;
            }
            // A cut now and then, at any place.
            if outcome.is_ok() && dice.roll(40) == 0 {
                let left = store_on(DIR, Arc::new(disk.after_power_cut(Fate::Dice(dice.roll(1000)))));
                let loaded = runtime().block_on(left.load()).map_err(|error| error.to_string());
                outcome =
                    loaded.and_then(|_| check(&left, &ledger.now())).and_then(|()| seen.agrees_with(&left));
            }
            let chosen = ready[usize::try_from(dice.roll(ready.len() as u64)).unwrap()];
            for _ in 0..=dice.roll(12) {
                if !turns.ready().contains(&chosen) {
                    break;
                }
                turns.set(chosen, At::Running);
            }
        }
    })?;
    let fresh = || store_on(DIR, Arc::new(disk.clone()));
    let loaded = fresh();
    let runtime = runtime();
    runtime.block_on(loaded.load()).map_err(|error| error.to_string())?;
    check(&loaded, &ledger.now())?;
    seen.agrees_with(&loaded)?;
    runtime.block_on(verify(fresh, &ledger))
}

#[test]
fn replicas_in_any_interleaving_keep_what_was_acknowledged_and_nothing_that_was_refused() {
    for seed in 0..400 {
        play(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

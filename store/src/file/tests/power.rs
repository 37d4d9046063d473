//! A power cut at every call to the disk.

use std::sync::{Arc, Mutex};

use super::{DIR, runtime, store_on};
use crate::Store;
use crate::testing::ledger::{Ledger, check, verify, workload};
use crate::testing::{Fate, MemoryDisk, Twist, TwistedDisk};

#[test]
fn a_power_cut_at_any_call_costs_no_acknowledged_write() {
    let disk = MemoryDisk::new();
    let ledger = Ledger::default();
    // Before each call: what would be left, and what had been answered.
    let moments = Arc::new(Mutex::new(Vec::new()));
    let hook = {
        let (disk, ledger, moments) = (disk.clone(), ledger.clone(), moments.clone());
        move |_: crate::testing::Call<'_>| {
            moments.lock().unwrap().push((disk.fork(), ledger.now()));
            Twist::Go
        }
    };
    let twisted = TwistedDisk::new(Arc::new(disk), hook);
    let runtime = runtime();
    runtime.block_on(workload(&store_on(DIR, Arc::new(twisted)), &ledger, 0));
    let moments = std::mem::take(&mut *moments.lock().unwrap());
    assert!(moments.len() > 100, "only {} calls", moments.len());
    for (number, (disk, answers)) in moments.iter().enumerate() {
        let dice = (0..12).map(|seed| Fate::Dice(seed + 1000 * number as u64));
        for fate in [Fate::Synced, Fate::All].into_iter().chain(dice) {
            let left = disk.after_power_cut(fate);
            let book = Ledger::default();
            answers.iter().for_each(|(number, answer)| book.note(*number, *answer));
            let outcome = runtime.block_on(verify(|| store_on(DIR, Arc::new(left.clone())), &book));
            outcome.unwrap_or_else(|why| panic!("a cut before call {}, {fate:?}: {why}", number + 1));
        }
    }
}

#[test]
fn a_second_power_cut_during_the_recovery_costs_no_acknowledged_write() {
    let runtime = runtime();
    for seed in 0..300 {
        let mut dice = crate::testing::Dice::new(seed);
        let mut disk = MemoryDisk::new();
        let ledger = Ledger::default();
        for round in 0..4 {
            let last = dice.roll(120);
            let left = Arc::new(Mutex::new(None));
            let hook = {
                let (disk, left, ledger) = (disk.clone(), left.clone(), ledger.clone());
                move |call: crate::testing::Call<'_>| {
                    let mut left = left.lock().unwrap();
                    if call.number > last && left.is_none() {
                        let fate = Fate::Dice(seed * 10 + round);
                        *left = Some((disk.after_power_cut(fate), ledger.now()));
                    }
                    Twist::Go
                }
            };
            let twisted = TwistedDisk::new(Arc::new(disk.clone()), hook);
            let first = 100 * u32::try_from(round).unwrap();
            runtime.block_on(workload(&store_on(DIR, Arc::new(twisted)), &ledger, first));
            let (after, answers) = left.lock().unwrap().take().expect("the workload is long enough");
            disk = after;
            // What came after the cut never happened.
            ledger.rewind(answers);
            let store = store_on(DIR, Arc::new(disk.clone()));
            let loaded = runtime.block_on(store.load()).map_err(|error| error.to_string());
            let outcome = loaded.and_then(|_| check(&store, &ledger.now()));
            outcome.unwrap_or_else(|why| panic!("seed {seed}, round {round}: {why}"));
        }
    }
}

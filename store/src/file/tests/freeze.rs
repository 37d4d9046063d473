//! A holder that is frozen at any call to the disk, while others take over.

use std::sync::{Arc, Mutex, mpsc};

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::{DIR, claim, runtime, store_on};
use crate::file::FileStore;
use crate::file::watch::Cursor;
use crate::testing::ledger::{Answer, Ledger, check, verify, workload};
use crate::testing::{Dice, Fate, MemoryDisk, Twist, TwistedDisk, candidate};
use crate::{Error, Op, Revision, Store, Term};

/// A disk that stops at its n-th call until it is thawed.
struct Freezer {
    disk: TwistedDisk,
    frozen: Option<oneshot::Receiver<()>>,
    thaw: mpsc::SyncSender<()>,
}

impl Freezer {
    fn at(disk: &MemoryDisk, n: u64) -> Self {
        let (tell, frozen) = oneshot::channel();
        let (thaw, wait) = mpsc::sync_channel(1);
        let inside = Mutex::new(Some((tell, wait)));
        let disk = TwistedDisk::new(Arc::new(disk.clone()), move |call| {
            if call.number == n {
                let (tell, wait) = inside.lock().unwrap().take().expect("once");
                tell.send(()).ok();
                wait.recv().ok();
            }
            Twist::Go
        });
        Self { disk, frozen: Some(frozen), thaw }
    }

    fn store(&self) -> FileStore {
        store_on(DIR, Arc::new(self.disk.clone()))
    }

    /// Lets the task run until it is frozen (true) or done.
    async fn freezes(&mut self, task: &mut JoinSet<()>) -> bool {
        let frozen = self.frozen.take().expect("asked once");
        tokio::select! {
            Ok(()) = frozen => true,
            Some(done) = task.join_next() => { done.unwrap(); false }
        }
    }
}

/// What a watch gave out.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Vec<(Revision, String)>>>);

/// A follower that looks when it is told to, and remembers what it was given.
pub(super) struct Follower {
    pub(super) store: FileStore,
    cursor: Cursor,
    pub(super) seen: Seen,
}

impl Follower {
    pub(super) fn on(store: FileStore) -> Self {
        Self { store, cursor: Cursor::after(0), seen: Seen::default() }
    }

    pub(super) fn look(&mut self) {
        loop {
            match self.store.fs.follow(&self.cursor) {
                Ok((entries, next)) => {
                    for entry in &entries {
                        let Op::Put { key, .. } = &entry.ops[0] else { panic!("only puts") };
                        self.seen.0.lock().unwrap().push((entry.revision, key.to_string()));
                    }
                    let idle = entries.is_empty() && self.cursor == next;
                    self.cursor = next;
                    if idle {
                        return;
                    }
                }
                Err(Error::Compacted { oldest, .. }) => self.cursor = Cursor::after(oldest),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl Seen {
    /// Whether all that was given out is in the state, where it was given.
    pub(super) fn agrees_with(&self, store: &FileStore) -> Result<(), String> {
        let seen = self.0.lock().unwrap();
        if let Some(pair) = seen.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            return Err(format!("the watch gave {pair:?}"));
        }
        for (revision, key) in &*seen {
            let there = store.view().get(key).map(|record| record.modified);
            if there != Some(*revision) {
                return Err(format!("the watch gave {key} at revision {revision}; it is {there:?}"));
            }
        }
        Ok(())
    }
}

/// Someone else takes over and does what a holder does; `first` numbers its writes.
async fn take_over(store: &FileStore, ledger: &Ledger, first: u32, compacts: bool) {
    let Ok(token) = claim(store, "other").await else { return };
    ledger.write(store, &token, first, 10).await;
    if compacts {
        drop(store.compact(&token, 0).await);
    }
    ledger.write(store, &token, first + 1, 500).await;
}

/// The holder is frozen at call `n`; meanwhile another takes over, itself frozen at its call `m` while a third does.
/// All wake and go on. Says whether the holder came to call `n`.
async fn scenario(n: u64, m: Option<u64>, compacts: bool) -> Result<bool, String> {
    let disk = MemoryDisk::new();
    let ledger = Ledger::default();
    let plain = || store_on(DIR, Arc::new(disk.clone()));
    let mut follower = Follower::on(plain());
    let mut first = Freezer::at(&disk, n);
    let mut second = Freezer::at(&disk, m.unwrap_or(u64::MAX));

    let mut holder = JoinSet::new();
    let (store, book) = (first.store(), ledger.clone());
    holder.spawn(async move { workload(&store, &book, 0).await });
    if !first.freezes(&mut holder).await {
        return Ok(false);
    }
    follower.look();

    let mut other = JoinSet::new();
    let (store, book) = (second.store(), ledger.clone());
    other.spawn(async move { take_over(&store, &book, 100, compacts).await });
    let nested = second.freezes(&mut other).await;
    follower.look();
    if nested {
        take_over(&plain(), &ledger, 200, compacts).await;
        follower.look();
    }
    // The power fails now: what was answered, or seen by a watch, is there afterwards.
    for fate in [Fate::Synced, Fate::Dice(2 * n), Fate::Dice(2 * n + 1)] {
        let left = store_on(DIR, Arc::new(disk.after_power_cut(fate)));
        left.load().await.map_err(|error| format!("{fate:?}: {error}"))?;
        check(&left, &ledger.now()).map_err(|why| format!("{fate:?}: {why}"))?;
        follower.seen.agrees_with(&left).map_err(|why| format!("{fate:?}: {why}"))?;
    }
    // The oldest or the newer one wakes first.
    if n.is_multiple_of(2) {
        first.thaw.send(()).ok();
        while holder.join_next().await.is_some() {}
        follower.look();
    }
    second.thaw.send(()).ok();
    while other.join_next().await.is_some() {}
    follower.look();
    first.thaw.try_send(()).ok();
    while holder.join_next().await.is_some() {}
    follower.look();

    // One that followed all along sees the same as one that comes new.
    follower.store.load().await.map_err(|error| error.to_string())?;
    check(&follower.store, &ledger.now())?;
    verify(plain, &ledger).await?;
    follower.look();
    follower.store.load().await.map_err(|error| error.to_string())?;
    check(&follower.store, &ledger.now())?;
    follower.seen.agrees_with(&follower.store)?;
    Ok(true)
}

#[test]
fn a_holder_frozen_at_any_call_never_writes_into_the_next_reign() {
    let runtime = runtime();
    let mut n = 0;
    let mut going = true;
    while going {
        n += 1;
        for compacts in [true, false] {
            let outcome = runtime.block_on(scenario(n, None, compacts));
            going = outcome.unwrap_or_else(|why| panic!("frozen at call {n}: {why}"));
        }
    }
    assert!(n > 100, "only {n} calls");
}

#[test]
fn two_holders_frozen_one_after_the_other_never_write_into_the_third_reign() {
    let runtime = runtime();
    let mut n = 1;
    loop {
        let mut dice = Dice::new(n);
        let mut going = false;
        for _ in 0..3 {
            let m = 1 + dice.roll(60);
            let outcome = runtime.block_on(scenario(n, Some(m), dice.roll(2) == 0));
            going = outcome.unwrap_or_else(|why| panic!("frozen at calls {n} and {m}: {why}"));
        }
        if !going {
            break;
        }
        n += 1;
    }
    assert!(n > 100, "only {n} calls");
}

#[test]
fn a_holder_frozen_before_its_answer_learns_whether_its_write_counts() {
    let runtime = runtime();
    let (mut counted, mut refused) = (0, 0);
    for n in 1.. {
        let disk = MemoryDisk::new();
        let mut freezer = Freezer::at(&disk, n);
        let ledger = Ledger::default();
        let going = runtime.block_on(async {
            let mut task = JoinSet::new();
            let (store, book) = (freezer.store(), ledger.clone());
            task.spawn(async move {
                // Frozen within its claim, it is outrun: not what is looked at here.
                if let Ok(token) = claim(&store, "a").await {
                    book.write(&store, &token, 0, 10).await;
                }
            });
            if !freezer.freezes(&mut task).await {
                return false;
            }
            claim(&store_on(DIR, Arc::new(disk.clone())), "b").await.unwrap();
            freezer.thaw.send(()).ok();
            while task.join_next().await.is_some() {}
            match ledger.now().get(&0) {
                Some(Answer::Acknowledged(_)) => counted += 1,
                Some(Answer::Refused) => refused += 1,
                None => {}
                other => panic!("frozen at call {n}: {other:?}, though the new holder has started"),
            }
            verify(|| store_on(DIR, Arc::new(disk.clone())), &ledger).await.unwrap();
            true
        });
        if !going {
            break;
        }
    }
    assert!(counted > 0 && refused > 0, "{counted} counted, {refused} refused");
}

#[test]
fn a_candidate_that_slept_through_many_terms_is_outrun() {
    let runtime = runtime();
    let mut linked_late = 0;
    for n in 1.. {
        let disk = MemoryDisk::new();
        let ledger = Ledger::default();
        let mut freezer = Freezer::at(&disk, n);
        let going = runtime.block_on(async {
            let awake = store_on(DIR, Arc::new(disk.clone()));
            claim(&awake, "a").await.unwrap();
            let (outcome, sleeper) = (Arc::new(Mutex::new(None)), freezer.store());
            let mut task = JoinSet::new();
            let (kept, book) = (outcome.clone(), ledger.clone());
            task.spawn(async move {
                match sleeper.claim(&candidate("b"), Term(1)).await {
                    // It had made the claim before it fell asleep: then its write is judged like any other.
                    Ok(token) => drop(book.write(&sleeper, &token, 100, 10).await),
                    Err(error) => *kept.lock().unwrap() = Some(error),
                }
            });
            if !freezer.freezes(&mut task).await {
                return false;
            }
            for number in 0..6 {
                let token = claim(&awake, "a").await.unwrap();
                ledger.write(&awake, &token, number, 10).await;
                if number == 5 {
                    // Removes the claims that the sleeper has missed.
                    awake.compact(&token, 0).await.unwrap();
                }
            }
            let before = awake.head().await.unwrap();
            freezer.thaw.send(()).ok();
            while task.join_next().await.is_some() {}
            if let Some(error) = outcome.lock().unwrap().take() {
                assert!(matches!(error, Error::Outrun { .. }), "frozen at call {n}: {error}");
            }
            assert_eq!(awake.head().await.unwrap(), before);
            let late = std::path::Path::new(DIR).join("claim-0000000002");
            linked_late += usize::from(disk.contents().contains_key(&late));
            verify(|| store_on(DIR, Arc::new(disk.clone())), &ledger).await.unwrap();
            true
        });
        if !going {
            break;
        }
    }
    assert!(linked_late > 0, "no claim was made that had been made and removed before");
}

#[test]
fn a_follower_that_read_what_does_not_count_in_the_end_forgets_it() {
    let runtime = runtime();
    let mut forgotten = 0;
    for n in 1.. {
        let disk = MemoryDisk::new();
        let ledger = Ledger::default();
        let mut freezer = Freezer::at(&disk, n);
        let going = runtime.block_on(async {
            let (holder, follower) =
                (store_on(DIR, Arc::new(disk.clone())), store_on(DIR, Arc::new(disk.clone())));
            let old = claim(&holder, "a").await.unwrap();
            ledger.write(&holder, &old, 0, 10).await;
            follower.load().await.unwrap();
            let mut task = JoinSet::new();
            let (store, book) = (freezer.store(), ledger.clone());
            task.spawn(async move {
                let token = claim(&store, "b").await.unwrap();
                book.write(&store, &token, 1, 10).await;
            });
            if !freezer.freezes(&mut task).await {
                return false;
            }
            // Written by one who wakes after its look at the claim: behind what the new holder has read.
            follower.load().await.unwrap();
            let seen = follower.view().revision();
            if follower.head().await.unwrap().term() == Term(2) && seen == 1 {
                let path = std::path::Path::new(DIR).join("journal-0000000001-000000");
                let used = disk.contents()[&path].iter().rposition(|byte| *byte != 0).unwrap() + 1;
                let entry = crate::Entry { revision: 2, term: 1, time_unix_ms: 1, ops: Vec::new() };
                let payload = crate::file::segment::encode(&[entry]);
                let seed = crate::file::frame::Seed::new(1, 0);
                let frame = crate::file::frame::encode(seed, used as u64, &payload);
                disk.damage(&path, |bytes| bytes[used..used + frame.len()].copy_from_slice(&frame));
                follower.load().await.unwrap();
            }
            let read = follower.view().revision();
            freezer.thaw.send(()).ok();
            while task.join_next().await.is_some() {}
            follower.load().await.unwrap();
            if read == 2 && follower.view().get("1/a").is_some_and(|record| record.modified == 2) {
                forgotten += 1;
            }
            let fresh = store_on(DIR, Arc::new(disk.clone()));
            fresh.load().await.unwrap();
            assert_eq!(follower.view().scan("", None, 100), fresh.view().scan("", None, 100), "call {n}");
            true
        });
        if !going {
            break;
        }
    }
    assert!(forgotten > 0);
}

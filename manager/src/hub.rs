//! The store's entries, read once for everybody who watches.
//!
//! A watch of the store reads the disk, or the network, for each entry; ten thousand watchers cannot do that each. One
//! task follows the store, from the first watcher on, and all hear of each entry from it. Who is behind, because it
//! resumes or is slow, reads the store itself until it has caught up.
//!
//! What must hold: each entry comes once, in order, without a gap; nobody who is slow holds up another.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use om_store::{Entry, Error, Op, Revision, Store, Watch};
use tokio::sync::broadcast::{Receiver, Sender, error::RecvError};
use tokio_stream::StreamExt;
use tracing::debug;

/// Entries that a watcher may be behind before it reads the store itself.
const BACKLOG: usize = 1024;
/// Bytes of a larger entry are read from the store by each watcher: the backlog keeps an entry for as long as one watcher
/// has not read it, and is to hold megabytes at most.
const LARGE: usize = 16 * 1024;
/// Before the store is asked again after an error.
const RETRY: Duration = Duration::from_millis(100);

/// The task that follows the store.
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One per reign.
pub(crate) struct Hub {
    store: Arc<dyn Store>,
    state: Mutex<State>,
}

/// What watchers hear.
#[derive(Clone)]
enum Told {
    Entry(Arc<Entry>),
    /// That there is one, which the store has.
    Large(Revision),
}

impl Told {
    fn of(entry: Entry) -> Self {
        let bytes = entry.ops.iter().map(|op| match op {
            Op::Put { value, .. } => value.len(),
            Op::Delete { .. } => 0,
        });
        if bytes.sum::<usize>() > LARGE { Self::Large(entry.revision) } else { Self::Entry(Arc::new(entry)) }
    }

    fn revision(&self) -> Revision {
        match self {
            Self::Entry(entry) => entry.revision,
            Self::Large(revision) => *revision,
        }
    }
}

enum State {
    /// Nobody watches yet.
    Quiet,
    Following {
        told: Sender<Told>,
        /// The last entry that was told, or after which that began.
        tail: Revision,
    },
    /// The store cannot be followed any more.
    Ended,
}

impl Hub {
    pub(crate) fn new(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { store, state: Mutex::new(State::Quiet) })
    }

    /// The entries after a revision. `spawn` runs what follows the store, for as long as there may be watchers.
    ///
    /// # Errors
    /// As [`Store::watch`].
    pub(crate) async fn after(
        self: &Arc<Self>,
        revision: Revision,
        spawn: impl FnOnce(Task),
    ) -> Result<Entries, Error> {
        let task = {
            let mut state = self.lock();
            matches!(*state, State::Quiet).then(|| {
                let tail = self.store.view().revision();
                *state = State::Following { told: Sender::new(BACKLOG), tail };
                follow(self.clone(), tail)
            })
        };
        if let Some(task) = task {
            spawn(Box::pin(task));
        }
        let mut entries = Entries { hub: self.clone(), seen: revision, source: Source::Behind };
        entries.catch_up().await?;
        Ok(entries)
    }

    /// What comes from now on, and the revision after which that begins; `None` when nothing comes any more.
    fn subscribe(&self) -> Option<(Receiver<Told>, Revision)> {
        match &*self.lock() {
            State::Following { told, tail } => Some((told.subscribe(), *tail)),
            State::Quiet | State::Ended => None,
        }
    }

    fn tell(&self, entry: Entry) {
        if let State::Following { told, tail } = &mut *self.lock() {
            *tail = entry.revision;
            // No receiver is no error: nobody watches just now.
            let _ = told.send(Told::of(entry));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn follow(hub: Arc<Hub>, mut tail: Revision) {
    loop {
        let failed = match hub.store.watch(tail).await {
            Err(error) => Some(error),
            Ok(mut entries) => loop {
                match entries.next().await {
                    Some(Ok(entry)) => {
                        tail = entry.revision;
                        hub.tell(entry);
                    }
                    Some(Err(error)) => break Some(error),
                    None => break None,
                }
            },
        };
        debug!(?failed, "the store's watch ended; watched again");
        if let Some(Error::Compacted { .. } | Error::WentBack { .. }) = failed {
            *hub.lock() = State::Ended;
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// The entries as one watcher reads them.
pub(crate) struct Entries {
    hub: Arc<Hub>,
    /// The last that was given out.
    seen: Revision,
    source: Source,
}

enum Source {
    /// The store itself, up to this revision, after which the rest is heard.
    Store {
        watch: Watch,
        until: Revision,
        then: Receiver<Told>,
    },
    Heard(Receiver<Told>),
    /// Neither: see [`Entries::catch_up`].
    Behind,
}

impl Entries {
    /// The next entry; `None` when none can come any more. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Result<Arc<Entry>, Error>> {
        loop {
            match &mut self.source {
                Source::Store { until, .. } if self.seen >= *until => {
                    if let Source::Store { then, .. } = std::mem::replace(&mut self.source, Source::Behind) {
                        self.source = Source::Heard(then);
                    }
                }
                Source::Store { watch, .. } => match watch.next().await? {
                    Ok(entry) => {
                        self.seen = entry.revision;
                        return Some(Ok(Arc::new(entry)));
                    }
                    Err(error) => return Some(Err(error)),
                },
                Source::Heard(heard) => match heard.recv().await {
                    Ok(told) if told.revision() <= self.seen => {}
                    Ok(Told::Entry(entry)) => {
                        self.seen = entry.revision;
                        return Some(Ok(entry));
                    }
                    Ok(Told::Large(_)) => self.source = Source::Behind,
                    Err(RecvError::Lagged(_)) => self.source = Source::Behind,
                    Err(RecvError::Closed) => return None,
                },
                Source::Behind => {
                    if let Err(error) = self.catch_up().await {
                        return Some(Err(error));
                    }
                    if matches!(self.source, Source::Behind) {
                        return None;
                    }
                }
            }
        }
    }

    /// From the store what was told already, then what is heard. Stays behind if nothing is to be heard any more.
    async fn catch_up(&mut self) -> Result<(), Error> {
        // Subscribed before the store is read, so that nothing falls between.
        let Some((then, tail)) = self.hub.subscribe() else { return Ok(()) };
        self.source = if self.seen >= tail {
            Source::Heard(then)
        } else {
            Source::Store { watch: self.hub.store.watch(self.seen).await?, until: tail, then }
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use om_store::memory::{MemoryHandle, MemoryStore};
    use om_store::testing::candidate;
    use om_store::{Change, Term, Token};
    use tokio::task::JoinSet;

    use super::*;

    struct Scene {
        store: Arc<MemoryHandle>,
        token: Token,
        hub: Arc<Hub>,
        tasks: JoinSet<()>,
    }

    impl Scene {
        async fn new() -> Self {
            let store = Arc::new(MemoryStore::new().handle());
            let token = store.claim(&candidate("a"), Term(0)).await.expect("claimed");
            let hub = Hub::new(store.clone());
            Self { store, token, hub, tasks: JoinSet::new() }
        }

        async fn write(&self, entries: usize) {
            for number in 0..entries {
                let change = Change::at(0).put(format!("k{number}"), "v");
                self.store.append(&self.token, change).await.expect("written");
            }
        }

        async fn watch(&mut self, after: Revision) -> Entries {
            let tasks = &mut self.tasks;
            self.hub.after(after, |task| drop(tasks.spawn(task))).await.expect("watched")
        }
    }

    /// The revisions of the next entries.
    async fn next(entries: &mut Entries, count: usize) -> Vec<Revision> {
        let mut revisions = Vec::new();
        while revisions.len() < count {
            let entry = tokio::time::timeout(Duration::from_secs(20), entries.next()).await;
            revisions.push(entry.expect("soon").expect("an entry").expect("no error").revision);
        }
        revisions
    }

    #[tokio::test]
    async fn who_resumes_and_who_comes_anew_hear_each_entry_once() {
        let mut scene = Scene::new().await;
        scene.write(3).await;
        let mut anew = scene.watch(3).await;
        scene.write(2).await;
        assert_eq!(next(&mut anew, 2).await, [4, 5]);
        let mut resumed = scene.watch(1).await;
        let mut ahead = scene.watch(6).await;
        scene.write(3).await;
        assert_eq!(next(&mut resumed, 7).await, [2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(next(&mut anew, 3).await, [6, 7, 8]);
        assert_eq!(next(&mut ahead, 2).await, [7, 8]);
        assert_eq!(scene.tasks.len(), 1, "one task for all of them");
    }

    #[tokio::test]
    async fn who_is_slow_misses_nothing() {
        let mut scene = Scene::new().await;
        let (mut slow, mut quick) = (scene.watch(0).await, scene.watch(0).await);
        let many = 2 * BACKLOG + 7;
        let all: Vec<Revision> = (1..).take(many).collect();
        for _ in 0..many {
            scene.write(1).await;
            next(&mut quick, 1).await;
        }
        assert_eq!(next(&mut slow, many).await, all);
        scene.write(1).await;
        assert_eq!(next(&mut slow, 1).await, [all.len() as Revision + 1]);
    }

    #[tokio::test]
    async fn large_entries_come_in_their_place_and_are_kept_for_nobody() {
        let mut scene = Scene::new().await;
        let mut entries = scene.watch(0).await;
        let large = |number: u8| Change::at(0).put("large", vec![number; LARGE + 1]);
        for number in 1..=5 {
            scene.write(1).await;
            scene.store.append(&scene.token, large(number)).await.expect("written");
        }
        assert_eq!(next(&mut entries, 10).await, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        let (mut told, _) = scene.hub.subscribe().expect("followed");
        scene.store.append(&scene.token, large(6)).await.expect("written");
        loop {
            let told = told.recv().await.expect("told");
            assert_eq!(matches!(told, Told::Large(_)), told.revision() % 2 == 0 || told.revision() == 11);
            if told.revision() == 11 {
                break;
            }
        }
        assert_eq!(next(&mut entries, 1).await, [11]);
    }

    #[tokio::test]
    async fn what_is_given_up_while_it_waits_loses_nothing() {
        let mut scene = Scene::new().await;
        let mut entries = scene.watch(0).await;
        tokio::select! {
            biased;
            entry = entries.next() => panic!("nothing was written: {entry:?}"),
            () = std::future::ready(()) => {}
        }
        scene.write(2).await;
        assert_eq!(next(&mut entries, 2).await, [1, 2]);
    }
}

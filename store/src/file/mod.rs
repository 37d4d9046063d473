//! The file backend: a directory, on a local disk or shared by several hosts.
//!
//! ```text
//! format                          the format, and the store's identity
//! claim-<term>, release-<term>    who holds the store since when; who said that its work has stopped
//! journal-<term>-<n>              the entries written under a term
//! snapshot-<term>-<revision>      the whole state at a revision
//! tmp-<…>                         being made; counts for nothing
//! ```
//!
//! **Nobody ever holds a lock.** A claim is an exclusive link (`claims.rs`). Each term writes files of its own, so two
//! writers never meet in one. Each journal file names the one before it and *up to where it counts*; the newest file
//! of the newest term and what it leads back to is the journal, everything else is debris of deposed holders. A holder
//! that is frozen or cut off can write what it likes, whenever it wakes: it is behind a seal.
//!
//! **Why an acknowledged entry is never lost.** The holder of term T writes, syncs, and then sees that there is no
//! claim T+1; only then does it answer. Whoever makes claim T+1 (or a later one) reads the journal *after* its claim,
//! so it reads the entry, and its seal is behind it. Its own file leads on to that one, and so does every later file.
//!
//! **Why a refused entry never comes back.** Answered `Fenced` before the write: nothing was written. After it: only if
//! the first file of the newest term was seen, which seals before the entry (`verdict.rs`); otherwise the answer is
//! `Unclear`.
//!
//! **Unreadable is never empty.** Every byte that means something is under a checksum; a file of the chain that is
//! missing, cut or changed stops a load, and with it a claim, before anything is written. What a torn write looks like,
//! and what cannot be told from it, is said in `frame.rs`. Besides, a directory cannot tell that its newest journal file
//! was deleted by hand from a holder that died before it made one; a handle that has seen the file can, and says so.

mod append;
mod claims;
mod compact;
pub mod disk;
mod engine;
mod frame;
mod fs;
mod load;
mod names;
mod segment;
mod snapshot;
mod verdict;
mod watch;
mod wire;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use self::disk::{Disk, RealDisk};
use self::engine::{Append, Command, Engine, Reply, Standing};
use self::fs::{Fs, Tuning};
use self::names::SnapshotId;
use self::watch::{Cursor, Following};
use crate::{Candidate, Change, Error, Head, Result, Revision, Store, Term, Token, View, Watch};

/// A replica's handle on a directory.
pub struct FileStore {
    fs: Arc<Fs>,
    view: Arc<View>,
    standing: Arc<Standing>,
    changed: tokio::sync::watch::Sender<Revision>,
    engine: Mutex<Option<mpsc::Sender<Command>>>,
    /// Follows what others write, once the state was asked for.
    following: Mutex<JoinSet<()>>,
    /// Temporary files that the last compaction saw. Held while one runs: two would only get in each other's way.
    stale: tokio::sync::Mutex<BTreeSet<String>>,
}

impl FileStore {
    /// A handle on the store in `dir`. Touches nothing: the directory is made by the first claim.
    #[must_use]
    pub fn open(dir: impl Into<PathBuf>) -> Self {
        Self::with_disk(dir, Arc::new(RealDisk))
    }

    /// The same, on another disk.
    #[must_use]
    pub fn with_disk(dir: impl Into<PathBuf>, disk: Arc<dyn Disk>) -> Self {
        Self::tuned(dir, disk, Tuning::default())
    }

    pub(crate) fn tuned(dir: impl Into<PathBuf>, disk: Arc<dyn Disk>, tuning: Tuning) -> Self {
        Self::over(Fs::new(disk, dir.into(), tuning))
    }

    fn over(fs: Fs) -> Self {
        Self {
            fs: Arc::new(fs),
            view: Arc::default(),
            standing: Arc::default(),
            changed: tokio::sync::watch::Sender::new(0),
            engine: Mutex::default(),
            following: Mutex::default(),
            stale: tokio::sync::Mutex::default(),
        }
    }

    /// The same without a thread: every call is done at once, where it is made. For a simulation, whose disk never waits.
    #[must_use]
    pub fn in_place(dir: impl Into<PathBuf>, disk: Arc<dyn Disk>) -> Self {
        Self::over(Fs::in_place(disk, dir.into()))
    }

    fn engine(&self) -> Result<mpsc::Sender<Command>> {
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = &*engine {
            return Ok(engine.clone());
        }
        let started =
            Engine::start(self.fs.clone(), self.view.clone(), self.standing.clone(), self.changed.clone());
        let sender = started.map_err(|error| Error::io("start the store's thread", error))?;
        Ok(engine.insert(sender).clone())
    }

    /// From now on the view shows what others write, so that a claim finds next to nothing to read.
    fn follow(&self) -> Result<()> {
        let engine = self.engine()?;
        let pause = self.fs.tuning.catch_up;
        let mut following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        if following.is_empty() {
            following.spawn(async move {
                loop {
                    tokio::time::sleep(pause).await;
                    let (done, finished) = oneshot::channel();
                    if engine.send(Command::CatchUp(done)).await.is_err() {
                        return;
                    }
                    // Its end is the answer.
                    let _ = finished.await;
                }
            });
        }
        Ok(())
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.engine()?.send(command(reply)).await.map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Fs) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.fs.aside(look).await.unwrap_or_else(|| Err(ended()))
    }

    /// The error for a token whose claim this handle does not hold.
    async fn fenced(&self, own: Term) -> Error {
        let newest = self.blocking(move |fs| Ok(fs.newest_term(own.0))).await;
        Error::Fenced { own, newest: newest.unwrap_or(own) }
    }
}

fn ended() -> Error {
    Error::io("ask the store's thread", std::io::Error::other("it has ended"))
}

#[async_trait]
impl Store for FileStore {
    fn location(&self) -> String {
        format!("file {}", self.fs.dir().display())
    }

    fn view(&self) -> &View {
        &self.view
    }

    async fn head(&self) -> Result<Head> {
        self.blocking(Fs::head).await
    }

    async fn load(&self) -> Result<Head> {
        let head = self.ask(Command::Load).await?;
        self.follow()?;
        Ok(head)
    }

    async fn claim(&self, candidate: &Candidate, seen: Term) -> Result<Token> {
        let candidate = candidate.clone();
        self.ask(|reply| Command::Claim { candidate, seen, reply }).await
    }

    async fn confirm(&self, token: &Token) -> Result<()> {
        match self.standing.get() {
            Some((reign, spoiled)) if reign.term == token.term().0 => {
                // A holder that cannot write any more must not go on for ever because its claim is the newest.
                spoiled.map_or(Ok(()), Err)?;
                self.blocking(move |fs| fs.confirm(&reign)).await
            }
            _ => Err(self.fenced(token.term()).await),
        }
    }

    async fn release(&self, token: Token, successor: Option<&str>) -> Result<()> {
        let successor = successor.map(str::to_owned);
        self.ask(|reply| Command::Release { term: token.term(), successor, reply }).await
    }

    async fn append(&self, token: &Token, change: Change) -> Result<Revision> {
        let (reply, answer) = oneshot::channel();
        let append = Append { term: token.term(), change, reply };
        self.engine()?.send(Command::Append(append)).await.map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(Error::Unclear(ended().to_string())))
    }

    async fn compact(&self, token: &Token, keep: u64) -> Result<Revision> {
        let mut stale = self.stale.lock().await;
        let term = token.term();
        let export = self.ask(|reply| Command::Export { term, reply }).await?;
        let reign = export.reign.clone();
        let written = self
            .blocking(move |fs| {
                if let Some(same) = export.snapshot.filter(|it| it.revision == export.revision) {
                    return Ok(same);
                }
                let id = SnapshotId { term: export.reign.term, revision: export.revision };
                fs.write_snapshot(id, &export.reign.cluster, &export.records)?;
                Ok(id)
            })
            .await?;
        let position = self.ask(|reply| Command::Rotate { term, snapshot: written, reply }).await?;
        let floor = written.revision.min(position.revision.saturating_sub(keep));
        let seen = stale.clone();
        *stale = self.blocking(move |fs| fs.prune(&reign, &position, floor, &seen)).await?;
        Ok(written.revision)
    }

    async fn watch(&self, after: Revision) -> Result<Watch> {
        let changed = self.changed.subscribe();
        let cursor = Cursor::after(after);
        let (first, cursor) = self.blocking(move |fs| fs.follow(&cursor)).await?;
        Ok(Box::pin(Following::start(self.fs.clone(), first, cursor, changed)))
    }
}

#[cfg(test)]
mod tests;

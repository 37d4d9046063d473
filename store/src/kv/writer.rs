//! The task that writes entries: what waits together goes in one transaction, and one is under way at a time.
//!
//! The transaction compares the leader key's mod-revision (the fence) and the tip's, which it moves, and finds no entry
//! where it writes: so it is applied once, however often and late it is sent. After an unclear answer the very same one
//! is sent again until the keyspace says what became of it; until then nothing else is written, for the next entry's
//! number depends on it.

use std::sync::Arc;
use std::time::Duration;

use om_kv::{Op, Range, Txn, TxnAnswer};
use tokio::sync::{mpsc, oneshot};

use super::errors::of_write;
use super::look::leader_record;
use super::shared::Shared;
use super::wire::{EntryValue, PIECE, Tip, corrupt, encode_entry};
use crate::envelope::{self, Kind};
use crate::staged::Staged;
use crate::{Change, Entry, Error, Op as Step, Result, Revision, Term};

/// Appends that may wait at once; more wait before the queue.
pub(crate) const QUEUE: usize = 1024;
/// The most entries in a transaction, of 128 steps that etcd takes.
const MOST: usize = 100;
/// How often a write that is unclear is looked after while nobody waits.
const AGAIN: Duration = Duration::from_millis(500);

pub(crate) type Reply = oneshot::Sender<Result<Revision>>;

/// An append that waits.
pub(crate) struct Append {
    pub(crate) term: Term,
    pub(crate) change: Change,
    pub(crate) reply: Reply,
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    /// A write of which it is not known what became.
    open: Option<Batch>,
    /// So many were begun.
    begun: u64,
}

/// Entries in one transaction.
struct Batch {
    term: Term,
    entries: Vec<Entry>,
    /// The tip's mod-revision that it is written on.
    follows: i64,
    txn: Txn,
    writer: String,
}

impl Batch {
    /// Whether it left this tip.
    fn made(&self, tip: &Tip) -> bool {
        tip.writer == self.writer && self.entries.last().is_some_and(|last| last.revision == tip.revision)
    }
}

/// What became of a batch.
enum Outcome {
    /// It is written; the tip's mod-revision.
    Written(i64),
    /// It is not, and never will be.
    Not(Error),
    /// That is not known.
    Open(Error),
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, open: None, begun: 0 }
    }

    pub(crate) async fn run(mut self, mut appends: mpsc::Receiver<Append>) {
        let mut left: Option<Append> = None;
        loop {
            let next = match (left.take(), &self.open) {
                (Some(left), _) => Some(left),
                (None, None) => appends.recv().await,
                (None, Some(_)) => match tokio::time::timeout(AGAIN, appends.recv()).await {
                    Ok(next) => next,
                    Err(_) => {
                        // It stays open, or it is settled: nobody waits for it.
                        drop(self.settle().await);
                        continue;
                    }
                },
            };
            let Some(first) = next else { return };
            let mut size = weight(&first.change);
            let mut run = vec![first];
            while run.len() < MOST
                && let Ok(next) = appends.try_recv()
            {
                size += weight(&next.change);
                if size > PIECE {
                    left = Some(next);
                    break;
                }
                run.push(next);
            }
            self.append(run).await;
        }
    }

    /// Does the appends, in order, and answers each.
    async fn append(&mut self, run: Vec<Append>) {
        let mut run = run.into_iter().peekable();
        while let Some(first) = run.next() {
            let term = first.term;
            let mut same = vec![first];
            while let Some(next) = run.next_if(|next| next.term == term) {
                same.push(next);
            }
            self.append_under(term, same).await;
        }
    }

    async fn append_under(&mut self, term: Term, run: Vec<Append>) {
        let ready = match self.settle().await {
            Ok(()) => self.shared.known().held(term).cloned(),
            Err(error) => Err(not_written(&error)),
        };
        let reign = match ready {
            Ok(reign) => reign,
            Err(error) => return run.into_iter().for_each(|append| answer(append.reply, Err(error.clone()))),
        };
        let mut staged = Staged::on(&self.shared.view, term);
        let mut waiting: Vec<(Reply, Result<Revision>)> = Vec::new();
        for Append { change, reply, .. } in run {
            waiting.push((reply, staged.add(change)));
        }
        let entries = std::mem::take(&mut staged.entries);
        let written = if entries.is_empty() {
            // What is refused, is refused by the holder: a deposed one knows no better than that it is.
            self.shared.look().await.and_then(|_| self.shared.known().held(term).map(drop))
        } else {
            // A name of its own: two writes of one reign may be for the same revisions, when the first was refused.
            self.begun += 1;
            let writer = format!("{}.{}", reign.record.nonce, self.begun);
            self.write(term, &writer, entries).await
        };
        for (reply, result) in waiting {
            let result = match (&written, result) {
                (Ok(()), result) => result,
                (Err(error), Ok(_)) => Err(error.clone()),
                // It was refused for what the others would have done: that is not known now, but it was not written.
                (Err(error), Err(Error::Conflict { .. })) => Err(not_written(error)),
                (Err(_), Err(error)) => Err(error),
            };
            answer(reply, result);
        }
    }

    /// Writes entries that fit into one transaction, or a single one.
    async fn write(&mut self, term: Term, writer: &str, entries: Vec<Entry>) -> Result<()> {
        let mut batch: Vec<(Entry, Vec<u8>)> = Vec::with_capacity(entries.len());
        for entry in entries {
            let (entry, encoded) = encode(entry, writer).await?;
            if let Some((id, pieces)) = encoded.parts {
                self.write_parts(term, entry.revision, &id, pieces).await?;
            }
            batch.push((entry, encoded.value));
        }
        self.write_batch(term, writer, batch).await
    }

    async fn write_parts(
        &mut self,
        term: Term,
        revision: Revision,
        id: &str,
        pieces: Vec<Vec<u8>>,
    ) -> Result<()> {
        let prefix = self.shared.keys.parts_of(revision, id);
        for (number, piece) in pieces.into_iter().enumerate() {
            // The name is this try's alone: a part that is there without its entry counts for nothing.
            match self.shared.put(term, super::keys::piece(&prefix, number), piece).await {
                Err(Error::Unclear(why)) => {
                    return Err(Error::io("write a large entry", std::io::Error::other(why)));
                }
                other => other?,
            }
        }
        Ok(())
    }

    async fn write_batch(&mut self, term: Term, writer: &str, batch: Vec<(Entry, Vec<u8>)>) -> Result<()> {
        let keys = &self.shared.keys;
        let (Some((first, _)), Some((last, _))) = (batch.first(), batch.last()) else { return Ok(()) };
        let tip = Tip { revision: last.revision, writer: writer.to_owned() };
        let seen = self.shared.known().held(term)?.tip;
        let fenced = Txn::new().when(self.shared.fence(term));
        let mut txn = self
            .shared
            .appending(fenced, seen, first.revision, &tip)
            .otherwise(Op::get(keys.leader.as_str()))
            .otherwise(Op::get(keys.tip.as_str()))
            .otherwise(Op::get(keys.entry(last.revision)))
            .otherwise(Op::get(keys.manifest.as_str()));
        let mut entries = Vec::with_capacity(batch.len());
        for (entry, value) in batch {
            txn.then.push(Op::put(keys.entry(entry.revision), value));
            entries.push(entry);
        }
        let batch = Batch { term, entries, follows: seen, txn, writer: writer.to_owned() };
        match self.send(&batch, false).await {
            Outcome::Written(tip) => {
                self.take_in(&batch, tip);
                Ok(())
            }
            Outcome::Not(error) => Err(error),
            Outcome::Open(error) => {
                self.open = Some(batch);
                Err(error)
            }
        }
    }

    /// Finds out what became of the write that is unclear, if there is one.
    async fn settle(&mut self) -> Result<()> {
        let Some(batch) = self.open.take() else { return Ok(()) };
        if self.shared.known().held(batch.term).is_err() {
            // Another claim was made, which read what was written: this one is not written any more.
            return Ok(());
        }
        match self.send(&batch, true).await {
            Outcome::Written(tip) => self.take_in(&batch, tip),
            Outcome::Not(_) => {}
            Outcome::Open(error) => {
                self.open = Some(batch);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Sends a batch, for the first time or again.
    async fn send(&self, batch: &Batch, again: bool) -> Outcome {
        match self.shared.kv.txn(&batch.txn, self.shared.tuning.patience).await {
            Ok(answer) if answer.succeeded => Outcome::Written(answer.header.revision),
            Ok(answer) => self.verdict(batch, &answer).unwrap_or_else(|error| {
                self.spoil(batch.term, &error);
                Outcome::Open(Error::Unclear(error.to_string()))
            }),
            // Whatever else of it was sent before was as large.
            Err(error @ om_kv::Error::TooLarge(_)) => Outcome::Not(of_write(&error)),
            Err(error @ om_kv::Error::Unclear(_)) => Outcome::Open(of_write(&error)),
            Err(error @ om_kv::Error::NoSpace(_)) => self.told_full(batch, &error, again).await,
            // It was not done this time; but what was sent before may have been.
            Err(error) if again => Outcome::Open(Error::Unclear(error.to_string())),
            Err(error) => Outcome::Not(of_write(&error)),
        }
    }

    /// There is no room, which is also said of the write by which it ran out, and that was done. The tip tells.
    async fn told_full(&self, batch: &Batch, error: &om_kv::Error, again: bool) -> Outcome {
        let key = self.shared.keys.tip.as_str();
        let found = self.shared.kv.range(&Range::key(key), self.shared.tuning.patience).await;
        let tip = found.ok().and_then(|found| found.one().cloned());
        let unclear = || Outcome::Open(Error::Unclear(error.to_string()));
        match tip {
            // What was sent before may yet be done.
            Some(tip) if tip.modified == batch.follows && again => unclear(),
            Some(tip) if tip.modified == batch.follows => Outcome::Not(of_write(error)),
            Some(tip) => match envelope::decode_whole::<Tip>(Kind::Tip, key, &tip.value) {
                Ok(read) if batch.made(&read) => Outcome::Written(tip.modified),
                _ => unclear(),
            },
            None => unclear(),
        }
    }

    /// What an answer tells that did not write: an earlier one of the same may have.
    fn verdict(&self, batch: &Batch, answer: &TxnAnswer) -> Result<Outcome> {
        let keys = &self.shared.keys;
        let one = |place: usize| answer.found(place).first();
        let Some(last) = batch.entries.last() else { return Ok(Outcome::Written(0)) };
        let place = keys.entry(last.revision);
        let entry: Option<EntryValue> =
            one(2).map(|kv| envelope::decode_whole(Kind::Journal, &place, &kv.value)).transpose()?;
        let leader = one(0).ok_or_else(|| corrupt(&keys.leader, "is missing"))?;
        one(1).ok_or_else(|| corrupt(&keys.tip, "is missing"))?;
        let record = leader_record(leader)?;
        let held = u64::try_from(leader.modified) == Ok(batch.term.0);
        if !held {
            self.shared.known().saw_term(record.term(leader.modified), record.released.is_some());
        }
        if let Some(kv) = one(2).filter(|_| entry.is_some_and(|entry| entry.writer == batch.writer)) {
            // At the revision of that write: the tip is at another's, if others have written on since.
            return Ok(Outcome::Written(kv.modified));
        }
        if held {
            let what = format!(
                "{} {}*: entries are there that its holder did not write, or are gone",
                self.shared.kv.name(),
                keys.root
            );
            return Err(Error::WentBack { what });
        }
        let fenced = self.shared.fenced(batch.term);
        let manifest: Option<super::wire::Manifest> =
            one(3).map(|kv| envelope::decode_whole(Kind::Manifest, &keys.manifest, &kv.value)).transpose()?;
        if manifest.is_some_and(|manifest| manifest.floor >= last.revision) {
            // It, or another one, was there and is compacted away.
            return Ok(Outcome::Not(Error::Unclear(fenced.to_string())));
        }
        Ok(Outcome::Not(fenced))
    }

    fn take_in(&self, batch: &Batch, tip: i64) {
        {
            let mut known = self.shared.known();
            known.kv_revision = known.kv_revision.max(tip);
            if let Some(reign) = known.reign.as_mut().filter(|reign| reign.term == batch.term) {
                reign.tip = tip;
            }
        }
        for entry in &batch.entries {
            self.shared.take_in(entry, tip);
        }
    }

    fn spoil(&self, term: Term, error: &Error) {
        tracing::error!(%error, "nothing can be written any more under this claim");
        let mut known = self.shared.known();
        if let Some(reign) = known.reign.as_mut().filter(|reign| reign.term == term) {
            reign.spoiled = Some(error.clone());
        }
    }
}

impl Shared {
    /// Puts one key under the fence. Sent again, it puts the same.
    pub(crate) async fn put(&self, term: Term, key: String, value: Vec<u8>) -> Result<()> {
        self.fenced_txn(term, Txn::new().then(Op::put(key, value))).await.map(drop)
    }

    /// Does the steps of a transaction under the fence.
    pub(crate) async fn fenced_txn(&self, term: Term, txn: Txn) -> Result<TxnAnswer> {
        let txn = txn.when(self.fence(term)).otherwise(Op::get(self.keys.leader.as_str()));
        let answer = self.kv.txn(&txn, self.tuning.patience).await.map_err(|error| of_write(&error))?;
        if !answer.succeeded {
            let last = answer.answers.len().saturating_sub(1);
            let leader =
                answer.found(last).first().ok_or_else(|| corrupt(&self.keys.leader, "is missing"))?;
            let record = leader_record(leader)?;
            self.known().saw_term(record.term(leader.modified), record.released.is_some());
            if u64::try_from(leader.modified) != Ok(term.0) {
                return Err(self.fenced(term));
            }
        }
        Ok(answer)
    }
}

/// Packing a large entry takes a while.
async fn encode(entry: Entry, writer: &str) -> Result<(Entry, super::wire::Encoded)> {
    let large = steps(&entry.ops) > PIECE / 4;
    let writer = writer.to_owned();
    let pack = move || {
        let encoded = encode_entry(&entry, &writer).map_err(|error| Error::io("pack an entry", error))?;
        Ok((entry, encoded))
    };
    if large { super::load::unblocked(pack).await } else { pack() }
}

fn answer(reply: Reply, result: Result<Revision>) {
    // Nobody waits for it any more: fine.
    drop(reply.send(result));
}

fn not_written(error: &Error) -> Error {
    match error {
        Error::Unclear(why) => {
            Error::io("write after a write that is unclear", std::io::Error::other(why.clone()))
        }
        other => other.clone(),
    }
}

fn weight(change: &Change) -> usize {
    steps(&change.ops)
}

fn steps(ops: &[Step]) -> usize {
    let step = |op: &Step| match op {
        Step::Put { key, value } => key.len() + value.len(),
        Step::Delete { key } => key.len(),
    };
    ops.iter().map(step).sum()
}

//! The one thread of a handle, or task in a simulation, that reads and writes the journal. Others send it commands.
//!
//! It owns the view's writes, the position up to which the journal was read, and, while this replica holds the newest
//! claim, the journal file. Appends that wait together are checked one after another, written as one frame and made
//! durable by one sync; then the claim is looked at once more, and only then is anything answered.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use super::claims::Reign;
use super::fs::Fs;
use super::load::{Loaded, News, Position};
use super::names::SnapshotId;
use super::segment::{Refused, Segment};
use super::wire::{Seal, SegmentHeader, SnapshotRef};
use crate::{Candidate, Change, Error, Head, Record, Result, Revision, Term, Token, View};

pub(crate) type Reply<T> = oneshot::Sender<Result<T>>;

/// Appends that may wait at once; more wait before the queue.
const QUEUE: usize = 1024;

pub(crate) enum Command {
    Load(Reply<Head>),
    /// Reads what others wrote meanwhile, unless nobody else may write; dropped when that is done.
    CatchUp(oneshot::Sender<()>),
    Claim {
        candidate: Candidate,
        seen: Term,
        reply: Reply<Token>,
    },
    Append(Append),
    /// Asks for the state that this term wrote, for a snapshot.
    Export {
        term: Term,
        reply: Reply<Export>,
    },
    /// Goes on in a new journal file whose chain starts from the snapshot.
    Rotate {
        term: Term,
        snapshot: SnapshotId,
        reply: Reply<Position>,
    },
    Release {
        term: Term,
        successor: Option<String>,
        reply: Reply<()>,
    },
}

pub(crate) struct Append {
    pub(crate) term: Term,
    pub(crate) change: Change,
    pub(crate) reply: Reply<Revision>,
}

pub(crate) struct Export {
    pub(crate) reign: Reign,
    pub(crate) revision: Revision,
    pub(crate) records: Vec<(Arc<str>, Record)>,
    /// The snapshot that the chain starts from now.
    pub(crate) snapshot: Option<SnapshotId>,
}

/// What other threads may know of the reign.
#[derive(Debug, Default)]
pub(crate) struct Standing(Mutex<Option<(Reign, Option<Error>)>>);

impl Standing {
    fn set(&self, reign: Option<(Reign, Option<Error>)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reign;
    }

    /// The claim that this handle made, and why it cannot write under it, if so.
    pub(crate) fn get(&self) -> Option<(Reign, Option<Error>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(crate) struct Engine {
    pub(crate) fs: Arc<Fs>,
    pub(crate) view: Arc<View>,
    pub(crate) standing: Arc<Standing>,
    /// Moved at every change of the view: wakes this handle's watchers.
    pub(crate) changed: watch::Sender<Revision>,
    pub(crate) position: Option<Position>,
    pub(crate) writer: Option<Writer>,
}

/// The right to write, and the file.
pub(crate) struct Writer {
    pub(crate) reign: Reign,
    pub(crate) segment: Segment,
    /// Set for good when it is not known what the file holds.
    pub(crate) spoiled: Option<Error>,
}

impl Engine {
    pub(crate) fn start(
        fs: Arc<Fs>,
        view: Arc<View>,
        standing: Arc<Standing>,
        changed: watch::Sender<Revision>,
    ) -> std::io::Result<mpsc::Sender<Command>> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let engine = Self { fs, view, standing, changed, position: None, writer: None };
        if engine.fs.in_place {
            // Ends with the handle, as the thread does.
            Handle::current().spawn(engine.run_in_place(receiver));
        } else {
            std::thread::Builder::new().name("om-store".to_owned()).spawn(move || engine.run(receiver))?;
        }
        Ok(sender)
    }

    fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut next = commands.blocking_recv();
        while let Some(command) = next.take() {
            next = self.obey(command, &mut commands).or_else(|| commands.blocking_recv());
        }
    }

    async fn run_in_place(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut next = commands.recv().await;
        while let Some(command) = next.take() {
            next = self.obey(command, &mut commands);
            if next.is_none() {
                next = commands.recv().await;
            }
        }
    }

    /// Does what a command says; returns another one, if one was taken with it.
    fn obey(&mut self, command: Command, commands: &mut mpsc::Receiver<Command>) -> Option<Command> {
        // Nobody waits for an answer any more: then there is nobody to send it to.
        match command {
            Command::Load(reply) => drop(reply.send(self.load().map(|loaded| loaded.head))),
            Command::CatchUp(_done) => self.catch_up(),
            Command::Claim { candidate, seen, reply } => drop(reply.send(self.claim(&candidate, seen))),
            Command::Append(first) => return self.gather(first, commands),
            Command::Export { term, reply } => drop(reply.send(self.export(term))),
            Command::Rotate { term, snapshot, reply } => drop(reply.send(self.rotate(term, snapshot))),
            Command::Release { term, successor, reply } => drop(reply.send(self.release(term, successor))),
        }
        None
    }

    /// Takes the appends that wait already, up to what one frame should hold; returns the command after them.
    fn gather(&mut self, first: Append, commands: &mut mpsc::Receiver<Command>) -> Option<Command> {
        const MOST: usize = 512;
        const ENOUGH: usize = 4 * 1024 * 1024;
        let size = |append: &Append| append.change.ops.iter().map(weight).sum::<usize>();
        let mut total = size(&first);
        let mut batch = vec![first];
        let mut after = None;
        while batch.len() < MOST && total < ENOUGH {
            match commands.try_recv() {
                Ok(Command::Append(append)) => {
                    total += size(&append);
                    batch.push(append);
                }
                Ok(other) => {
                    after = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        self.append(batch);
        after
    }

    fn load(&mut self) -> Result<Loaded> {
        let mut loaded = self.fs.load(self.position.as_ref())?;
        match std::mem::replace(&mut loaded.news, News::Nothing) {
            News::Nothing => {}
            News::Since(entries) => entries.iter().for_each(|entry| self.view.apply(entry)),
            News::Whole(image) => self.view.replace(image),
        }
        self.position.clone_from(&loaded.position);
        self.announce();
        Ok(loaded)
    }

    /// What is wrong is told to whoever asks for the state, or for the claim.
    fn catch_up(&mut self) {
        if let Some(writer) = &self.writer {
            match self.fs.confirm(&writer.reign) {
                Err(Error::Fenced { .. }) => self.depose(),
                _ => return,
            }
        }
        if let Err(error) = self.load() {
            tracing::debug!(%error, "what others wrote cannot be read now");
        }
    }

    pub(crate) fn announce(&self) {
        self.changed.send_replace(self.view.revision());
    }

    fn claim(&mut self, candidate: &Candidate, seen: Term) -> Result<Token> {
        let loaded = self.load()?;
        let outrun = |newest| Error::Outrun { seen, newest };
        if loaded.head.term() != seen {
            return Err(outrun(loaded.head.term()));
        }
        let mut cluster = loaded.head.cluster;
        if seen == Term(0) {
            self.fs.begin()?;
            cluster = self.fs.cluster()?;
        }
        let term = seen.0 + 1;
        let Some(reign) = self.fs.take(term, candidate, &cluster)? else {
            return Err(outrun(self.fs.newest_term(term)));
        };
        // From here on nobody else writes what counts, and what was acknowledged is there to be read. If something
        // fails now, the term is spent: the next claim is for the one after.
        self.depose();
        let after = self.load()?;
        if after.reign.as_ref() != Some(&reign) {
            return Err(outrun(after.head.term()));
        }
        // Had all newer claims come and gone while the directory was read, the own one would be gone as well.
        self.fs.confirm(&reign).map_err(|error| match error {
            Error::Fenced { newest, .. } => outrun(newest),
            other => other,
        })?;
        let mut previous = loaded.head.claim;
        if let Some(previous) = &mut previous {
            let release = self.fs.released(previous.term.0, &cluster)?;
            previous.released = release.is_some();
            previous.successor = release.map(|it| it.successor).filter(|name| !name.is_empty());
        }
        if let Err(error) = self.begin_term(reign.clone()) {
            // A newer holder may have removed what this one went on from.
            return Err(match self.fs.confirm(&reign) {
                Err(Error::Fenced { newest, .. }) => outrun(newest),
                _ => error,
            });
        }
        Ok(Token::new(Term(term), cluster, previous))
    }

    /// Seals what was read and starts the term's first journal file behind it.
    fn begin_term(&mut self, reign: Reign) -> Result<()> {
        let Some(position) = self.position.clone() else {
            let what = format!("{}: the journal is missing", self.fs.dir().display());
            return Err(Error::Corrupt { what });
        };
        // What was read may not be durable yet: its writer may have died before its sync.
        self.fs.sync(&position.segment.to_string())?;
        self.fs.sync_dir()?;
        let header = header(&reign, 0, &position);
        let segment = Segment::create(&self.fs, &header).map_err(|refused| match refused {
            Refused::Clean(error) | Refused::Spoiled(error) | Refused::Unclear(error) => error,
        })?;
        let offset = segment.end();
        self.position = Some(Position { segment: segment.id, offset, ..position });
        self.standing.set(Some((reign.clone(), None)));
        self.writer = Some(Writer { reign, segment, spoiled: None });
        Ok(())
    }

    pub(crate) fn depose(&mut self) {
        self.writer = None;
        self.standing.set(None);
    }

    /// No more writing under this claim: what the file holds is not known.
    pub(crate) fn spoil(&mut self, error: &Error) {
        tracing::error!(%error, "the journal cannot be written any more under this claim");
        if let Some(writer) = &mut self.writer {
            writer.spoiled = Some(error.clone());
            self.standing.set(Some((writer.reign.clone(), Some(error.clone()))));
        }
    }

    /// Whether `term` is held here and can be written under; its claim is confirmed at this moment.
    pub(crate) fn ready(&mut self, term: Term) -> Result<&mut Writer> {
        let fenced = |fs: &Fs| Error::Fenced { own: term, newest: fs.newest_term(term.0) };
        match &self.writer {
            Some(writer) if writer.reign.term == term.0 => {
                if let Some(error) = &writer.spoiled {
                    return Err(error.clone());
                }
                if let Err(error) = self.fs.confirm(&writer.reign) {
                    if matches!(error, Error::Fenced { .. }) {
                        self.depose();
                    }
                    return Err(error);
                }
            }
            _ => return Err(fenced(&self.fs)),
        }
        self.writer.as_mut().ok_or_else(|| fenced(&self.fs))
    }

    fn export(&mut self, term: Term) -> Result<Export> {
        let reign = self.ready(term)?.reign.clone();
        let snapshot = self.position.as_ref().and_then(|position| position.snapshot);
        let (revision, records) = self.view.all();
        Ok(Export { reign, revision, records, snapshot })
    }

    fn rotate(&mut self, term: Term, snapshot: SnapshotId) -> Result<Position> {
        let seq = self.ready(term)?.segment.id.seq;
        let (Some(position), Some(writer)) = (self.position.clone(), &mut self.writer) else {
            return Err(Error::Fenced { own: term, newest: self.fs.newest_term(term.0) });
        };
        let position = Position { snapshot: Some(snapshot), ..position };
        let header = header(&writer.reign, seq + 1, &position);
        match Segment::create(&self.fs, &header) {
            Ok(segment) => {
                let offset = segment.end();
                let position = Position { segment: segment.id, offset, ..position };
                writer.segment = segment;
                self.position = Some(position.clone());
                Ok(position)
            }
            Err(Refused::Clean(error)) => Err(error),
            Err(Refused::Spoiled(error) | Refused::Unclear(error)) => {
                self.spoil(&error);
                Err(error)
            }
        }
    }

    fn release(&mut self, term: Term, successor: Option<String>) -> Result<()> {
        let fenced = |fs: &Fs| Error::Fenced { own: term, newest: fs.newest_term(term.0) };
        let reign = match &self.writer {
            Some(writer) if writer.reign.term == term.0 => writer.reign.clone(),
            _ => return Err(fenced(&self.fs)),
        };
        // Whatever becomes of the record, nothing is written under the token any more.
        self.depose();
        self.fs.confirm(&reign)?;
        self.fs.write_release(&reign, successor)
    }
}

fn header(reign: &Reign, seq: u64, position: &Position) -> SegmentHeader {
    let before = position.segment;
    let seal = Seal { term: before.term, seq: before.seq, length: position.offset };
    let snapshot = |id: SnapshotId| SnapshotRef { term: id.term, revision: id.revision };
    SegmentHeader {
        cluster: reign.cluster.clone(),
        term: reign.term,
        seq,
        base: position.revision,
        previous: Some(seal),
        snapshot: position.snapshot.map(snapshot),
    }
}

fn weight(op: &crate::Op) -> usize {
    match op {
        crate::Op::Put { key, value } => key.len() + value.len(),
        crate::Op::Delete { key } => key.len(),
    }
}

//! Group commit: several changes, one frame, one sync.

use std::collections::HashMap;
use std::sync::Arc;

use super::engine::{Append, Engine, Reply};
use super::names::SegmentId;
use super::segment::{self, Refused};
use super::verdict::Verdict;
use crate::{Change, Entry, Error, Expect, Op, Precondition, Result, Revision, Term, View};

/// The largest change, in bytes as written.
pub(crate) const MAX_CHANGE: u64 = 32 * 1024 * 1024;

impl Engine {
    /// Does the changes, in order, and answers each.
    pub(crate) fn append(&mut self, batch: Vec<Append>) {
        // Nearly always all are under one term; else in runs.
        let mut batch = batch.into_iter().peekable();
        while let Some(first) = batch.next() {
            let term = first.term;
            let mut run = vec![first];
            while let Some(next) = batch.next_if(|next| next.term == term) {
                run.push(next);
            }
            self.append_run(term, run);
        }
    }

    fn append_run(&mut self, term: Term, run: Vec<Append>) {
        if let Err(error) = self.ready(term) {
            run.into_iter().for_each(|append| answer(append.reply, Err(error.clone())));
            return;
        }
        let mut staged = Staged::on(&self.view, term);
        let mut waiting = Vec::new();
        for Append { change, reply, .. } in run {
            match staged.add(change) {
                Ok(revision) => waiting.push((reply, Ok(revision))),
                Err(error) => waiting.push((reply, Err(error))),
            }
        }
        let written = if staged.entries.is_empty() { Ok(()) } else { self.write(&staged.entries) };
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

    /// Writes entries so that they count, and takes them into the view.
    fn write(&mut self, entries: &[Entry]) -> Result<()> {
        let Some(writer) = &mut self.writer else {
            return Err(Error::Unclear("the claim is gone".to_owned()));
        };
        let payload = segment::encode(entries);
        let end = match writer.segment.write(&self.fs, &payload) {
            Ok(end) => end,
            Err(Refused::Clean(error)) => return Err(error),
            Err(Refused::Spoiled(error)) => {
                self.spoil(&error);
                return Err(error);
            }
            Err(Refused::Unclear(error)) => {
                self.spoil(&error);
                return Err(Error::Unclear(error.to_string()));
            }
        };
        let (reign, id) = (writer.reign.clone(), writer.segment.id);
        match self.fs.confirm(&reign) {
            Ok(()) => {
                writer.segment.keep(end);
                self.take_in(entries, id, end);
                Ok(())
            }
            Err(fenced @ Error::Fenced { .. }) => {
                self.depose();
                match self.fs.verdict(&reign, id, end) {
                    Verdict::Counts => {
                        self.take_in(entries, id, end);
                        Ok(())
                    }
                    Verdict::Not => Err(fenced),
                    Verdict::Open => Err(Error::Unclear(fenced.to_string())),
                }
            }
            Err(error) => {
                self.spoil(&error);
                Err(Error::Unclear(error.to_string()))
            }
        }
    }

    fn take_in(&mut self, entries: &[Entry], id: SegmentId, end: u64) {
        entries.iter().for_each(|entry| self.view.apply(entry));
        if let Some(position) = &mut self.position {
            position.segment = id;
            position.offset = end;
            position.revision = self.view.revision();
        }
        self.announce();
    }
}

fn answer(reply: Reply<Revision>, result: Result<Revision>) {
    // Nobody waits for it any more: fine.
    drop(reply.send(result));
}

fn not_written(error: &Error) -> Error {
    match error {
        Error::Unclear(why) => Error::io("write together with others", std::io::Error::other(why.clone())),
        other => other.clone(),
    }
}

/// Changes that are accepted if they can be written, on top of the view.
struct Staged<'a> {
    view: &'a View,
    term: u64,
    revision: Revision,
    touched: HashMap<Arc<str>, Option<Revision>>,
    entries: Vec<Entry>,
}

impl<'a> Staged<'a> {
    fn on(view: &'a View, term: Term) -> Self {
        let revision = view.revision();
        Self { view, term: term.0, revision, touched: HashMap::new(), entries: Vec::new() }
    }

    fn add(&mut self, change: Change) -> Result<Revision> {
        for Precondition { key, expect } in &change.preconditions {
            let actual = match self.touched.get(key) {
                Some(touched) => *touched,
                None => self.view.modified(key),
            };
            let holds = match expect {
                Expect::Absent => actual.is_none(),
                Expect::Present => actual.is_some(),
                Expect::Modified(revision) => actual == Some(*revision),
            };
            if !holds {
                return Err(Error::Conflict { key: key.clone(), expected: *expect, actual });
            }
        }
        let revision = self.revision + 1;
        let Change { ops, time_unix_ms, .. } = change;
        let entry = Entry { revision, term: self.term, time_unix_ms, ops };
        let size = segment::encoded_len(&entry);
        if size > MAX_CHANGE {
            return Err(Error::TooLarge { size, limit: MAX_CHANGE });
        }
        for op in &entry.ops {
            match op {
                Op::Put { key, .. } => self.touched.insert(key.clone(), Some(revision)),
                Op::Delete { key } => self.touched.insert(key.clone(), None),
            };
        }
        self.revision = revision;
        self.entries.push(entry);
        Ok(revision)
    }
}

//! Group commit: several changes, one frame, one sync.

use super::engine::{Append, Engine, Reply};
use super::names::SegmentId;
use super::segment::{self, Refused};
use super::verdict::Verdict;
use crate::staged::Staged;
use crate::{Entry, Error, Result, Revision, Term};

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

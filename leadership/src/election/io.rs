//! What goes into a seat and what comes out.

use std::collections::BTreeSet;
use std::time::Duration;

use om_kv::layout::ElectorateRecord;

use super::line::{Answer, Request};
use super::lines::Change;
use super::places::Places;
use super::records::Election;
use super::register::electorate_record;
use crate::{Leadership, OfficeError};

/// Why, and how, this replica may claim now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warrant {
    /// The term that the claim replaces; 0: there is none.
    pub term: u64,
    /// The mod-revision of the leader's key that it replaces; 0: there is none.
    pub leader: i64,
    /// Keys that must not have changed, with their mod-revisions; 0: the key must not exist.
    pub guards: Vec<(Guard, i64)>,
    /// The electorate to be recorded with the claim.
    pub members: BTreeSet<String>,
    /// How long after the claim authority that does not rest on that electorate lasts at most.
    pub settles: Duration,
    /// Until when, on the campaign's clock, the leaders before may still act, if nothing proves that they have stopped.
    /// `None`: they have stopped, for the claim was released or bequeathed, or there is none.
    pub old_until: Option<Duration>,
    /// The claim rests on the old leader's lease alone: it may act for the time of the hold after the claim.
    pub by_lease: bool,
}

impl Warrant {
    /// The electorate's record, to be written with the claim.
    #[must_use]
    pub fn electorate(&self) -> ElectorateRecord {
        electorate_record(&self.members, self.settles)
    }
}

/// A key that a claim rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The electorate's.
    Electorate,
    /// The heartbeat's.
    Beat,
    /// That of the replica of this instance.
    Replica(String),
}

/// What happened.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// The election as the keyspace has it now.
    Observed(Election),
    /// It cannot be seen.
    Blind(String),
    /// Something happened on a line.
    Line(Change),
    /// The campaign wants to know whether, and how, to claim.
    Claiming,
    /// The claim that was asked for at `asked_at` was granted.
    Claimed { term: u64, asked_at: Duration },
    /// It was not.
    NotClaimed,
    /// The campaign wants the term confirmed.
    Confirm { term: u64, asked_at: Duration },
    /// The electorate was recorded (its revision), fenced (`None`), or it is not known.
    Recorded { term: u64, sent: Duration, members: BTreeSet<String>, outcome: Outcome<u64> },
    /// The heartbeat was written.
    Beaten { term: u64, sent: Duration, authority: Duration, outcome: Outcome<()> },
    /// The claim was looked at.
    Proven { term: u64, sent: Duration, outcome: Outcome<()> },
    /// Leads no more, and does not run before `until`, or before somebody else has led.
    Resign { until: Duration },
    /// What was done under this term could not be ended with everybody's word for it.
    Farewell { term: u64 },
    /// Leads no more, and everything that was done under this term has stopped.
    Bequeath { term: u64, successor: Option<String> },
    /// Where this replica stands, and where the leader had best be.
    Placed(Places),
    /// Time has passed.
    Tick,
}

/// What became of a write or a look under the claim's guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome<T> {
    /// Done, under the claim.
    Done(T),
    /// The claim is not the newest any more.
    Fenced(String),
    /// Not known.
    Unclear(String),
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Output {
    /// Publish.
    Say(Leadership),
    /// Ask another.
    Ask { to: String, request: Request },
    /// Answer another.
    Reply { to: String, answer: Answer },
    /// Answers [`Input::Claiming`].
    Warrant(Option<Warrant>),
    /// Answers [`Input::Confirm`]: for how long from its asking.
    Confirmed(Result<Duration, OfficeError>),
    /// Record the electorate under the claim, if its record still is as it was.
    Record { term: u64, electorate: u64, members: BTreeSet<String>, settles: Duration },
    /// Write a heartbeat under the claim.
    Beat { term: u64, authority: Duration },
    /// Look whether the claim still is the newest.
    Prove { term: u64 },
}

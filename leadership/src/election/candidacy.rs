//! The candidate's side: whether this replica may claim, and what that rests on. Pure.
//!
//! What must hold: a claim names everything that it rests on (the claim before, the electorate, the heartbeat) by
//! revision, so that the keyspace refuses it if any of that has changed; and it says until when the leaders before may act.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::io::{Guard, Output, Warrant};
use super::line::Request;
use super::places::PRECEDENCE;
use super::records::{At, Election};
use super::rule::votes_needed;
use super::seat::Seat;
use super::voter::with_drift;

use om_kv::layout::LeaderRecord;

/// A named successor that does not take over is waited for as long as this many of the shortest renewals.
const GRACE: u32 = 4;

/// Votes that are collected against a leader that is lost.
#[derive(Debug)]
pub(super) struct Candidacy {
    pub(super) term: u64,
    electorate: i64,
    pub(super) vote: u64,
    asked_at: Duration,
    needed: usize,
    /// Who voted, this replica among them, and until when their promises may count.
    granted: BTreeMap<String, Duration>,
    /// Who did not give its vote, of those the last, and why.
    pub(super) denied: Option<(String, String)>,
}

impl Candidacy {
    /// A vote was given; what its giver promised before counts until then.
    pub(super) fn granted(&mut self, from: &str, until: Duration) {
        self.granted.entry(from.to_owned()).or_insert(until);
    }

    /// Another has lost the leader, too: one that gave no vote before is asked again at once.
    pub(super) fn runs_too(&mut self, from: &str, term: u64) {
        if self.term == term && self.denied.take_if(|(by, _)| by == from).is_some() {
            self.asked_at = Duration::ZERO;
        }
    }

    /// What is going on, for people.
    pub(super) fn describe(&self, leader: &str) -> String {
        let (have, needed) = (self.granted.len(), self.needed);
        let denied = self.denied.as_ref().map(|(by, why)| format!("; {by}: {why}")).unwrap_or_default();
        format!("{leader} is lost, term {}; {have} of {needed} votes to take over{denied}", self.term)
    }

    fn until(&self) -> Option<Duration> {
        (self.granted.len() >= self.needed).then(|| self.granted.values().max().copied().unwrap_or_default())
    }
}

impl Seat {
    /// Runs for the leadership where there is reason to; leaves the warrant, if there is one, in its place.
    pub(super) fn run(&mut self) {
        if self.claiming.is_some() {
            return;
        }
        self.warrant = None;
        let Some(election) = self.election.take() else { return };
        let behind = election.term() < self.voter.newest();
        let idle = self.rule.is_some()
            || self.resigned.is_some()
            || self.blind.is_some()
            || self.places.unfit.is_some()
            || behind
            // A leader without a record would count as gone at once, and the next would have to see its lease to its end.
            || !election.replicas.contains_key(&self.me)
            || self.now < self.rest;
        if idle {
            self.candidacy = None;
        } else {
            self.warrant = match &election.leader {
                None => Some(self.warrant_for(&election, None, None)),
                Some(leader) => self.against(&election, leader),
            };
        }
        if self.warrant.is_none() {
            self.able_since = None;
        } else if self.holds_back(&election) {
            self.warrant = None;
        }
        self.election = Some(election);
    }

    fn against(&mut self, election: &Election, leader: &At<LeaderRecord>) -> Option<Warrant> {
        let holder = &leader.record;
        if let Some(ended) = self.ended(leader) {
            let late = self.now >= ended.since + self.settings.floor * GRACE;
            let another = ended.successor.filter(|name| **name != self.name && election.lives(name));
            let due = another.is_none() || late;
            self.candidacy = None;
            return due.then(|| self.warrant_for(election, None, None));
        }
        if holder.instance == self.me {
            self.candidacy = None;
            return Some(self.warrant_for(election, Some(self.own_until), None));
        }
        let term = holder.term(leader.revision);
        let lost = self.has_lost(election);
        if let Some(until) = self.by_votes(election, leader, term, lost) {
            return Some(self.warrant_for(election, Some(until), None));
        }
        let gone = self.holder_gone.is_some_and(|since| self.now >= since + self.settings.floor);
        (gone && lost)
            .then(|| self.warrant_for(election, Some(self.by_lease_until()), Some(holder.instance.clone())))
    }

    /// Until when the promises of enough voters may count, once there are enough.
    fn by_votes(
        &mut self,
        election: &Election,
        leader: &At<LeaderRecord>,
        term: u64,
        lost: bool,
    ) -> Option<Duration> {
        // An electorate that is older than the claim says nothing about it.
        let electorate = election.electorate.as_ref().filter(|record| record.revision >= leader.revision)?;
        let number = u64::try_from(electorate.revision).ok()?;
        let members = electorate.record.members.iter();
        let followers: BTreeSet<&String> =
            members.filter(|member| **member != leader.record.instance).collect();
        let against = lost || self.voter.abjured(term, number);
        if !followers.contains(&self.me) || !against {
            self.candidacy = None;
            return None;
        }
        let same = |c: &Candidacy| c.term == term && c.electorate == electorate.revision;
        if !self.candidacy.as_ref().is_some_and(same) {
            self.votes += 1;
            let own = self.voter.abjure(term, number);
            self.candidacy = Some(Candidacy {
                term,
                electorate: electorate.revision,
                vote: self.votes,
                asked_at: Duration::ZERO,
                needed: votes_needed(followers.len()),
                granted: BTreeMap::from([(self.me.clone(), own)]),
                denied: None,
            });
        }
        let again = self.settings.floor / 4;
        let candidacy = self.candidacy.as_mut()?;
        if candidacy.until().is_none()
            && (candidacy.asked_at.is_zero() || self.now >= candidacy.asked_at + again)
        {
            candidacy.asked_at = self.now;
            let request = Request::Vote { term, electorate: number, vote: candidacy.vote };
            let ungiven = followers.into_iter().filter(|peer| !candidacy.granted.contains_key(*peer));
            let linked = ungiven.filter(|peer| self.lines.contains(*peer));
            self.out.extend(linked.map(|to| Output::Ask { to: to.clone(), request: request.clone() }));
        }
        candidacy.until()
    }

    /// `until`: when promises given before are over; `None`: the leader before said that everything has stopped.
    /// `lease`: the instance whose lease has run out, if the claim rests on that.
    fn warrant_for(&self, election: &Election, until: Option<Duration>, lease: Option<String>) -> Warrant {
        let revision = |at: Option<i64>| at.unwrap_or(0);
        let mut guards = vec![
            (Guard::Electorate, revision(election.electorate.as_ref().map(|at| at.revision))),
            (Guard::Beat, revision(election.beat.as_ref().map(|at| at.revision))),
        ];
        let by_lease = lease.is_some();
        guards.extend(lease.map(|instance| (Guard::Replica(instance), 0)));
        let settled = election.electorate.as_ref().map_or(Duration::ZERO, |at| {
            self.electorate_seen.1 + with_drift(Duration::from_millis(at.record.settles_ms))
        });
        let beaten = election.beat.as_ref().map_or(Duration::ZERO, |at| {
            self.beat_seen.1 + with_drift(Duration::from_millis(at.record.authority_ms))
        });
        let old_until = until.map(|until| until.max(settled).max(beaten));
        // Whoever ended in order lives.
        let lost = election.leader.as_ref().filter(|leader| self.ended(leader).is_none());
        let lost = |peer: &&String| lost.is_some_and(|holder| holder.record.instance == **peer);
        let linked = self.lines.iter().filter(|peer| election.replicas.contains_key(*peer) && !lost(peer));
        let mut settles = old_until.unwrap_or_default().saturating_sub(self.now).max(self.settings.floor);
        if by_lease {
            settles = settles.max(with_drift(self.settings.hold));
        }
        Warrant {
            term: election.term(),
            leader: election.leader.as_ref().map_or(0, |leader| leader.revision),
            guards,
            members: linked.cloned().chain([self.me.clone()]).collect(),
            settles,
            old_until,
            by_lease,
        }
    }

    /// Whether the leader is lost to this replica: it said so, its line is gone, or it was silent for too long; and it does
    /// not live by heartbeats in the keyspace.
    pub(super) fn has_lost(&self, election: &Election) -> bool {
        let Some(leader) = &election.leader else { return true };
        let term = election.term();
        let line = self.callers.contains(&leader.record.instance);
        self.voter.is_over(term)
            || self.now >= self.alive_until(election) && (!line || self.now >= self.silent_until(election))
    }

    /// Until when the leader counts as living by its last heartbeat in the keyspace.
    fn alive_until(&self, election: &Election) -> Duration {
        let beat = election.beat.as_ref().filter(|beat| beat.record.term == election.term());
        beat.map_or(Duration::ZERO, |beat| self.beat_seen.1 + Duration::from_millis(beat.record.authority_ms))
    }

    /// When a leader whose line stands has been silent for too long.
    fn silent_until(&self, election: &Election) -> Duration {
        let (now_leads, since) = self.leader_since;
        // A claim is a sign of life, and so is an electorate that was written after it.
        let rewritten = self.electorate_seen.0 > now_leads;
        let rewritten = if rewritten { self.electorate_seen.1 + self.settings.floor } else { Duration::ZERO };
        let promised = self.voter.promised(election.term()).unwrap_or(since + self.settings.floor * 2);
        promised.max(rewritten)
    }

    /// When [`Seat::run`] may come to something that it does not yet.
    pub(super) fn run_at(&self) -> Option<Duration> {
        let held = self.able_since.map(|since| since + PRECEDENCE).filter(|at| *at > self.now);
        let election = self.election.as_ref()?;
        let Some(leader) = election.leader.as_ref() else { return held };
        let ended = self.ended(leader);
        let lives = ended.is_none();
        let moments = [
            Some(self.rest),
            held,
            ended.map(|ended| ended.since + self.settings.floor * GRACE),
            lives.then(|| self.silent_until(election)),
            lives.then(|| self.alive_until(election)),
            self.candidacy.as_ref().map(|candidacy| candidacy.asked_at + self.settings.floor / 4),
            self.holder_gone.map(|since| since + self.settings.floor),
        ];
        moments.into_iter().flatten().filter(|at| *at > self.now).min()
    }
}

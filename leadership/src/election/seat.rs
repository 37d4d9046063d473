//! One replica's seat in the election: it promises and votes, runs for the leadership, and leads. Pure: inputs and the time
//! in, outputs out.

use std::collections::BTreeSet;
use std::time::Duration;

use super::bequest::Bequest;
use super::candidacy::Candidacy;
use super::io::{Input, Output, Warrant};
use super::line::{Answer, Request};
use super::lines::Change;
use super::pace::Pace;
use super::places::Places;
use super::records::Election;
use super::rule::Rule;
use super::voter::{Voter, with_drift};
use crate::Leadership;

/// How long things last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// The shortest renewal.
    pub(super) floor: Duration,
    /// The longest.
    pub(super) most: Duration,
    /// How long a leader goes on by promises alone while the keyspace does not answer.
    pub(super) hold: Duration,
    /// What keeps the election's records, for messages: `etcd`.
    pub(super) kept_in: &'static str,
}

#[derive(Debug)]
pub(super) struct Seat {
    pub(super) me: String,
    pub(super) name: String,
    pub(super) settings: Settings,
    pub(super) now: Duration,
    pub(super) election: Option<Election>,
    /// Why the election cannot be seen, if it cannot.
    pub(super) blind: Option<String>,
    /// Revisions of the electorate's and the heartbeat's records, and when they were first seen here.
    pub(super) electorate_seen: (i64, Duration),
    pub(super) beat_seen: (i64, Duration),
    /// Since when the claim has been as it is, and since when its holder's record has been gone.
    pub(super) leader_since: (i64, Duration),
    pub(super) holder_gone: Option<Duration>,
    /// Replicas that this one has a line to, and those that have one to it.
    pub(super) lines: BTreeSet<String>,
    pub(super) callers: BTreeSet<String>,
    pub(super) voter: Voter,
    pub(super) rule: Option<Rule>,
    pub(super) bequest: Option<Bequest>,
    pub(super) candidacy: Option<Candidacy>,
    pub(super) votes: u64,
    pub(super) warrant: Option<Warrant>,
    /// The warrant that is being claimed by.
    pub(super) claiming: Option<Warrant>,
    /// No claim is tried before.
    pub(super) rest: Duration,
    /// Until when authority of own reigns that are over lasts at most.
    pub(super) own_until: Duration,
    /// The claim that is being made, or was made last, follows one whose holder named this replica.
    pub(super) named: bool,
    pub(super) resigned: Option<Duration>,
    pub(super) places: Places,
    /// Since when a claim could be made, if one can.
    pub(super) able_since: Option<Duration>,
    /// A proof is being asked for; and when one is asked for at the earliest.
    pub(super) proving: bool,
    pub(super) prove_at: Duration,
    pub(super) pace: Pace,
    pub(super) said: Option<Leadership>,
    pub(super) out: Vec<Output>,
}

impl Seat {
    pub(super) fn new(me: &str, name: &str, settings: Settings) -> Self {
        Self {
            me: me.to_owned(),
            name: name.to_owned(),
            settings,
            now: Duration::ZERO,
            election: None,
            blind: None,
            electorate_seen: (0, Duration::ZERO),
            beat_seen: (0, Duration::ZERO),
            leader_since: (0, Duration::ZERO),
            holder_gone: None,
            lines: BTreeSet::new(),
            callers: BTreeSet::new(),
            voter: Voter::default(),
            rule: None,
            bequest: None,
            candidacy: None,
            votes: 0,
            warrant: None,
            claiming: None,
            rest: Duration::ZERO,
            own_until: Duration::ZERO,
            named: false,
            resigned: None,
            places: Places::default(),
            able_since: None,
            proving: false,
            prove_at: Duration::ZERO,
            pace: Pace::new(settings.floor, settings.most),
            said: None,
            out: Vec::new(),
        }
    }

    /// Takes one input at `now` and says what to do, in order. A `now` before an earlier one counts as that one.
    pub(super) fn step(&mut self, now: Duration, input: Input) -> Vec<Output> {
        self.now = self.now.max(now);
        match input {
            Input::Observed(election) => self.observed(election),
            Input::Blind(why) => self.blind = Some(why),
            Input::Line(change) => self.on_line(change),
            Input::Claiming => self.claiming(),
            Input::Claimed { term, asked_at } => self.claimed(term, asked_at),
            Input::NotClaimed => {
                self.claiming = None;
                self.rest = self.now + self.settings.floor / 8;
            }
            Input::Confirm { term, asked_at } => self.confirm(term, asked_at),
            Input::Recorded { term, sent, members, outcome } => self.recorded(term, sent, members, outcome),
            Input::Beaten { term, sent, authority, outcome } => self.beaten(term, sent, authority, outcome),
            Input::Proven { term, sent, outcome } => self.proven(term, sent, outcome),
            Input::Resign { until } => {
                self.end_rule();
                self.resigned = Some(until);
            }
            Input::Farewell { term } => {
                self.voter.farewell(term);
                for to in self.lines.clone() {
                    self.out.push(Output::Ask { to, request: Request::Farewell { term } });
                }
            }
            Input::Bequeath { term, successor } => self.bequeath(term, successor),
            Input::Placed(places) => self.places = places,
            Input::Tick => {}
        }
        if self.resigned.is_some_and(|until| self.now >= until) {
            self.resigned = None;
        }
        self.rule_on();
        self.run();
        self.say();
        std::mem::take(&mut self.out)
    }

    /// When the next [`Input::Tick`] is due, if nothing else comes before.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        let ruling = self.rule.as_ref().map(|rule| {
            let prove = (!self.proving).then(|| self.prove_due(rule));
            let beat = rule.question.filter(|_| rule.writing.is_none()).map(|q| self.heartbeat_due(rule, q));
            let change = rule.change_retry();
            [prove, beat, change].into_iter().flatten().min()
        });
        let running = self.rule.is_none().then(|| self.run_at());
        let heard = self.voter.promised(self.voter.newest()).filter(|_| self.is_behind());
        let unheard = heard.filter(|at| *at > self.now);
        [ruling.flatten(), running.flatten(), self.resigned, unheard].into_iter().flatten().min()
    }

    fn observed(&mut self, election: Election) {
        self.blind = None;
        let now = self.now;
        let first_seen = |seen: &mut (i64, Duration), revision: i64| {
            if seen.0 != revision {
                *seen = (revision, now);
            }
        };
        first_seen(&mut self.electorate_seen, election.electorate.as_ref().map_or(0, |at| at.revision));
        first_seen(&mut self.beat_seen, election.beat.as_ref().map_or(0, |at| at.revision));
        first_seen(&mut self.leader_since, election.leader.as_ref().map_or(0, |at| at.revision));
        let term = election.term();
        self.voter.learn(term);
        let holder = election.leader.as_ref().map(|leader| &leader.record);
        let gone = holder.is_some_and(|holder| !election.replicas.contains_key(&holder.instance));
        self.holder_gone = gone.then(|| self.holder_gone.unwrap_or(now));
        if holder.is_some_and(|holder| holder.instance != self.me && holder.released.is_none())
            && self.resigned.is_some_and(|until| until < Duration::MAX)
        {
            self.resigned = None;
        }
        if self.rule.as_ref().is_some_and(|rule| rule.term < term) {
            self.fenced(&format!("term {term} was claimed"));
        }
        self.election = Some(election);
    }

    fn on_line(&mut self, change: Change) {
        match change {
            Change::Linked(peer) => drop(self.lines.insert(peer)),
            Change::Unlinked(peer) => drop(self.lines.remove(&peer)),
            Change::Called(peer) => drop(self.callers.insert(peer)),
            Change::Uncalled(peer) => drop(self.callers.remove(&peer)),
            Change::Asked { from, request } => self.asked(from, request),
            Change::Answered { from, answer } => self.answered(&from, answer),
        }
    }

    fn asked(&mut self, from: String, request: Request) {
        let leading = self.rule.as_ref().map(|rule| rule.term);
        let answer = match request {
            Request::Beat { term, electorate, beat, promise } => {
                if leading.is_some_and(|own| own < term) {
                    self.fenced(&format!("term {term} was claimed"));
                }
                let leading = self.rule.as_ref().map(|rule| rule.term);
                self.voter.beat(self.now, leading, &from, (term, electorate, beat, promise))
            }
            Request::Vote { term, electorate, vote } => {
                let lost = self.has_lost_term(term);
                if let Some(candidacy) = &mut self.candidacy {
                    candidacy.runs_too(&from, term);
                }
                self.voter.vote(self.now, leading, lost, (term, electorate, vote))
            }
            Request::Farewell { term } => return self.voter.farewell(term),
            Request::Bequest { term, successor } => return self.bequeathed(from, term, successor),
        };
        self.out.push(Output::Reply { to: from, answer });
    }

    /// Whether the leader of a term is lost to this replica. Of one that it does not know of yet it has heard nothing.
    fn has_lost_term(&self, term: u64) -> bool {
        match &self.election {
            Some(election) if election.term() == term => self.has_lost(election),
            _ => true,
        }
    }

    fn answered(&mut self, from: &str, answer: Answer) {
        match (answer, &mut self.rule) {
            (Answer::Promised { beat }, Some(rule)) => rule.promised(from, beat),
            (Answer::Refused { term, electorate, .. }, Some(rule)) => {
                if term > rule.term {
                    self.fenced(&format!("term {term} was claimed"));
                } else if electorate >= rule.electorate && rule.members.contains(from) {
                    rule.challenged = true;
                }
            }
            (Answer::Ballot { vote, granted: true, remaining, .. }, _) => {
                if let Some(candidacy) = self.candidacy.as_mut().filter(|candidacy| candidacy.vote == vote) {
                    candidacy.granted(from, self.now + remaining);
                }
            }
            (Answer::Ballot { vote, granted: false, why, .. }, _) => {
                if let Some(candidacy) = self.candidacy.as_mut().filter(|candidacy| candidacy.vote == vote) {
                    candidacy.denied = Some((from.to_owned(), why));
                }
            }
            _ => {}
        }
    }

    fn claiming(&mut self) {
        // A reign that the campaign has ended by itself.
        self.end_rule();
        self.run();
        let warrant = self.warrant.take();
        if warrant.is_some() {
            let leader = self.election.as_ref().and_then(|election| election.leader.as_ref());
            let ended = leader.and_then(|leader| self.ended(leader));
            self.named = ended.is_some_and(|ended| ended.successor == Some(&self.name));
        }
        self.claiming.clone_from(&warrant);
        self.out.push(Output::Warrant(warrant));
    }

    fn claimed(&mut self, term: u64, asked_at: Duration) {
        let Some(warrant) = self.claiming.take() else { return };
        let first = self.settings.floor;
        let inherited = self.old_until(&warrant).unwrap_or_default().max(asked_at + first);
        self.voter.learn(term);
        self.candidacy = None;
        self.rule =
            Some(Rule::new(&self.me, term, warrant.members, asked_at, first, inherited, self.pace.clone()));
        self.proving = false;
    }

    /// Until when an old leader of whom only the lease is known may act, if the claim is made by now.
    pub(super) fn by_lease_until(&self) -> Duration {
        self.now + with_drift(self.settings.hold)
    }

    /// Whether the election can be seen, for all that this seat was told.
    pub(super) fn sees(&self) -> bool {
        self.blind.is_none()
    }

    /// Whether another replica has this one's name.
    pub(super) fn is_namesake(&self, peer: &str) -> bool {
        let election = self.election.as_ref();
        let record = election.and_then(|election| election.replicas.get(peer));
        record.is_some_and(|record| record.name == self.name)
    }

    /// The same by the warrant that is being claimed by.
    pub(super) fn claimed_old_until(&self) -> Option<Duration> {
        self.claiming.as_ref().and_then(|warrant| self.old_until(warrant))
    }

    /// Until when the leaders before may still act, now that the claim by this warrant was made. `None`: they have stopped.
    pub(super) fn old_until(&self, warrant: &Warrant) -> Option<Duration> {
        let lease = if warrant.by_lease { self.by_lease_until() } else { Duration::ZERO };
        warrant.old_until.map(|until| until.max(lease))
    }

    /// Whether what is seen of the election is older than what is known of it.
    fn is_behind(&self) -> bool {
        self.election.as_ref().is_some_and(|election| election.term() < self.voter.newest())
    }

    /// The name of the newest leader, while it is heard: its claim is still to be seen.
    fn hears<'a>(&self, election: &'a Election) -> Option<&'a String> {
        let (term, instance) = self.voter.heard().filter(|(term, _)| *term == self.voter.newest())?;
        let heard = self.voter.promised(*term).is_some_and(|until| self.now < until);
        let record = election.replicas.get(instance).filter(|_| heard)?;
        Some(&record.name)
    }

    /// Publishes what this replica sees, if that is news.
    fn say(&mut self) {
        let leads = self.rule.is_some() || self.warrant.is_some() || self.claiming.is_some();
        let seen = match (&self.election, &self.blind) {
            _ if leads => Leadership::Leading,
            (None, _) | (_, Some(_)) if self.places.unfit.is_some() => {
                Leadership::Unknown { why: self.places.unfit.clone().unwrap_or_default() }
            }
            (_, Some(why)) => Leadership::Unknown { why: why.clone() },
            (None, None) => Leadership::not_looked(),
            (Some(election), None) if self.is_behind() && self.hears(election).is_some() => {
                Leadership::Following { leader: self.hears(election).cloned() }
            }
            (Some(election), None) if self.is_behind() => Leadership::Unknown {
                why: format!(
                    "{kept_in} knows of term {}, but term {} was there before: has it been wiped, or restored from an older \
                     backup? Nobody leads on that; restore a newer backup, or restart every manager and plugin to go on \
                     from what {kept_in} holds",
                    election.term(),
                    self.voter.newest(),
                    kept_in = self.settings.kept_in
                ),
            },
            (Some(Election { leader: None, .. }), None) => Leadership::Following { leader: None },
            (Some(Election { leader: Some(leader), .. }), None) => match self.ended(leader) {
                Some(ended) => Leadership::Following { leader: ended.successor.cloned() },
                None if leader.record.instance == self.me => Leadership::Following { leader: None },
                None => match &self.candidacy {
                    Some(candidacy) => Leadership::Unknown { why: candidacy.describe(&leader.record.name) },
                    None => Leadership::Following { leader: Some(leader.record.name.clone()) },
                },
            },
        };
        if self.said.as_ref() != Some(&seen) {
            self.said = Some(seen.clone());
            self.out.push(Output::Say(seen));
        }
    }
}

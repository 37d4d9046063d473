//! The leader's side of a seat: what it asks of the others and of the keyspace, and how it ends. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use super::io::{Outcome, Output};
use super::line::Request;
use super::records::Election;
use super::rule::{Question, Rule};
use super::seat::Seat;
use crate::OfficeError;

/// The pause after a write or a look that failed.
const RETRY: Duration = Duration::from_millis(20);

impl Seat {
    pub(super) fn confirm(&mut self, term: u64, asked_at: Duration) {
        let newest = self.election.as_ref().map_or(0, Election::term);
        let Some(rule) = self.rule.as_mut().filter(|rule| rule.term == term) else {
            let error = if newest > term {
                OfficeError::Fenced(format!("term {newest} was claimed"))
            } else {
                OfficeError::Unavailable(format!("term {term} is not held here"))
            };
            return self.out.push(Output::Confirmed(Err(error)));
        };
        rule.asked(asked_at);
        let (beat, promise) = rule.beat(asked_at);
        rule.question = Some(Question { asked_at, beat, lasts: promise });
        let request = Request::Beat { term, electorate: rule.electorate, beat, promise };
        self.out.extend(self.lines.iter().map(|to| Output::Ask { to: to.clone(), request: request.clone() }));
    }

    /// Everything that a leader does when something has changed.
    pub(super) fn rule_on(&mut self) {
        let Some(rule) = &mut self.rule else { return };
        let now = self.now;
        let hold = self.settings.hold;
        if let Some(question) = rule.question
            && let Some(lasts) = rule.answer(hold)
        {
            rule.pace.saw(now, now.saturating_sub(question.asked_at));
            self.pace = rule.pace.clone();
            self.out.push(Output::Confirmed(Ok(lasts)));
        }
        if let (Some(election), None) = (&self.election, &self.blind) {
            let lives = |peer: &String| election.replicas.contains_key(peer);
            let mut wanted: BTreeSet<String> =
                rule.members.iter().filter(|peer| lives(peer)).cloned().collect();
            wanted.extend(election.replicas.keys().filter(|peer| rule.knows(peer)).cloned());
            wanted.insert(self.me.clone());
            rule.aim_at(wanted);
        }
        if let Some(members) = rule.change_due(now) {
            let (term, electorate, settles) = (rule.term, rule.electorate, rule.settles(now));
            self.out.push(Output::Record { term, electorate, members, settles });
        }
        let Some(rule) = &self.rule else { return };
        let beat = rule.question.is_some_and(|question| now >= self.heartbeat_due(rule, question));
        let prove = !self.proving && now >= self.prove_due(rule);
        let (term, authority) = (rule.term, rule.pace.authority());
        if beat && rule.writing.is_none() {
            self.out.push(Output::Beat { term, authority });
            self.rule.as_mut().into_iter().for_each(|rule| rule.writing = Some(now));
        }
        if prove {
            self.proving = true;
            self.out.push(Output::Prove { term });
        }
    }

    pub(super) fn prove_due(&self, rule: &Rule) -> Duration {
        (rule.proven + self.settings.hold / 4).max(self.prove_at)
    }

    /// When a heartbeat is written for a question that is not answered by promises.
    pub(super) fn heartbeat_due(&self, rule: &Rule, question: Question) -> Duration {
        let patience = if rule.lacks(&self.lines) { Duration::ZERO } else { rule.pace.authority() / 5 };
        (question.asked_at + patience).max(rule.write_at)
    }

    pub(super) fn recorded(
        &mut self,
        term: u64,
        sent: Duration,
        members: BTreeSet<String>,
        outcome: Outcome<u64>,
    ) {
        let Some(rule) = self.rule.as_mut().filter(|rule| rule.term == term) else { return };
        match outcome {
            Outcome::Done(electorate) => rule.changed(electorate, members, sent),
            Outcome::Fenced(why) => self.fenced(&why),
            Outcome::Unclear(_) => rule.change_unclear(self.now + RETRY),
        }
    }

    pub(super) fn beaten(&mut self, term: u64, sent: Duration, authority: Duration, outcome: Outcome<()>) {
        let Some(rule) = self.rule.as_mut().filter(|rule| rule.term == term) else { return };
        rule.writing = None;
        match outcome {
            Outcome::Done(()) => rule.heartbeat_written(sent, authority),
            Outcome::Fenced(why) => self.fenced(&why),
            Outcome::Unclear(_) => rule.write_at = self.now + RETRY,
        }
    }

    pub(super) fn proven(&mut self, term: u64, sent: Duration, outcome: Outcome<()>) {
        self.proving = false;
        self.prove_at = self.now + RETRY;
        let Some(rule) = self.rule.as_mut().filter(|rule| rule.term == term) else { return };
        match outcome {
            Outcome::Done(()) => rule.prove(sent),
            Outcome::Fenced(why) => self.fenced(&why),
            Outcome::Unclear(_) => {}
        }
    }

    /// A newer claim exists: what is asked is answered so, and the reign is over.
    pub(super) fn fenced(&mut self, why: &str) {
        let asked = self.rule.as_ref().is_some_and(|rule| rule.question.is_some());
        if asked {
            self.out.push(Output::Confirmed(Err(OfficeError::Fenced(why.to_owned()))));
        }
        self.end_rule();
    }

    pub(super) fn end_rule(&mut self) {
        if let Some(rule) = self.rule.take() {
            self.own_until = self.own_until.max(rule.published).max(rule.inherited);
        }
    }
}

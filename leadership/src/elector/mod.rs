//! What to do about leadership, decided purely: inputs and the time in, outputs out, no I/O and no clock.
//!
//! What must hold, whatever comes in and in whatever order:
//!
//! * Between two [`Output::Begin`] there is an [`Output::End`], and terms grow.
//! * A deadline is never later than the confirmation lasts after it was asked for (a claim: the `ttl`), and nothing moves
//!   it after the end.
//! * What has run out by `now` is ended before the input is looked at: a replica that slept for an hour first learns
//!   that its reign is over.
//! * `Unknown` is held for the renew deadline, not longer; nothing new is claimed under it.
//! * Who overslept does not act on what was seen before: the detector slept too.
//! * Asking again is paced. Two replicas that are both told to lead fence each other ever more slowly.

mod backoff;
mod io;
mod phase;

#[cfg(test)]
mod tests;

use std::time::Duration;

use self::backoff::Backoff;
pub use self::io::{Input, Lost, Output};
use self::phase::{Announced, Confirm, Phase, Reign};
use crate::{Leadership, OfficeError, Timing};

/// How long a claim may take at first; a claim loads the state. Doubled each time it was not enough.
const CLAIM_PATIENCE: Duration = Duration::from_secs(10);
const CLAIM_PATIENCE_MOST: Duration = Duration::from_secs(160);
/// The longest pause after a fence, and between claims while the store is unavailable.
const PAUSE_MOST: Duration = Duration::from_secs(5);
/// The pauses between two looks at a state that must not be ruled over.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
const REFUSED_PAUSE_MOST: Duration = Duration::from_secs(10);
/// A reign that lasted this long was no fight: the next fence is paced anew.
const PEACE: Duration = Duration::from_secs(10);

/// Decides when to claim, to confirm and to step down.
#[derive(Debug)]
pub struct Elector {
    timing: Timing,
    now: Duration,
    seen: Leadership,
    /// While `seen` is `Unknown` after `Leading`: until when that is held.
    held_until: Option<Duration>,
    /// Resigned, and nobody else was named since.
    resigned: bool,
    phase: Phase,
    last_term: u64,
    attempt: u32,
    /// Why a named replica does not lead.
    trouble: Option<String>,
    announced: Option<Announced>,
    claim_patience: Backoff,
    fenced: Backoff,
    unavailable: Backoff,
    refused: Backoff,
}

impl Elector {
    /// An elector that has seen nothing yet.
    #[must_use]
    pub fn new(timing: Timing) -> Self {
        Self {
            timing,
            now: Duration::ZERO,
            seen: Leadership::not_looked(),
            held_until: None,
            resigned: false,
            phase: Phase::Resting { until: Duration::ZERO, firm: false },
            last_term: 0,
            attempt: 0,
            trouble: None,
            announced: None,
            claim_patience: Backoff::new(CLAIM_PATIENCE, CLAIM_PATIENCE_MOST),
            fenced: Backoff::new(timing.retry(), PAUSE_MOST),
            unavailable: Backoff::new(timing.retry(), PAUSE_MOST),
            refused: Backoff::new(REFUSED_PAUSE, REFUSED_PAUSE_MOST),
        }
    }

    /// Takes one input at `now` (the campaign's clock, read before whatever the outputs ask for is begun) and says
    /// what to do, in order. A `now` before an earlier one counts as that one.
    pub fn step(&mut self, now: Duration, input: Input) -> Vec<Output> {
        let overslept = self.wake_at().is_some_and(|at| now >= at.saturating_add(self.timing.retry()));
        self.now = self.now.max(now);
        let mut out = Vec::new();
        self.expire(&mut out);
        if overslept && !matches!(input, Input::Detected(_)) {
            self.distrust_what_was_seen();
        }
        match input {
            Input::Detected(seen) => self.detected(seen, &mut out),
            Input::ClaimGranted { term, asked_at } => self.granted(term, asked_at, &mut out),
            Input::ClaimFailed { asked_at, error } => self.claim_failed(asked_at, error),
            Input::Confirmed { term, asked_at, lasts } => self.confirmed(term, asked_at, lasts, &mut out),
            Input::ConfirmFailed { term, asked_at, error } => {
                self.confirm_failed(term, asked_at, error, &mut out);
            }
            Input::Tick => {}
            Input::Resign => {
                self.resigned = !matches!(self.seen, Leadership::Following { .. });
                self.let_go(Lost::Resigned, &mut out);
                self.trouble = None;
            }
        }
        self.ask(&mut out);
        self.announce(&mut out);
        out
    }

    /// When the next [`Input::Tick`] is due, if nothing else comes before.
    #[must_use]
    pub fn wake_at(&self) -> Option<Duration> {
        let of_phase = match &self.phase {
            Phase::Resting { until, .. } => self.may_claim().then_some(*until),
            Phase::Claiming { give_up, .. } => Some(*give_up),
            Phase::Holding(reign) => {
                let confirm = match reign.confirm {
                    Confirm::Due(at) => at,
                    Confirm::Asked { give_up, .. } => give_up,
                };
                Some(match reign.begun {
                    Some(_) => confirm.min(reign.renew_by()),
                    None => confirm,
                })
            }
        };
        [of_phase, self.held_until].into_iter().flatten().min()
    }

    fn may_claim(&self) -> bool {
        self.seen == Leadership::Leading && !self.resigned
    }

    /// Ends what has run out by now.
    fn expire(&mut self, out: &mut Vec<Output>) {
        let now = self.now;
        if let Phase::Holding(reign) = &self.phase
            && reign.begun.is_some()
            && now >= reign.renew_by()
        {
            let (error, within) = (reign.last_error.clone(), reign.timing.renew_deadline());
            self.let_go(Lost::Unconfirmed { within, error }, out);
            self.distrust_what_was_seen();
        }
        if self.held_until.is_some_and(|until| now >= until) {
            self.held_until = None;
            let why = match &self.seen {
                Leadership::Unknown { why } => why.clone(),
                _ => String::new(),
            };
            self.let_go(Lost::Unseen { within: self.timing.renew_deadline(), why }, out);
        }
        match &mut self.phase {
            Phase::Claiming { asked_at, give_up } if now >= *give_up => {
                let took = give_up.saturating_sub(*asked_at);
                out.push(Output::Abandon);
                self.claim_patience.advance();
                self.pause(OfficeError::Unavailable(format!("no answer to the claim within {took:?}")));
            }
            Phase::Holding(reign) => {
                if let Confirm::Asked { asked_at, give_up } = reign.confirm
                    && now >= give_up
                {
                    let took = give_up.saturating_sub(asked_at);
                    out.push(Output::Abandon);
                    reign.last_error = Some(format!("no answer to a confirmation within {took:?}"));
                    reign.confirm = Confirm::Due(now);
                }
            }
            _ => {}
        }
    }

    /// This replica was stopped, or asleep, and so was its detector: the detector gets the time to look again before a
    /// claim fences whoever was named meanwhile.
    fn distrust_what_was_seen(&mut self) {
        let looked_again = self.now.saturating_add(self.timing.retry());
        if let Phase::Resting { until, .. } = &mut self.phase {
            *until = looked_again.max(*until);
        }
    }

    fn detected(&mut self, seen: Leadership, out: &mut Vec<Output>) {
        let now = self.now;
        match &seen {
            Leadership::Unknown { .. } => {
                if self.seen == Leadership::Leading {
                    self.held_until = Some(now.saturating_add(self.timing.renew_deadline()));
                }
            }
            Leadership::Leading => {
                self.held_until = None;
                if self.seen != Leadership::Leading {
                    self.unavailable.reset();
                    if let Phase::Resting { until, firm: false } = &mut self.phase {
                        *until = now;
                        self.trouble = None;
                    }
                }
            }
            Leadership::Following { leader } => {
                self.held_until = None;
                self.resigned = false;
                self.attempt = 0;
                self.let_go(leader.clone().map_or(Lost::Nobody, Lost::Named), out);
                self.trouble = None;
                self.phase = Phase::Resting { until: now, firm: false };
                self.fenced.reset();
                self.unavailable.reset();
                self.refused.reset();
                self.claim_patience.reset();
            }
        }
        self.seen = seen;
    }

    fn granted(&mut self, term: u64, asked_at: Duration, out: &mut Vec<Output>) {
        if !matches!(self.phase, Phase::Claiming { asked_at: asked, .. } if asked == asked_at) {
            return;
        }
        if term <= self.last_term {
            let last = self.last_term;
            self.pause(OfficeError::Refused(format!("term {term} was granted after term {last}")));
            return;
        }
        self.last_term = term;
        self.claim_patience.reset();
        self.unavailable.reset();
        self.refused.reset();
        self.phase = Phase::Holding(Reign {
            term,
            confirmed_at: asked_at,
            timing: self.timing,
            begun: None,
            confirm: Confirm::Due(self.now),
            last_error: None,
        });
        self.renewed(asked_at, self.timing, out);
    }

    fn confirmed(&mut self, term: u64, asked_at: Duration, lasts: Duration, out: &mut Vec<Output>) {
        if !self.waits_for(term, asked_at) {
            return;
        }
        match self.timing.at(lasts) {
            Ok(timing) => self.renewed(asked_at, timing, out),
            Err(_) => {
                let error = OfficeError::Unavailable(format!("it was confirmed for {lasts:?} only"));
                self.confirm_failed(term, asked_at, error, out);
            }
        }
    }

    /// The term held was the newest at some moment after `asked_at`, or nobody else acts for the time of `timing` from then.
    fn renewed(&mut self, asked_at: Duration, timing: Timing, out: &mut Vec<Output>) {
        let Phase::Holding(reign) = &mut self.phase else { return };
        let deadline = asked_at.saturating_add(timing.ttl());
        reign.last_error = None;
        reign.confirm = Confirm::Due(asked_at.saturating_add(timing.retry()).max(self.now));
        // A shorter confirmation takes nothing from a longer one.
        if reign.begun.is_some() && deadline < reign.confirmed_at.saturating_add(reign.timing.ttl()) {
            return;
        }
        (reign.confirmed_at, reign.timing) = (asked_at, timing);
        let term = reign.term;
        if reign.begun.is_some() {
            out.push(Output::Extend { term, deadline });
        } else if self.now < asked_at.saturating_add(timing.renew_deadline()) {
            reign.begun = Some(self.now);
            self.attempt = 0;
            self.trouble = None;
            self.announced = Some(Announced::Leading);
            out.push(Output::Begin { term, deadline });
        }
    }

    fn claim_failed(&mut self, asked_at: Duration, error: OfficeError) {
        if matches!(self.phase, Phase::Claiming { asked_at: asked, .. } if asked == asked_at) {
            self.pause(error);
        }
    }

    fn confirm_failed(&mut self, term: u64, asked_at: Duration, error: OfficeError, out: &mut Vec<Output>) {
        if !self.waits_for(term, asked_at) {
            return;
        }
        let Phase::Holding(reign) = &mut self.phase else { return };
        reign.confirm = Confirm::Due(asked_at.saturating_add(reign.timing.retry()).max(self.now));
        let lost = match &error {
            OfficeError::Unavailable(why) => {
                reign.last_error = Some(why.clone());
                return;
            }
            OfficeError::Fenced(why) => {
                if reign.begun.is_some_and(|begun| self.now.saturating_sub(begun) >= PEACE) {
                    self.fenced.reset();
                }
                Lost::Fenced(why.clone())
            }
            OfficeError::Refused(why) => Lost::Refused(why.clone()),
        };
        self.let_go(lost, out);
        self.pause(error);
    }

    fn waits_for(&self, term: u64, asked_at: Duration) -> bool {
        matches!(
            &self.phase,
            Phase::Holding(Reign { term: held, confirm: Confirm::Asked { asked_at: asked, .. }, .. })
                if *held == term && *asked == asked_at
        )
    }

    /// Gives up the term, or the way to one.
    fn let_go(&mut self, why: Lost, out: &mut Vec<Output>) {
        let before = std::mem::replace(&mut self.phase, Phase::Resting { until: self.now, firm: false });
        match before {
            Phase::Resting { .. } => self.phase = before,
            Phase::Holding(Reign { term, begun: Some(_), .. }) => {
                self.trouble = Some(why.to_string());
                out.push(Output::End { term, why });
            }
            Phase::Claiming { .. } | Phase::Holding(Reign { confirm: Confirm::Asked { .. }, .. }) => {
                out.push(Output::Abandon);
            }
            Phase::Holding(_) => {}
        }
    }

    /// Rests before the next claim, as long as the error asks for.
    fn pause(&mut self, error: OfficeError) {
        let (backoff, firm) = match &error {
            OfficeError::Fenced(_) => (&mut self.fenced, true),
            OfficeError::Unavailable(_) => (&mut self.unavailable, false),
            OfficeError::Refused(_) => (&mut self.refused, true),
        };
        let until = self.now.saturating_add(backoff.advance());
        self.phase = Phase::Resting { until, firm };
        self.trouble = Some(error.to_string());
    }

    /// Asks the office for whatever is due.
    fn ask(&mut self, out: &mut Vec<Output>) {
        let now = self.now;
        let may_claim = self.may_claim();
        match &mut self.phase {
            Phase::Resting { until, .. } if may_claim && now >= *until => {
                self.attempt = self.attempt.saturating_add(1);
                out.push(Output::Claim { asked_at: now, attempt: self.attempt });
                let give_up = now.saturating_add(self.claim_patience.current());
                self.phase = Phase::Claiming { asked_at: now, give_up };
            }
            Phase::Holding(reign) if matches!(reign.confirm, Confirm::Due(at) if now >= at) => {
                // Half of the time that is left: a call that hangs leaves room for another.
                let left = match reign.begun {
                    Some(_) => reign.renew_by().saturating_sub(now),
                    None => reign.timing.renew_deadline(),
                };
                let give_up = now.saturating_add((left / 2).max(reign.timing.retry()));
                reign.confirm = Confirm::Asked { asked_at: now, give_up };
                out.push(Output::Confirm { term: reign.term, asked_at: now });
            }
            _ => {}
        }
    }

    /// Says what this replica is, if that is news.
    fn announce(&mut self, out: &mut Vec<Output>) {
        if matches!(&self.phase, Phase::Holding(Reign { begun: Some(_), .. })) {
            return;
        }
        let role = match &self.seen {
            Leadership::Following { leader } => Announced::Following(leader.clone()),
            Leadership::Leading if self.resigned => Announced::Following(None),
            Leadership::Leading => Announced::Unknown(match &self.trouble {
                Some(trouble) => format!("named leader, but cannot lead: {trouble}"),
                None => "named leader, claiming a term".to_owned(),
            }),
            Leadership::Unknown { why } => Announced::Unknown(why.clone()),
        };
        if self.announced.as_ref() == Some(&role) {
            return;
        }
        out.push(match &role {
            Announced::Following(leader) => Output::Follow { leader: leader.clone() },
            Announced::Unknown(why) => Output::Unknown { why: why.clone() },
            Announced::Leading => return,
        });
        self.announced = Some(role);
    }
}

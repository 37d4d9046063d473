//! Until when this plugin may act, and for whom.
//!
//! What must hold: once [`Authority::check`] has failed it fails for ever; no renewal, however late it arrives and
//! whatever it says, brings an authority back. The deadline is counted from the moment an ask was *sent*, by a clock
//! that runs on while the machine sleeps, so neither transit nor a paused process stretches it.

use std::collections::VecDeque;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use om_api::clock::Clock;
use tokio_util::sync::CancellationToken;

use crate::Lapsed;

/// Why it is over.
struct End {
    why: String,
    agreed: bool,
}

/// The authority of one session.
pub(crate) struct Authority {
    term: u64,
    clock: Clock,
    /// When it runs out; `None` until the first renewal.
    deadline: Mutex<Option<Duration>>,
    ended: OnceLock<End>,
    /// Cancelled at the first renewal, and at the end.
    decided: CancellationToken,
    over: CancellationToken,
}

impl Authority {
    pub(crate) fn new(term: u64, clock: Clock) -> Self {
        let (deadline, ended) = (Mutex::new(None), OnceLock::new());
        let (decided, over) = (CancellationToken::new(), CancellationToken::new());
        Self { term, clock, deadline, ended, decided, over }
    }

    pub(crate) fn now(&self) -> Duration {
        (self.clock)()
    }

    /// The term, if the authority holds at this moment.
    pub(crate) fn check(&self) -> Result<u64, Lapsed> {
        if let Some(end) = self.ended.get() {
            return Err(Lapsed(end.why.clone()));
        }
        match self.deadline() {
            None => Err(Lapsed(format!("the manager has not yet confirmed term {}", self.term))),
            Some(deadline) if self.now() < deadline => Ok(self.term),
            Some(_) => {
                self.end(format!("term {} was not renewed before its deadline", self.term));
                Err(Lapsed(self.why_ended()))
            }
        }
    }

    /// When it runs out; `None` before the first renewal.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A confirmation: `remaining` from `sent` on. Only lengthens, and only what has not run out.
    pub(crate) fn renew(&self, sent: Duration, remaining: Duration) {
        let confirmed = self.deadline().is_some();
        if self.ended.get().is_some() || (confirmed && self.check().is_err()) {
            return;
        }
        let mut deadline = self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        let until = sent.saturating_add(remaining);
        if deadline.is_none_or(|earlier| earlier < until) {
            *deadline = Some(until);
        }
        drop(deadline);
        self.decided.cancel();
    }

    /// Returns when it was confirmed for the first time, or has ended.
    pub(crate) async fn decided(&self) {
        self.decided.cancelled().await;
    }

    /// Ends it for good. The first reason given stays.
    pub(crate) fn end(&self, why: impl Into<String>) {
        self.end_with(End { why: why.into(), agreed: false });
    }

    /// The same, by agreement with who gave it.
    pub(crate) fn give_back(&self, why: impl Into<String>) {
        self.end_with(End { why: why.into(), agreed: true });
    }

    fn end_with(&self, end: End) {
        let _ = self.ended.set(end);
        self.over.cancel();
        self.decided.cancel();
    }

    pub(crate) fn why_ended(&self) -> String {
        self.ended.get().map(|end| end.why.clone()).unwrap_or_default()
    }

    /// Whether it was given back, and had not ended before.
    pub(crate) fn was_given_back(&self) -> bool {
        self.ended.get().is_some_and(|end| end.agreed)
    }

    /// Cancelled when it has ended.
    pub(crate) fn over(&self) -> &CancellationToken {
        &self.over
    }
}

/// When to ask for the next renewal, and when which ask was sent.
pub(crate) struct Asks {
    every: Duration,
    last: u64,
    /// An ask is due then at the latest.
    latest: Duration,
    next: Duration,
    sent: VecDeque<(u64, Duration)>,
}

impl Asks {
    /// More unanswered asks than this are forgotten.
    const REMEMBERED: usize = 64;
    /// So many asks fit into one authority: one may go unanswered, and the next still comes in time.
    const EACH: u32 = 3;
    const SHORTEST: Duration = Duration::from_millis(2);

    /// Three asks an authority, as long as one lasts at most; the first at once.
    pub(crate) fn new(authority: Duration, now: Duration) -> Self {
        let every = (authority / Self::EACH).max(Self::SHORTEST);
        Self { every, last: 0, latest: now, next: now, sent: VecDeque::new() }
    }

    /// When the next ask is due.
    pub(crate) fn next(&self) -> Duration {
        self.next
    }

    /// The number of the ask that is due, taken to be sent now.
    pub(crate) fn due(&mut self, now: Duration) -> Option<u64> {
        if now < self.next {
            return None;
        }
        self.last += 1;
        self.latest = now + self.every;
        self.next = self.latest;
        self.sent.push_back((self.last, now));
        if self.sent.len() > Self::REMEMBERED {
            self.sent.pop_front();
        }
        Some(self.last)
    }

    /// When the ask was sent that is answered, for the first time or again; the ones before it are forgotten.
    pub(crate) fn answered(&mut self, ask: u64) -> Option<Duration> {
        while self.sent.front().is_some_and(|(number, _)| *number < ask) {
            self.sent.pop_front();
        }
        self.sent.front().filter(|(number, _)| *number == ask).map(|(_, sent)| *sent)
    }

    /// The authority was renewed until `deadline`: ask again when a third of what is left is left, if nothing is heard by
    /// then and no ask is due before.
    pub(crate) fn renewed(&mut self, deadline: Duration, now: Duration) {
        let left = deadline.saturating_sub(now);
        self.next = self.latest.min(now + (left - left / 3).max(Self::SHORTEST));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn on_a_hand_moved_clock() -> (Authority, Arc<AtomicU64>) {
        let hand = Arc::new(AtomicU64::new(1000));
        let read = hand.clone();
        let clock: Clock = Arc::new(move || Duration::from_millis(read.load(Ordering::SeqCst)));
        (Authority::new(3, clock), hand)
    }

    #[test]
    fn there_is_no_authority_before_the_first_renewal() {
        let (authority, _) = on_a_hand_moved_clock();
        assert!(authority.check().is_err());
        assert!(!authority.over().is_cancelled(), "it may still come");
        authority.renew(1000 * MS, 100 * MS);
        assert_eq!(authority.check(), Ok(3));
    }

    #[test]
    fn a_deadline_is_counted_from_the_sending_of_the_ask() {
        let (authority, hand) = on_a_hand_moved_clock();
        hand.store(1090, Ordering::SeqCst);
        authority.renew(1000 * MS, 100 * MS);
        assert_eq!(authority.check(), Ok(3));
        hand.store(1100, Ordering::SeqCst);
        assert!(authority.check().is_err());
    }

    #[test]
    fn a_passed_deadline_is_never_renewed() {
        let (authority, hand) = on_a_hand_moved_clock();
        authority.renew(1000 * MS, 100 * MS);
        hand.store(1100, Ordering::SeqCst);
        authority.renew(1099 * MS, 100 * MS);
        assert!(authority.check().is_err());
        assert!(authority.over().is_cancelled());
        authority.renew(1100 * MS, 1000 * MS);
        assert!(authority.check().is_err());
    }

    #[test]
    fn what_was_given_back_after_its_end_was_not_given_back() {
        let (authority, _) = on_a_hand_moved_clock();
        authority.end("the session broke");
        authority.give_back("released");
        assert!(!authority.was_given_back());
        assert_eq!(authority.why_ended(), "the session broke");
        let (authority, _) = on_a_hand_moved_clock();
        authority.give_back("released");
        authority.end("the manager went away");
        assert!(authority.was_given_back());
    }

    #[test]
    fn a_renewal_never_shortens() {
        let (authority, hand) = on_a_hand_moved_clock();
        authority.renew(1000 * MS, 100 * MS);
        authority.renew(1000 * MS, 10 * MS);
        hand.store(1050, Ordering::SeqCst);
        assert_eq!(authority.check(), Ok(3));
    }

    #[test]
    fn asks_come_three_times_an_authority_and_when_a_third_is_left() {
        let mut asks = Asks::new(600 * MS, Duration::ZERO);
        assert_eq!(asks.due(Duration::ZERO), Some(1));
        assert_eq!(asks.due(199 * MS), None);
        assert_eq!(asks.due(200 * MS), Some(2));
        assert_eq!(asks.answered(2), Some(200 * MS));
        asks.renewed(300 * MS, 210 * MS);
        assert_eq!(asks.next(), 270 * MS);
    }

    #[test]
    fn who_is_renewed_again_and_again_asks_no_more_often_for_it() {
        let mut asks = Asks::new(600 * MS, Duration::ZERO);
        assert_eq!(asks.due(Duration::ZERO), Some(1));
        asks.renewed(90 * MS, Duration::ZERO);
        assert_eq!(asks.next(), 60 * MS);
        asks.renewed(120 * MS, 30 * MS);
        assert_eq!(asks.next(), 90 * MS);
        asks.renewed(600 * MS, 150 * MS);
        assert_eq!(asks.next(), 200 * MS, "three times an authority all the same");
    }

    #[test]
    fn asks_leave_time_to_breathe() {
        let mut asks = Asks::new(MS, Duration::ZERO);
        asks.due(Duration::ZERO);
        assert_eq!(asks.next(), Asks::SHORTEST);
        let mut asks = Asks::new(1000 * MS, Duration::ZERO);
        asks.due(Duration::ZERO);
        asks.renewed(10 * MS, 10 * MS);
        assert_eq!(asks.next(), 10 * MS + Asks::SHORTEST);
    }

    #[test]
    fn only_an_ask_that_was_sent_counts_until_a_later_one_is_answered() {
        let mut asks = Asks::new(600 * MS, Duration::ZERO);
        for at in [0, 200, 400] {
            asks.due(at * MS);
        }
        assert_eq!(asks.answered(2), Some(200 * MS));
        assert_eq!(asks.answered(2), Some(200 * MS), "again");
        assert_eq!(asks.answered(1), None);
        assert_eq!(asks.answered(3), Some(400 * MS));
        assert_eq!(asks.answered(2), None);
        assert_eq!(asks.answered(7), None);
    }
}

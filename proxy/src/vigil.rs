//! Staying awake for what is expected at once.
//!
//! A thread that sleeps has to be woken by whoever has something for it: the other core is called, gets up, and changes from nothing
//! to the thread. For a short call that is more than all the rest of its way, and it is paid twice, for the question and
//! for the answer. So the thread of a [lane](crate::lane) looks again for up to a [`SPELL`] after it has written
//! to a connection that has been quick to answer before: where calls follow one another, or a plugin answers from memory.
//! A connection that was watched in vain is not watched for the next [`RESTS`] times; one whose answers take longer than
//! [`QUICK`], never. With one processor it would only keep the others from their work.

use std::cell::Cell;
use std::convert::Infallible;
use std::task::{Poll, Waker};
use std::time::Duration;

use om_api::clock::since_boot;

/// So long the thread stays awake.
const SPELL: Duration = Duration::from_micros(100);

/// What takes no longer than this with a sleep in it may well come within a [`SPELL`] without.
const QUICK: Duration = Duration::from_micros(200);

/// After a [`SPELL`] in vain, so many waits are slept through.
const RESTS: u8 = 16;

thread_local! {
    static UNTIL: Cell<Option<Duration>> = const { Cell::new(None) };
    static SLEEPER: Cell<Option<Waker>> = const { Cell::new(None) };
}

/// What one connection lets expect.
#[derive(Debug)]
pub(crate) struct Expectation {
    /// Since when something is expected.
    since: Option<Duration>,
    watched: bool,
    /// So many waits are slept through.
    rests: u8,
}

impl Expectation {
    pub(crate) fn new() -> Self {
        Self { since: None, watched: false, rests: RESTS }
    }

    /// Something was written: the thread stays awake for what comes back, if that is likely to come soon.
    pub(crate) fn wrote(&mut self) {
        if let Some(until) = self.wrote_at(since_boot()) {
            UNTIL.set(Some(until));
            if let Some(sleeper) = SLEEPER.take() {
                sleeper.wake();
            }
        }
    }

    /// Something came.
    pub(crate) fn read(&mut self) {
        if self.since.is_some() {
            self.read_at(since_boot());
        }
    }

    /// Until when to stay awake, if at all.
    fn wrote_at(&mut self, now: Duration) -> Option<Duration> {
        self.since = Some(now);
        self.watched = self.rests == 0;
        self.watched.then(|| now + SPELL)
    }

    fn read_at(&mut self, now: Duration) {
        let Some(since) = self.since.take() else { return };
        let took = now.saturating_sub(since);
        self.rests = match self.watched {
            true if took <= SPELL => 0,
            false if took <= QUICK => self.rests.saturating_sub(1),
            _ => RESTS,
        };
    }
}

/// Keeps the thread that this runs on awake while something is [expected](Expectation::wrote) there. For a runtime of
/// one thread: that one looks for what has come whenever this gives way.
pub(crate) async fn keep() -> Infallible {
    if std::thread::available_parallelism().is_ok_and(|processors| processors.get() < 2) {
        return std::future::pending().await;
    }
    loop {
        std::future::poll_fn(|context| {
            if UNTIL.get().is_some_and(|until| since_boot() < until) {
                return Poll::Ready(());
            }
            SLEEPER.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether each of these waits, which end so late, is watched.
    fn watched(expectation: &mut Expectation, waits: impl IntoIterator<Item = Duration>) -> Vec<bool> {
        let mut now = since_boot();
        let mut watch = |wait| {
            let until = expectation.wrote_at(now);
            assert!(until.is_none_or(|until| until == now + SPELL));
            now += wait;
            expectation.read_at(now);
            until.is_some()
        };
        waits.into_iter().map(&mut watch).collect()
    }

    const RESTED: usize = RESTS as usize;

    #[test]
    fn who_answers_at_once_is_watched_for_as_long_as_that_lasts() {
        let mut expectation = Expectation::new();
        let first = watched(&mut expectation, [QUICK; RESTED]);
        assert_eq!(first, [false; RESTED]);
        assert_eq!(watched(&mut expectation, [SPELL; 3]), [true; 3]);
        assert_eq!(watched(&mut expectation, [SPELL * 2, SPELL]), [true, false]);
    }

    #[test]
    fn who_takes_his_time_is_never_watched() {
        let mut expectation = Expectation::new();
        watched(&mut expectation, [QUICK; RESTED - 1]);
        assert!(!watched(&mut expectation, [QUICK * 2; 100]).contains(&true));
    }

    #[test]
    fn what_is_nearly_quick_enough_is_seldom_watched_in_vain() {
        let seen = watched(&mut Expectation::new(), [QUICK; 170]);
        assert_eq!(seen.into_iter().filter(|watched| *watched).count(), 10);
    }

    #[test]
    fn what_comes_unasked_says_nothing() {
        let mut expectation = Expectation::new();
        watched(&mut expectation, [QUICK; RESTED]);
        expectation.read_at(since_boot() + QUICK * 2);
        assert_eq!(watched(&mut expectation, [SPELL]), [true]);
    }
}

//! What is known of one member while it is looked after, beyond what is remembered.

use std::sync::Arc;
use std::time::Duration;

use tokio::process::Child;

use crate::group::Handle;
use crate::plan::{Stage, View};
use crate::spec::{Health, Restart, Spec};
use crate::state::Record;

/// Without a health check a member works once it has run for so long.
pub(crate) const SETTLED: Duration = Duration::from_millis(500);

/// A member that ran for less than this did not run for long, whatever `restart.max` says.
const LONG: Duration = Duration::from_secs(10);

/// What its process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    Up,
    Stopping,
    Stopped,
    Sweeping,
    /// Since boot: the moment of its next start.
    Down(Duration),
}

/// A member.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) doing: Doing,
    /// While it is up.
    pub(crate) handle: Option<Arc<Handle>>,
    /// Only if this program started it; taken along when its end is seen to.
    pub(crate) child: Option<Child>,
    /// Since boot: the moment from which on it runs.
    pub(crate) began: Duration,
    /// It ran before it was looked after here.
    pub(crate) adopted: bool,
    /// How its health is checked; `None`: not at all.
    pub(crate) health: Option<Health>,
    /// Number of the check's settings: looks made under other ones do not count.
    pub(crate) looks: u64,
    /// Whether its health check succeeds; `None`: not known yet.
    pub(crate) healthy: Option<bool>,
    /// Failed looks in a row.
    pub(crate) bad: u32,
    /// How often a process of it ended unasked.
    pub(crate) restarts: u32,
    /// How often in a row, without running for long.
    pub(crate) failures: u32,
    /// Its command never ran.
    pub(crate) never_ran: bool,
    /// Why it is as it is, for people; empty if all is well.
    pub(crate) why: String,
    /// Since boot: from when on its working by the declared spec is waited for.
    pub(crate) waiting: Option<Duration>,
}

impl Live {
    /// A member without a process.
    pub(crate) fn down(until: Duration) -> Self {
        Self {
            doing: Doing::Down(until),
            handle: None,
            child: None,
            began: until,
            adopted: false,
            health: None,
            looks: 0,
            healthy: None,
            bad: 0,
            restarts: 0,
            failures: 0,
            never_ran: false,
            why: String::new(),
            waiting: None,
        }
    }

    /// Whether it works.
    pub(crate) fn ready(&self, now: Duration) -> bool {
        self.doing == Doing::Up
            && match self.health {
                Some(_) => self.healthy == Some(true),
                None => self.ran(now) >= SETTLED,
            }
    }

    /// For how long it has been running.
    pub(crate) fn ran(&self, now: Duration) -> Duration {
        now.saturating_sub(self.began)
    }

    /// For the plan.
    pub(crate) fn view(&self, record: Option<&Record>, spec: &Spec, hash: &str, now: Duration) -> View {
        let stage = match self.doing {
            Doing::Up => {
                let ready = self.ready(now);
                let steady = self.failures == 0 || self.ran(now) >= long(spec.restart);
                Stage::Up { ready, proven: ready && steady }
            }
            Doing::Stopping => Stage::Stopping,
            Doing::Stopped => Stage::Stopped,
            Doing::Sweeping => Stage::Sweeping,
            Doing::Down(until) => Stage::Down { due: until <= now },
        };
        View { stage, current: record.is_none_or(|record| record.spec == hash && !record.restart) }
    }

    /// From now on its health is checked so; whether that is a change.
    pub(crate) fn check_by(&mut self, health: Option<Health>) -> bool {
        if self.health == health {
            return false;
        }
        self.health = health;
        self.looks += 1;
        (self.healthy, self.bad, self.adopted) = (None, 0, true);
        true
    }

    /// Takes in the result of a look; whether it changed anything.
    pub(crate) fn looked(&mut self, result: Result<(), String>) -> bool {
        let limit = self.health.as_ref().map_or(1, |health| health.failures);
        let before = (self.healthy, self.why.clone());
        match result {
            Ok(()) => {
                self.bad = 0;
                self.healthy = Some(true);
                self.why.clear();
            }
            Err(why) => {
                self.bad = self.bad.saturating_add(1);
                // One that starts has all the time of the update; one that worked, or ran before, has not.
                if self.bad >= limit && (self.healthy.is_some() || self.adopted) {
                    self.healthy = Some(false);
                }
                if self.healthy != Some(true) && self.failures == 0 {
                    self.why = why;
                }
            }
        }
        before != (self.healthy, self.why.clone())
    }

    /// It ended unasked, after running for so long.
    pub(crate) fn crashed(&mut self, ran: Duration, restart: Restart) {
        if ran >= long(restart) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.restarts = self.restarts.saturating_add(1);
    }

    /// When its state changes just because time passes.
    pub(crate) fn next_change(&self, spec: &Spec, now: Duration) -> Option<Duration> {
        let mut times = Vec::with_capacity(3);
        match self.doing {
            Doing::Down(until) => times.push(until),
            Doing::Up => {
                if self.health.is_none() {
                    times.push(self.began + SETTLED);
                }
                if self.failures > 0 {
                    times.push(self.began + long(spec.restart));
                }
            }
            _ => {}
        }
        times.extend(self.waiting.map(|since| since + spec.update.health_timeout.0));
        times.into_iter().filter(|at| *at > now).min()
    }
}

/// From when on a member has run for long.
pub(crate) fn long(restart: Restart) -> Duration {
    restart.max.0.max(LONG)
}

/// The wait after so many failures in a row.
pub(crate) fn back_off(restart: Restart, failures: u32) -> Duration {
    let doubled =
        2_u32.checked_pow(failures.saturating_sub(1)).and_then(|times| restart.min.0.checked_mul(times));
    doubled.map_or(restart.max.0, |wait| wait.min(restart.max.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Span;

    #[test]
    fn the_wait_doubles_up_to_its_limit() {
        let restart = Restart { min: Span::ms(100), max: Span::ms(1000) };
        let waits: Vec<_> =
            [1, 2, 3, 4, 5, 99].map(|failures| back_off(restart, failures).as_millis()).into();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn running_for_long_forgives_former_crashes() {
        let mut live = Live::down(Duration::ZERO);
        let restart = Restart::default();
        live.crashed(Duration::from_secs(1), restart);
        live.crashed(Duration::from_secs(1), restart);
        assert_eq!((live.failures, live.restarts), (2, 2));
        live.crashed(Duration::from_secs(11), restart);
        assert_eq!((live.failures, live.restarts), (1, 3));
    }

    #[test]
    fn only_so_many_failed_looks_in_a_row_make_a_working_member_unhealthy() {
        let health = serde_json::from_str(r#"{"tcp": 80, "failures": 3}"#).unwrap();
        let mut live = Live { health: Some(health), ..Live::down(Duration::ZERO) };
        let no = || Err("no".to_owned());
        for _ in 0..9 {
            live.looked(no());
        }
        assert_eq!((live.healthy, live.why.as_str()), (None, "no"), "it may still be starting");
        live.looked(Ok(()));
        live.looked(no());
        live.looked(no());
        assert_eq!((live.healthy, live.why.as_str()), (Some(true), ""));
        live.looked(no());
        assert_eq!(live.healthy, Some(false));
        live.looked(Ok(()));
        assert_eq!((live.healthy, live.why.as_str()), (Some(true), ""));
    }
}

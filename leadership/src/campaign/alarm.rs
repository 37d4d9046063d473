//! What wakes the campaign when something is due.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::Clock;

/// Rings at a moment of the campaign's clock.
pub struct Alarm(By);

enum By {
    Runtime,
    Machine { timer: AsyncFd<OwnedFd>, set: Option<Duration> },
}

impl Alarm {
    /// By the runtime's timers, for any clock.
    #[must_use]
    pub fn runtime() -> Self {
        Self(By::Runtime)
    }

    /// By a timer of the machine's own, for a campaign whose clock is `CLOCK_BOOTTIME`. It wakes the process once, where one of the
    /// runtime's that is more than 64 ms away wakes it a second time before, to be put into finer order; and it knows
    /// how long the machine has slept. To be called within a runtime.
    ///
    /// # Errors
    /// The system has no timer to spare.
    pub fn machine() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; what that asks for holds: the descriptor is owned, and stays the same"
        )]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Self(By::Machine { timer, set: None }))
    }

    /// Returns at that moment of the campaign's clock, or at once if it is past.
    pub(super) async fn rings(&mut self, at: Duration, clock: &Clock) -> io::Result<()> {
        match &mut self.0 {
            By::Runtime => tokio::time::sleep(at.saturating_sub(clock())).await,
            By::Machine { timer, set } => {
                if *set != Some(at) {
                    timerfd_settime(timer.get_ref(), TimerfdTimerFlags::ABSTIME, &once(at))?;
                    *set = Some(at);
                }
                while clock() < at {
                    timer.readable().await?.clear_ready();
                }
            }
        }
        Ok(())
    }
}

fn once(at: Duration) -> Itimerspec {
    // A time of zero would disarm it.
    let at = at.max(Duration::from_nanos(1));
    let at = Timespec {
        tv_sec: i64::try_from(at.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: at.subsec_nanos().into(),
    };
    Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustix::time::{ClockId, clock_gettime};

    use super::*;

    fn boot() -> Clock {
        Arc::new(|| Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap())
    }

    #[tokio::test]
    async fn it_rings_in_its_time_again_and_again_whatever_was_waited_for_before() {
        let (mut alarm, clock) = (Alarm::machine().unwrap(), boot());
        let soon = |after: u64| clock() + Duration::from_millis(after);
        for after in [3, 80, 0, 20] {
            let at = soon(after);
            alarm.rings(at, &clock).await.unwrap();
            assert!(clock() >= at);
            // What is past rings at once, however often.
            alarm.rings(at, &clock).await.unwrap();
        }
        // One that nobody waited for any more, a later one, and a sooner one.
        let far = soon(3_600_000);
        let forgotten = tokio::time::timeout(Duration::from_millis(5), alarm.rings(far, &clock)).await;
        assert!(forgotten.is_err(), "an hour has not passed");
        let past = soon(2);
        let dropped = tokio::time::timeout(Duration::ZERO, alarm.rings(past, &clock)).await;
        assert!(dropped.is_err());
        while clock() < past {
            std::thread::yield_now();
        }
        let last = soon(30);
        alarm.rings(last, &clock).await.unwrap();
        assert!(clock() >= last);
    }
}

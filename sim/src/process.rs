//! A process of the world: a runtime of one thread with a clock of its own, that is run tick by tick, stopped, or killed.
//!
//! All that a process does runs on its runtime, and nothing else does; so to kill it is to drop the runtime, and to stop
//! it is not to run it: its clock has gone on when it comes back, its timers have not been looked at.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use om_api::clock::Clock;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::fate;
use crate::hub::{Hub, Pid, Place};

pub(crate) struct Process {
    pid: Pid,
    name: String,
    hub: Hub,
    runtime: Runtime,
    stop: CancellationToken,
    ended: Arc<AtomicBool>,
    /// Its seconds in a million of the world's.
    rate: u32,
    /// When it began, by the world's clock and by its own.
    begun: (Duration, Instant),
    /// How far it has been run.
    at: Duration,
    stopped_until: Option<Duration>,
}

/// What a process is started with.
#[derive(Clone)]
pub(crate) struct Life {
    pub(crate) hub: Hub,
    pub(crate) pid: Pid,
    pub(crate) place: Place,
    /// Its own clock.
    pub(crate) clock: Clock,
    /// Cancelled when it is to stop in order.
    pub(crate) stop: CancellationToken,
}

impl Process {
    /// Starts a program.
    pub(crate) fn start<F: Future<Output = ()> + Send + 'static>(
        hub: &Hub,
        (pid, place, name): (Pid, Place, String),
        rate: u32,
        offset: Duration,
        program: impl FnOnce(Life) -> F,
    ) -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let entered = runtime.enter();
        let origin = Instant::now();
        let clock: Clock = Arc::new(move || offset + Instant::now().saturating_duration_since(origin));
        let stop = CancellationToken::new();
        let life = Life { hub: hub.clone(), pid, place, clock, stop: stop.clone() };
        let (own, ended) = (hub.clone(), Arc::new(AtomicBool::new(false)));
        let (over, program) = (ended.clone(), program(life));
        drop(entered);
        runtime.spawn(async move {
            program.await;
            own.unbind(pid, true);
            over.store(true, Ordering::SeqCst);
        });
        hub.say(format_args!("start {name} {pid:?}"));
        let at = hub.now();
        let hub = hub.clone();
        let begun = (at, origin);
        Ok(Self { pid, name, hub, runtime, stop, ended, rate, begun, at, stopped_until: None })
    }

    /// Runs it until the world's time is `until`.
    pub(crate) fn run(&mut self, until: Duration) {
        let mut slept = Duration::ZERO;
        if let Some(resumes) = self.stopped_until {
            if until < resumes {
                return;
            }
            slept = resumes.saturating_sub(self.at);
            self.at = self.at.max(resumes);
            self.stopped_until = None;
            self.hub.say(format_args!("resume {} {:?}", self.name, self.pid));
        }
        fate::tell_time(self.at);
        let (hub, at, rate) = (&self.hub, self.at, self.rate);
        let local = |time: Duration| time.mul_f64(f64::from(rate) / 1e6);
        let target = self.begun.1 + local(until.saturating_sub(self.begun.0));
        self.runtime.block_on(async {
            hub.run(at, Instant::now() + local(slept), rate);
            if !slept.is_zero() {
                tokio::time::advance(local(slept)).await;
            }
            // sleeps: this is how the time of the process passes
            tokio::time::sleep_until(target).await;
        });
        self.hub.rest();
        self.at = until;
    }

    /// It is not run for a while.
    pub(crate) fn pause(&mut self, time: Duration) {
        self.hub.say(format_args!("stop {} {:?} for {time:?}", self.name, self.pid));
        let until = self.hub.now() + time;
        self.stopped_until = Some(self.stopped_until.unwrap_or_default().max(until));
    }

    /// It goes on at once, if it was stopped.
    pub(crate) fn resume(&mut self) {
        let now = self.hub.now();
        self.stopped_until = self.stopped_until.map(|until| until.min(now));
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.stopped_until.is_some()
    }

    /// Asks it to stop in order.
    pub(crate) fn terminate(&self) {
        self.hub.say(format_args!("terminate {} {:?}", self.name, self.pid));
        self.stop.cancel();
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Ends it at once.
    pub(crate) fn kill(self) {
        self.hub.say(format_args!("kill {} {:?}", self.name, self.pid));
        self.hub.unbind(self.pid, false);
        drop(self.runtime);
    }
}

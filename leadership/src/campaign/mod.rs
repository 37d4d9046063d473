//! The one task that owns the elector, and the mandate it leads under.
//!
//! What must hold:
//!
//! * No question to the office delays detection or the deadline: each runs in a task of its own, at most one at a time,
//!   and is dropped when the elector gives up on it. Its answer is of no use then, even if it comes.
//! * On losing, the mandate is ended first; then the standing says so. Whoever reads the standing never sees a follower
//!   whose mandate still counts.
//! * However the task ends (stopped, dropped, panicked), the mandate ends with it.

mod alarm;
mod post;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

pub use self::alarm::Alarm;
use self::post::Post;
use crate::{Clock, Detector, Elector, Input, Leadership, Office, OfficeError, Output, Standing, Timing};

/// Runs for leadership, and leads while it is confirmed. Dropped, it ends at once and without telling the detector.
pub struct Campaign {
    standing: watch::Receiver<Standing>,
    orders: mpsc::Sender<Order>,
    detector: Arc<dyn Detector>,
    timing: Timing,
    task: JoinSet<()>,
}

enum Order {
    /// Answered when the mandate is over and the standing says so.
    Resign(oneshot::Sender<()>),
}

impl Campaign {
    /// Starts the campaign, woken by an alarm that fits the clock. To be called within a tokio runtime with time enabled.
    #[must_use]
    pub fn start(
        detector: Arc<dyn Detector>,
        office: Arc<dyn Office>,
        timing: Timing,
        (clock, alarm): (Clock, Alarm),
    ) -> Self {
        let (orders, inbox) = mpsc::channel(8);
        let (post, standing) = Post::new(Arc::clone(&clock));
        let runner = Runner {
            elector: Elector::new(timing),
            observations: detector.leadership(),
            seeing: true,
            office,
            clock,
            alarm,
            post,
            asking: JoinSet::new(),
            asked: None,
            last_complaint: None,
        };
        let mut task = JoinSet::new();
        task.spawn(runner.run(inbox));
        Self { standing, orders, detector, timing, task }
    }

    /// What this replica is now, and every change of it. Closed when the campaign has ended.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Ends the reign, then tells the detector. Stays a follower until somebody else, or nobody, was named and then
    /// this replica again. Idempotent. Returns at the latest a `ttl` after the reign has ended.
    pub async fn resign(&self) {
        let (done, ended) = oneshot::channel();
        if self.orders.send(Order::Resign(done)).await.is_ok() {
            // An error means that the task is gone, and the mandate with it.
            let _ = ended.await;
        }
        if tokio::time::timeout(self.timing.ttl(), self.detector.resign()).await.is_err() {
            tracing::warn!(detector = %self.detector.describe(), "the detector could not be told of the resignation in time");
        }
    }

    /// Resigns for good.
    pub async fn stop(mut self) {
        self.resign().await;
        self.task.shutdown().await;
    }
}

/// The question under way.
enum Question {
    Claim,
    Confirm(u64),
}

struct Runner {
    elector: Elector,
    observations: watch::Receiver<Leadership>,
    /// False once the detector has ended.
    seeing: bool,
    office: Arc<dyn Office>,
    clock: Clock,
    alarm: Alarm,
    post: Post,
    asking: JoinSet<Input>,
    asked: Option<(Question, Duration)>,
    last_complaint: Option<String>,
}

impl Runner {
    async fn run(mut self, mut inbox: mpsc::Receiver<Order>) {
        let first = self.observations.borrow_and_update().clone();
        self.step(Input::Detected(first));
        loop {
            let due = self.elector.wake_at();
            tokio::select! {
                biased;
                rang = self.alarm.rings(due.unwrap_or_default(), &self.clock), if due.is_some() => {
                    if let Err(broken) = rang {
                        tracing::warn!(%broken, "the machine's timer failed, the runtime's does it");
                        self.alarm = Alarm::runtime();
                    }
                    self.step(Input::Tick);
                }
                order = inbox.recv() => match order {
                    Some(Order::Resign(done)) => {
                        self.step(Input::Resign);
                        let _ = done.send(());
                    }
                    None => return,
                },
                changed = self.observations.changed(), if self.seeing => {
                    self.seeing = changed.is_ok();
                    let seen = if self.seeing {
                        self.observations.borrow_and_update().clone()
                    } else {
                        Leadership::Unknown { why: "the detector has ended".to_owned() }
                    };
                    self.step(Input::Detected(seen));
                }
                Some(answer) = self.asking.join_next(), if !self.asking.is_empty() => {
                    let answer = match answer {
                        Ok(answer) => Some(answer),
                        Err(broken) => self.broken(&broken),
                    };
                    if let Some(answer) = answer {
                        self.step(answer);
                    }
                }
            }
        }
    }

    /// An answer that will not come, since the office panicked.
    fn broken(&mut self, broken: &tokio::task::JoinError) -> Option<Input> {
        let (question, asked_at) = self.asked.take()?;
        let error = OfficeError::Unavailable(format!("the store's task ended without an answer: {broken}"));
        Some(match question {
            Question::Claim => Input::ClaimFailed { asked_at, error },
            Question::Confirm(term) => Input::ConfirmFailed { term, asked_at, error },
        })
    }

    fn step(&mut self, input: Input) {
        self.log_input(&input);
        self.decide(input);
    }

    fn decide(&mut self, input: Input) {
        let now = (self.clock)();
        for output in self.elector.step(now, input) {
            self.perform(output);
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Claim { asked_at, attempt } => {
                if attempt == 1 {
                    tracing::info!("assuming leadership");
                } else {
                    tracing::debug!(attempt, "asking for a term again");
                }
                let office = Arc::clone(&self.office);
                self.put(Question::Claim, asked_at, async move {
                    match office.claim().await {
                        Ok(term) => Input::ClaimGranted { term, asked_at },
                        Err(error) => Input::ClaimFailed { asked_at, error },
                    }
                });
            }
            Output::Confirm { term, asked_at } => {
                let office = Arc::clone(&self.office);
                self.put(Question::Confirm(term), asked_at, async move {
                    match office.confirm(term).await {
                        Ok(lasts) => Input::Confirmed { term, asked_at, lasts },
                        Err(error) => Input::ConfirmFailed { term, asked_at, error },
                    }
                });
            }
            Output::Abandon => self.drop_question(),
            Output::Begin { term, deadline } => {
                tracing::info!(term, "leading");
                self.last_complaint = None;
                self.post.begin(term, deadline);
            }
            Output::Extend { term, deadline } => {
                tracing::trace!(term, ?deadline, "leadership confirmed");
                self.last_complaint = None;
                self.post.extend(deadline);
            }
            Output::End { term, why } => {
                // First the word: whoever acts on the end logs what it does about it.
                tracing::info!(term, reason = %why, "lost leadership");
                self.post.end();
                self.drop_question();
            }
            Output::Follow { leader } => self.post.publish(Standing::Following { leader }),
            Output::Unknown { why } => self.post.publish(Standing::Unknown { why }),
        }
    }

    fn put(
        &mut self,
        question: Question,
        asked_at: Duration,
        call: impl Future<Output = Input> + Send + 'static,
    ) {
        self.drop_question();
        self.asked = Some((question, asked_at));
        self.asking.spawn(call);
    }

    fn drop_question(&mut self) {
        // A new set and not `abort_all`: the dropped one's answer is not even read.
        self.asking = JoinSet::new();
        self.asked = None;
    }

    fn log_input(&mut self, input: &Input) {
        let (complaint, grave) = match input {
            // That it has not looked yet is no complaint.
            Input::Detected(Leadership::Unknown { why }) if why == Leadership::NOT_LOOKED => return,
            Input::Detected(Leadership::Unknown { why }) => (format!("cannot tell who leads: {why}"), false),
            Input::ClaimFailed { error: OfficeError::Refused(why), .. } => {
                (format!("cannot lead: {why}"), true)
            }
            Input::ClaimFailed { error, .. } => (format!("cannot lead: {error}"), false),
            Input::ConfirmFailed { error: OfficeError::Unavailable(why), .. } => {
                (format!("cannot confirm the leadership: {why}"), false)
            }
            _ => return,
        };
        if self.last_complaint.as_ref() == Some(&complaint) {
            tracing::debug!("{complaint}");
            return;
        }
        if grave {
            tracing::error!("{complaint}");
        } else {
            tracing::warn!("{complaint}");
        }
        self.last_complaint = Some(complaint);
    }
}

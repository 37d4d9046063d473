//! The tasks that work on one service: what looks after it or tears it down, and its changing actions.
//!
//! What must hold: of one service's crews, also across sessions, at most one works at a time. A crew begins when the
//! one before it is gone; a plugin that blocks a thread and so does not stop holds up its own service, nothing else.
//! Crews are stopped one by one: that a session is over, every permit says at once.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) struct Crew {
    /// The number of its session.
    session: u64,
    over: CancellationToken,
    tasks: TaskTracker,
    before: Mutex<Option<Arc<Crew>>>,
}

impl Crew {
    /// A crew of this session, after `before`, which is to stop.
    pub(crate) fn new(session: u64, before: Option<Arc<Self>>) -> Arc<Self> {
        let before = before.filter(|crew| !crew.is_gone()).inspect(|crew| crew.stop());
        let (over, tasks) = (CancellationToken::new(), TaskTracker::new());
        Arc::new(Self { session, over, tasks, before: Mutex::new(before) })
    }

    /// Cancelled when this crew must stop.
    pub(crate) fn over(&self) -> &CancellationToken {
        &self.over
    }

    /// Whether an earlier crew of the service still has to go.
    pub(crate) fn waits(&self) -> bool {
        self.earlier().is_some_and(|crew| !crew.is_gone())
    }

    fn earlier(&self) -> Option<Arc<Self>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts a member of the crew, as soon as the crew before is gone and unless this one is over by then.
    pub(crate) fn spawn_on<F>(self: &Arc<Self>, works: &Handle, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let crew = self.clone();
        // Else there is room for it twice in the member: for what is handed over, and for what is waited for.
        let work = Box::pin(work);
        let member = async move {
            // Also when over meanwhile: whoever waits for this crew waits for the one before it too.
            if let Some(earlier) = crew.earlier() {
                earlier.gone().await;
                crew.before.lock().unwrap_or_else(PoisonError::into_inner).take();
            }
            if !crew.over.is_cancelled() {
                work.await;
            }
        };
        self.tasks.spawn_on(member, works);
    }

    /// Tells the crew to stop.
    pub(crate) fn stop(&self) {
        self.over.cancel();
    }

    /// Returns when every task of a stopped crew, and of those before it, has been dropped.
    pub(crate) async fn gone(&self) {
        self.ended().await;
        // One that has no member yet has waited for nobody.
        let mut before = self.earlier();
        while let Some(crew) = before {
            crew.ended().await;
            before = crew.earlier();
        }
    }

    async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Whether nothing runs, of it and of those before it.
    pub(crate) fn is_gone(&self) -> bool {
        self.tasks.is_empty() && !self.waits()
    }

    /// Of this crew and those before it the newest of a session up to this one that is not gone.
    pub(crate) fn at_work(self: &Arc<Self>, session: u64) -> Option<Arc<Self>> {
        if self.is_gone() {
            return None;
        }
        if self.session <= session { Some(self.clone()) } else { self.earlier()?.at_work(session) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_crew_begins_when_the_one_before_is_gone() {
        let leave = CancellationToken::new();
        let first = Crew::new(1, None);
        first.spawn_on(&Handle::current(), leave.clone().cancelled_owned());
        tokio::task::yield_now().await;
        let second = Crew::new(2, Some(first.clone()));
        let began = Arc::new(AtomicBool::new(false));
        let mark = began.clone();
        second.spawn_on(&Handle::current(), async move { mark.store(true, Ordering::SeqCst) });
        tokio::task::yield_now().await;
        assert!(second.waits() && !began.load(Ordering::SeqCst));
        assert!(first.over().is_cancelled(), "it is in the way");
        let hidden = second.at_work(1).expect("it is not gone");
        assert!(Arc::ptr_eq(&hidden, &first));
        leave.cancel();
        second.gone().await;
        assert!(began.load(Ordering::SeqCst) && first.is_gone() && second.at_work(2).is_none());
    }

    #[tokio::test]
    async fn between_two_crews_one_that_never_had_a_member_hides_nothing() {
        let leave = CancellationToken::new();
        let first = Crew::new(1, None);
        first.spawn_on(&Handle::current(), leave.clone().cancelled_owned());
        tokio::task::yield_now().await;
        let between = Crew::new(2, Some(first));
        let third = Crew::new(3, Some(between.clone()));
        let began = Arc::new(AtomicBool::new(false));
        let mark = began.clone();
        third.spawn_on(&Handle::current(), async move { mark.store(true, Ordering::SeqCst) });
        tokio::task::yield_now().await;
        assert!(!began.load(Ordering::SeqCst) && third.at_work(2).is_some());
        between.spawn_on(&Handle::current(), async { unreachable!("it is over") });
        leave.cancel();
        third.gone().await;
        assert!(began.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn a_crew_that_ended_while_waiting_is_gone_only_after_the_one_before() {
        let leave = CancellationToken::new();
        let first = Crew::new(1, None);
        first.spawn_on(&Handle::current(), leave.clone().cancelled_owned());
        tokio::task::yield_now().await;
        let second = Crew::new(1, Some(first));
        second.spawn_on(&Handle::current(), async { unreachable!("it was over before its turn") });
        second.stop();
        tokio::task::yield_now().await;
        assert!(!second.is_gone());
        leave.cancel();
        second.gone().await;
    }
}

//! Runs a plugin's own code so that it can neither outlive its authority nor take others down.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::{Failed, Service};

/// How a piece of a plugin's work ended.
#[derive(Debug)]
pub(crate) enum Ended<T> {
    /// By itself.
    Returned(Result<T, Failed>),
    /// It panicked, with this message.
    Panicked(String),
    /// It was stopped: the authority or the service's crew is over.
    Stopped,
}

impl<T> Ended<T> {
    /// The result, with a panic as a failure; `None` if it was stopped.
    pub(crate) fn result(self) -> Option<Result<T, Failed>> {
        match self {
            Self::Returned(result) => Some(result),
            Self::Panicked(message) => Some(Err(Failed(format!("the plugin panicked: {message}")))),
            Self::Stopped => None,
        }
    }
}

/// Runs `work` while `service` may be acted upon. The permit is checked before *every* poll, so after a pause of the
/// whole process not one more step is taken; the work is dropped before this returns.
pub(crate) async fn while_permitted<T>(
    service: &Service,
    work: impl Future<Output = Result<T, Failed>>,
) -> Ended<T> {
    let mut work = Box::pin(work);
    let mut over = pin!(service.crew().over().cancelled());
    let ended = poll_fn(|context| {
        if over.as_mut().poll(context).is_ready() || service.permit().is_err() {
            return Poll::Ready(Ended::Stopped);
        }
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ended::Returned),
            Err(panic) => Poll::Ready(Ended::Panicked(text(&*panic))),
        }
    })
    .await;
    // What it drops may panic too; that changes nothing any more.
    let _ = caught_call(move || drop(work));
    ended
}

/// Catches the panics of work that needs no authority.
pub(crate) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let mut work = Box::pin(work);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(text(&*panic))),
    })
    .await
}

/// Catches the panic of a plain call.
pub(crate) fn caught_call<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| text(&*panic))
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

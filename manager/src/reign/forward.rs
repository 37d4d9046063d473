//! What was declared goes to its plugin, until the plugin has taken it.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use om_api::{Error, Reason, v1};
use tonic::Response;
use tracing::{debug, warn};

use super::{PLUGIN_PATIENCE, Reign, Session};
use crate::board::Standing;
use crate::errors;
use crate::records::{Stored, state_of};

/// How many services of one plugin are committed at the same time.
const AT_ONCE: usize = 64;
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// The services that are tried again, with the number of failures so far.
#[derive(Default)]
pub(super) struct Retries(Mutex<HashMap<String, Retry>>);

#[derive(Default)]
struct Retry {
    failures: u32,
    scheduled: bool,
}

impl Retries {
    /// One more failure. The wait before the next try, or `None` if one is scheduled already.
    fn failed(&self, service: &str) -> Option<Duration> {
        let mut retries = self.lock();
        let retry = retries.entry(service.to_owned()).or_default();
        if retry.scheduled {
            return None;
        }
        let wait = FIRST_RETRY.saturating_mul(1 << retry.failures.min(16)).min(LAST_RETRY);
        retry.failures = retry.failures.saturating_add(1);
        retry.scheduled = true;
        Some(wait)
    }

    fn due(&self, service: &str) {
        if let Some(retry) = self.lock().get_mut(service) {
            retry.scheduled = false;
        }
    }

    pub(super) fn forget(&self, service: &str) {
        self.lock().remove(service);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Retry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reign {
    /// Brings many services to their plugins, many at once. One that fails does not hold up the others.
    pub(super) async fn look_after_all(&self, names: impl Stream<Item = String> + Send) {
        names.for_each_concurrent(AT_ONCE, |name| async move { self.look_after(&name).await }).await;
    }

    /// Brings one service to its plugin as it is stored now: declared, freed or to be torn down. A failure is noted, and
    /// tried again later.
    pub(super) async fn look_after(&self, name: &str) {
        let lock = self.0.locks.hold(name).await;
        match self.service(name) {
            Ok(Some(stored)) if stored.destroying => {
                drop(lock);
                self.tear_down(name);
            }
            Ok(Some(stored)) => self.forward(&stored).await,
            Ok(None) => {
                self.0.retries.forget(name);
                self.0.board.forget(name);
                if let Ok(Some(freed)) = self.freed(name) {
                    self.let_go(&freed.declaration.kind, name).await;
                }
            }
            Err(error) => warn!(service = name, %error, "cannot be looked after"),
        }
    }

    /// The same under the service's lock, which the caller holds.
    pub(super) async fn forward(&self, stored: &Stored) {
        let name = stored.declaration.name.as_str();
        debug!(service = name, revision = stored.revision, "committing service {name}");
        let (answer, session) = match self.try_forward(stored).await {
            Ok(taken) => taken,
            Err(error) => return self.postpone(stored, &error),
        };
        let phase = v1::Phase::try_from(answer.phase).unwrap_or(v1::Phase::Pending);
        let standing =
            Standing { revision: stored.revision, phase, message: answer.message.into(), attended: true };
        if self.0.board.answered(name, standing, &session.closed) {
            self.0.retries.forget(name);
        } else {
            self.postpone(stored, &errors::unavailable(&session.plugin, "it was lost as it answered"));
        }
    }

    /// The plugin's answer, and the session that it was asked in.
    async fn try_forward(&self, stored: &Stored) -> Result<(v1::CommitResponse, Session), Error> {
        let session = self.session(&stored.declaration.kind).await?;
        let state = state_of(self.0.realm.store.view(), &stored.declaration.name);
        let message = || v1::CommitRequest {
            service: Some(stored.declaration.clone()),
            revision: stored.revision,
            state: state.clone(),
            ..Default::default()
        };
        let asking = async {
            if let Some(answer) = session.commit_stream.ask(self, &session, message).await {
                return answer;
            }
            let mut client = session.client();
            client.commit(self.stamped(message(), PLUGIN_PATIENCE)).await.map(Response::into_inner)
        };
        match tokio::time::timeout(PLUGIN_PATIENCE, asking).await {
            Ok(Ok(answer)) => Ok((answer, session)),
            Ok(Err(status)) => Err(errors::of_plugin(&session.plugin, &status)),
            Err(_) => {
                // Whatever does not answer there is not to hold up the others.
                session.commit_stream.by_calls();
                Err(errors::unavailable(&session.plugin, &format!("no answer within {PLUGIN_PATIENCE:?}")))
            }
        }
    }

    /// Notes that a service could not be brought to its plugin, and tries again later.
    pub(super) fn postpone(&self, stored: &Stored, error: &Error) {
        let name = stored.declaration.name.clone();
        let phase = match (stored.destroying, error.reason) {
            (true, _) => v1::Phase::Destroying,
            (false, Reason::InvalidSpec) => v1::Phase::Failed,
            (false, _) => v1::Phase::Pending,
        };
        let message = error.message.clone();
        let standing =
            Standing { revision: stored.revision, phase, message: message.into(), attended: false };
        self.0.board.set(&name, standing);
        let Some(wait) = self.0.retries.failed(&name) else { return };
        debug!(service = name, %error, ?wait, "not taken by its plugin; tried again");
        self.spawn(again(self.clone(), name, wait));
    }
}

/// The next try. Boxed, because a try may lead to a next one.
fn again(reign: Reign, name: String, wait: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        tokio::time::sleep(wait).await;
        reign.0.retries.due(&name);
        reign.look_after(&name).await;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_and_one_try_is_scheduled_at_a_time() {
        let retries = Retries::default();
        assert_eq!(retries.failed("a"), Some(FIRST_RETRY));
        assert_eq!(retries.failed("a"), None);
        retries.due("a");
        assert_eq!(retries.failed("a"), Some(FIRST_RETRY * 2));
        for _ in 0..40 {
            retries.due("a");
            retries.failed("a");
        }
        retries.due("a");
        assert_eq!(retries.failed("a"), Some(LAST_RETRY));
        retries.forget("a");
        assert_eq!(retries.failed("a"), Some(FIRST_RETRY));
    }
}

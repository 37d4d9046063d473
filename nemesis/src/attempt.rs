//! One attempt of a call at one replica, and what its answer says for certain.

use std::path::Path;
use std::time::Duration;

use om_api::v1::service_plugin_client::ServicePluginClient;
use om_api::{Error, MAX_MESSAGE_BYTES, Reason, v1};
use om_checker::{Answer, Named, Seen};
use om_system_tests::{Spec, channel};
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Response, Status};

/// What a client wants, under one request id.
#[derive(Clone)]
pub(crate) enum Wish {
    Commit(v1::CommitRequest),
    Free(v1::FreeRequest),
    Destroy(v1::DestroyRequest),
}

/// What one attempt comes to.
pub(crate) enum Attempt {
    /// It took effect, now or at an earlier attempt.
    Done(Answer),
    /// It cannot be.
    Never(Answer),
    /// Nothing was done; it may be asked again. Who leads instead, if that was said.
    Refused(String, Option<Named>),
    /// Nobody knows.
    Unclear,
}

/// A replica as clients see it.
#[derive(Clone)]
pub(crate) struct Replica {
    pub(crate) name: &'static str,
    services: ServicePluginClient<Channel>,
}

impl Replica {
    /// Within a runtime.
    pub(crate) fn at(name: &'static str, socket: &Path) -> Self {
        let services = ServicePluginClient::new(channel(socket.to_owned()));
        Self { name, services: services.max_decoding_message_size(MAX_MESSAGE_BYTES) }
    }

    /// Asks, and waits so long for the answer.
    pub(crate) async fn ask(&self, wish: &Wish, patience: Duration) -> Attempt {
        let mut services = self.services.clone();
        match wish.clone() {
            Wish::Commit(request) => judge(timeout(patience, services.commit(request)).await, |told| {
                Answer::Committed { revision: told.revision, changed: told.changed }
            }),
            Wish::Free(request) => judge(timeout(patience, services.free(request)).await, |told| {
                Answer::Freed { revision: told.revision }
            }),
            Wish::Destroy(request) => judge(timeout(patience, services.destroy(request)).await, |told| {
                Answer::Destroyed { revision: told.revision, done: told.done }
            }),
        }
    }

    /// All services, in one page.
    pub(crate) async fn list(&self, patience: Duration) -> Option<Vec<v1::Summary>> {
        let mut services = self.services.clone();
        let request = v1::ListRequest { page_size: 1000, ..Default::default() };
        let answer = timeout(patience, services.list(request)).await.ok()?.ok()?.into_inner();
        answer.next_page_token.is_empty().then_some(answer.services)
    }

    /// Opens a watch of everything.
    pub(crate) async fn watch(
        &self,
        after: Option<u64>,
        patience: Duration,
    ) -> Result<tonic::Streaming<v1::WatchResponse>, Option<Reason>> {
        let mut services = self.services.clone();
        let request = v1::WatchRequest { name: String::new(), after_revision: after };
        match timeout(patience, services.watch(request)).await {
            Ok(Ok(stream)) => Ok(stream.into_inner()),
            Ok(Err(status)) => Err(Error::from_status(&status).map(|error| error.reason)),
            Err(_) => Err(None),
        }
    }
}

fn judge<T>(
    answer: Result<Result<Response<T>, Status>, tokio::time::error::Elapsed>,
    done: impl FnOnce(T) -> Answer,
) -> Attempt {
    let status = match answer {
        Err(_) => return Attempt::Unclear,
        Ok(Ok(answer)) => return Attempt::Done(done(answer.into_inner())),
        Ok(Err(status)) => status,
    };
    let Some(error) = Error::from_status(&status) else { return Attempt::Unclear };
    let said = |key: &str| error.metadata.get(key).cloned().unwrap_or_default();
    let reason = error.reason.as_str().to_owned();
    match error.reason {
        Reason::Unclear => Attempt::Unclear,
        Reason::RevisionConflict => match said("revision").parse() {
            Ok(stands_at) => Attempt::Never(Answer::Conflict { stands_at }),
            Err(_) => Attempt::Unclear,
        },
        Reason::NotFound => Attempt::Never(Answer::NotFound),
        // Being destroyed.
        Reason::Refused => Attempt::Never(Answer::Refused { reason, leader: None }),
        Reason::NotLeader => {
            let term = said("term").parse().unwrap_or(0);
            Attempt::Refused(reason, Some(Named { name: said("leader"), endpoint: said("endpoint"), term }))
        }
        _ => Attempt::Refused(format!("{reason}: {}", error.message), None),
    }
}

/// How a listed service stands: its value is in its label `value`.
pub(crate) fn seen(summary: &v1::Summary) -> Seen {
    let value = summary.labels.get(VALUE).and_then(|value| value.parse().ok()).unwrap_or(0);
    let destroying = summary.phase() == v1::Phase::Destroying;
    Seen { value, revision: summary.revision, destroying }
}

/// The label that makes a declaration another than all others.
const VALUE: &str = "value";

/// A commit of this service with a value of its own.
pub(crate) fn commit(spec: &Spec, value: u64, if_revision: Option<u64>) -> Wish {
    let mut request = spec.clone().label(VALUE, value).commit();
    request.if_revision = if_revision;
    Wish::Commit(request)
}

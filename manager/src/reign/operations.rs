//! Durable runs of changing actions: recorded before the plugin hears of them, and when they end.

use futures_util::StreamExt;
use om_api::clock::wall_unix_ms;
use om_api::{Error, Reason, v1};
use om_store::Change;
use prost::Message;
use tokio::sync::mpsc;
use tonic::{Request, Status};
use tracing::warn;
use uuid::Uuid;

use super::{Reign, Session};
use crate::errors;
use crate::outlet::outlet;
use crate::records::{OPERATIONS, RequestRecord, key};

/// Operations that are kept.
const KEPT: usize = 1000;
/// Pieces of output that wait for a slow reader; then the plugin waits.
const PIECES: usize = 64;

/// The output of a run.
pub(crate) type Run = mpsc::Receiver<Result<v1::RunResponse, Status>>;

impl Reign {
    /// Runs a changing action as an operation. It goes on if the caller leaves.
    pub(crate) async fn run(&self, request: v1::RunRequest) -> Result<Run, Error> {
        let reign = self.clone();
        self.see_through(async move { reign.running(request).await }).await
    }

    async fn running(&self, request: v1::RunRequest) -> Result<Run, Error> {
        let call = format!("run {} {}", request.name, request.action);
        let _lock = self.0.locks.hold(&request.name).await;
        let (pieces, last, run) = outlet(PIECES);
        if let Some((answer, _)) = self.answered(&request.request_id, &call)? {
            let operation = self.operation(&answer.operation)?;
            // Cannot fail: the channel is new and empty.
            let ended = how_it_ended(&operation);
            let _ = pieces.try_send(Ok(piece(operation)));
            if let Err(error) = ended {
                last.say(Err(error.into()));
            }
            return Ok(run);
        }
        let Some(stored) = self.service(&request.name)? else {
            return Err(errors::no_service(&request.name, self.is_freed(&request.name)));
        };
        let session = self.session(&stored.declaration.kind).await?;
        let kind = &stored.declaration.kind;
        if session.action(kind, &request.action).is_none() {
            return Err(unknown_action(&session, kind, &request.action));
        }
        let now = wall_unix_ms();
        let operation = v1::Operation {
            id: Uuid::now_v7().to_string(),
            service: request.name.clone(),
            action: request.action.clone(),
            args: request.args.clone(),
            state: v1::OperationState::Running.into(),
            started_unix_ms: now,
            term: self.term(),
            ..Default::default()
        };
        let answer = RequestRecord {
            service: request.name.clone(),
            operation: operation.id.clone(),
            call,
            ..Default::default()
        };
        let change = Change::at(now).put(key(OPERATIONS, &operation.id), operation.encode_to_vec());
        let change = self.recorded(self.without_old_operations(change), &request.request_id, answer);
        self.append(change).await.map_err(|error| errors::of_store(&error))?;
        let _ = pieces.try_send(Ok(piece(operation.clone())));
        let request = v1::RunRequest { operation: operation.id.clone(), ..request };
        let (reign, over) = (self.clone(), self.0.over.clone());
        self.to_the_end(async move {
            let relayed =
                over.run_until_cancelled_owned(relay(reign, session, request, operation, pieces)).await;
            let lost = || Err(errors::no_leader("leadership was lost; the operation is interrupted").into());
            last.say(relayed.unwrap_or_else(lost));
        });
        Ok(run)
    }

    /// One recorded operation.
    fn operation(&self, id: &str) -> Result<v1::Operation, Error> {
        let record = self.0.realm.store.view().get(&key(OPERATIONS, id));
        let read = record.and_then(|record| v1::Operation::decode(&*record.value).ok());
        read.ok_or_else(|| Error::new(Reason::NotFound, format!("the operation {id} is no longer kept")))
    }

    fn without_old_operations(&self, mut change: Change) -> Change {
        let view = self.0.realm.store.view();
        let excess = view.count(OPERATIONS).saturating_sub(KEPT);
        // Ids are ordered by time.
        for (key, record) in view.scan(OPERATIONS, None, excess).1 {
            if v1::Operation::decode(&*record.value)
                .is_ok_and(|old| old.state() == v1::OperationState::Running)
            {
                continue;
            }
            change = change.delete(key);
        }
        change
    }
}

/// What a repeated request hears of its operation.
fn how_it_ended(operation: &v1::Operation) -> Result<(), Error> {
    let id = &operation.id;
    let (reason, message) = match operation.state() {
        v1::OperationState::Succeeded => return Ok(()),
        v1::OperationState::Failed => (Reason::PluginFailed, operation.message.clone()),
        v1::OperationState::Interrupted => (Reason::PluginUnavailable, operation.message.clone()),
        _ => (Reason::Refused, format!("the operation {id} still runs")),
    };
    Err(Error::new(reason, message).hint("om operations shows what becomes of it"))
}

/// Why a kind does not know an action.
pub(crate) fn unknown_action(session: &Session, kind: &str, action: &str) -> Error {
    let of_kind = session.manifest.iter().filter(|served| served.name == kind);
    let known: Vec<_> =
        of_kind.flat_map(|kind| kind.actions.iter().map(|known| known.name.as_str())).collect();
    Error::new(Reason::InvalidAction, format!("the kind {kind} has no action {action:?}"))
        .hint(format!("its actions: {}", known.join(", ")))
}

fn piece(operation: v1::Operation) -> v1::RunResponse {
    v1::RunResponse { message: Some(v1::run_response::Message::Operation(operation)) }
}

/// The record of an operation that was running when the last leader ended: nobody can say what it did. `None`: it was not.
pub(super) fn interrupted(operation: v1::Operation) -> Option<Vec<u8>> {
    let running = operation.state() == v1::OperationState::Running;
    let why = "its leader went away while it ran";
    running.then(|| ended(operation, v1::OperationState::Interrupted, why).encode_to_vec())
}

fn ended(operation: v1::Operation, state: v1::OperationState, message: &str) -> v1::Operation {
    let message = message.to_owned();
    v1::Operation { state: state.into(), message, ended_unix_ms: wall_unix_ms(), ..operation }
}

/// Passes the plugin's output on, and records how it ended: the last word.
async fn relay(
    reign: Reign,
    session: Session,
    request: v1::RunRequest,
    operation: v1::Operation,
    pieces: mpsc::Sender<Result<v1::RunResponse, Status>>,
) -> Result<v1::RunResponse, Status> {
    let outcome = drive(&reign, &session, request, &pieces).await;
    let (state, error) = match outcome {
        Ok(()) => (v1::OperationState::Succeeded, None),
        Err(error) if error.reason == Reason::PluginUnavailable => {
            (v1::OperationState::Interrupted, Some(error))
        }
        Err(error) => (v1::OperationState::Failed, Some(error)),
    };
    let message = error.as_ref().map_or("", |error| error.message.as_str());
    let operation = ended(operation, state, message);
    let change = Change::at(wall_unix_ms()).put(key(OPERATIONS, &operation.id), operation.encode_to_vec());
    if let Err(error) = reign.append(change).await {
        warn!(operation = %operation.id, %error, "how it ended is not recorded");
    }
    error.map_or_else(|| Ok(piece(operation)), |error| Err(Status::from(error)))
}

async fn drive(
    reign: &Reign,
    session: &Session,
    request: v1::RunRequest,
    pieces: &mpsc::Sender<Result<v1::RunResponse, Status>>,
) -> Result<(), Error> {
    let failed = |status: Status| errors::of_plugin(&session.plugin, &status);
    let mut request = Request::new(request);
    om_api::metadata::stamp(&mut request, reign.term(), reign.cluster());
    let mut client = session.client();
    let mut output = client.run(request).await.map_err(failed)?.into_inner();
    while let Some(message) = output.next().await {
        let message = message.map_err(failed)?;
        // A manager behind this one records the run as an operation of its own: that is its affair.
        if !matches!(message.message, Some(v1::run_response::Message::Operation(_))) {
            // A caller that left is no reason to stop.
            let _ = pieces.send(Ok(message)).await;
        }
    }
    Ok(())
}

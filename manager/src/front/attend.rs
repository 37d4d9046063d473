//! A manager before this manager: it attends this one as if it were a plugin.
//!
//! This manager needs no authority of the other's to steer: its own leadership and its own store decide. What it
//! keeps of the plugin's side is the refusal of older terms, signs of life, and word on how the services are.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use om_api::{Error, Reason, metadata, v1};
use om_leadership::Timing;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Status, Streaming};

use super::Front;
use crate::board::Observation;
use crate::reign::Reign;

use v1::attend_request::Message as To;
use v1::attend_response::{self as from, Message as From};

/// Messages that wait for a slow superior.
const OUTBOX: usize = 256;

/// What is known of the manager before this one.
#[derive(Default)]
pub(super) struct Superior(Mutex<State>);

#[derive(Default)]
struct State {
    cluster: String,
    term: u64,
    /// The superior's own revisions of the services that it declared here.
    revisions: HashMap<String, u64>,
}

impl Superior {
    /// Refuses a call under an older term than was seen. Calls of people and programs carry none.
    pub(super) fn check<T>(&self, request: &Request<T>) -> Result<(), Error> {
        let Some(term) = metadata::term(request) else { return Ok(()) };
        self.see(term, &metadata::cluster(request).unwrap_or_default())
    }

    fn see(&self, term: u64, cluster: &str) -> Result<(), Error> {
        let mut state = self.lock();
        if state.cluster == cluster && term < state.term {
            let message = format!("term {term} is over: term {} was seen", state.term);
            return Err(Error::new(Reason::Fenced, message).with("term", state.term));
        }
        cluster.clone_into(&mut state.cluster);
        state.term = term;
        Ok(())
    }

    pub(super) fn declared(&self, service: &str, revision: u64) {
        self.lock().revisions.insert(service.to_owned(), revision);
    }

    fn revision(&self, service: &str) -> Option<u64> {
        self.lock().revisions.get(service).copied()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Front {
    pub(super) async fn attended(
        &self,
        request: Request<Streaming<v1::AttendRequest>>,
    ) -> Result<Pin<Box<dyn Stream<Item = Result<v1::AttendResponse, Status>> + Send>>, Status> {
        let reign = self.replica.leader()?;
        let mut inbox = request.into_inner();
        let open = match inbox.next().await {
            Some(Ok(v1::AttendRequest { message: Some(To::Open(open)) })) => open,
            _ => return Err(Status::invalid_argument("a session begins with `open`")),
        };
        self.superior.see(open.term, &open.cluster)?;
        let (out, outbox) = mpsc::channel(OUTBOX);
        let front = self.clone();
        let authority = Duration::from_millis(open.authority_ms.into());
        let opened = From::Opened(from::Opened { instance: self.instance.clone() });
        reign.clone().spawn(async move {
            // A superior that leaves ends the session; there is nobody to tell.
            let _ = front.converse(reign, inbox, &out, opened, authority).await;
        });
        Ok(Box::pin(ReceiverStream::new(outbox)))
    }

    async fn converse(
        &self,
        reign: Reign,
        mut inbox: Streaming<v1::AttendRequest>,
        out: &mpsc::Sender<Result<v1::AttendResponse, Status>>,
        opened: From,
        authority: Duration,
    ) -> Option<()> {
        let mut observations = reign.board().watch();
        say(out, opened).await?;
        say(out, From::Stopped(from::Stopped {})).await?;
        for observation in reign.board().all() {
            self.report(out, observation).await?;
        }
        let mut asks = tokio::time::interval(Timing::retry_of(authority).max(Duration::from_millis(20)));
        let mut ask = 0;
        loop {
            tokio::select! {
                () = reign.over().cancelled() => return None,
                message = inbox.next() => if let Some(To::Release(_)) = message?.ok()?.message {
                    return say(out, From::Released(from::Released {})).await;
                },
                _ = asks.tick() => {
                    ask += 1;
                    say(out, From::Ask(from::Ask { ask })).await?;
                }
                observation = observations.recv() => match observation {
                    Ok(observation) => self.report(out, observation).await?,
                    Err(_) => {
                        observations = reign.board().watch();
                        for observation in reign.board().all() {
                            self.report(out, observation).await?;
                        }
                    }
                },
            }
        }
    }

    async fn report(
        &self,
        out: &mpsc::Sender<Result<v1::AttendResponse, Status>>,
        observation: Observation,
    ) -> Option<()> {
        let Some(revision) = self.superior.revision(&observation.service) else { return Some(()) };
        let Observation { service, standing } = observation;
        let status = from::ServiceStatus {
            service,
            revision,
            phase: standing.phase.into(),
            message: standing.message.into(),
        };
        say(out, From::Status(status)).await
    }
}

async fn say(out: &mpsc::Sender<Result<v1::AttendResponse, Status>>, message: From) -> Option<()> {
    out.send(Ok(v1::AttendResponse { message: Some(message) })).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_term_of_the_same_store_is_refused() {
        let superior = Superior::default();
        assert!(superior.see(5, "a").is_ok());
        assert!(superior.see(5, "a").is_ok());
        assert_eq!(superior.see(4, "a").expect_err("older").reason, Reason::Fenced);
        assert!(superior.see(1, "b").is_ok(), "another store counts its own terms");
    }
}

//! Tearing a service down: decided by one write, done by the plugin, finished by another write. Between the two it is
//! `destroying`, whoever leads.

use std::time::Duration;

use om_api::clock::wall_unix_ms;
use om_api::{Error, Reason, v1};
use om_store::{Change, Expect};
use tracing::{info, warn};

use super::commit::conflict;
use super::{PLUGIN_PATIENCE, Reign};
use crate::board::Standing;
use crate::errors;
use crate::records::{FREED, RequestRecord, SERVICES, STATES, Stored, key};

/// How often a plugin that is still at it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// How long a caller waits for the end before it is told that it goes on.
const CALLER_PATIENCE: Duration = Duration::from_secs(5);

impl Reign {
    /// Decides to tear a service down, and begins.
    pub(crate) async fn destroy(&self, request: v1::DestroyRequest) -> Result<v1::DestroyResponse, Error> {
        let reign = self.clone();
        self.see_through(async move { reign.destroying(request).await }).await
    }

    async fn destroying(&self, request: v1::DestroyRequest) -> Result<v1::DestroyResponse, Error> {
        let name = request.name.clone();
        let revision = self.decide(request).await?;
        let reign = self.clone();
        let mut rest = Box::pin(async move { reign.tear_down(&name).await });
        let done = tokio::time::timeout(CALLER_PATIENCE, &mut rest).await;
        if let Ok(done) = done {
            let message = done.err().unwrap_or_default();
            return Ok(v1::DestroyResponse { revision, done: message.is_empty(), message });
        }
        self.spawn(async move {
            // What is in the way is on the board, and tried again from there.
            let _ = rest.await;
        });
        Ok(v1::DestroyResponse { revision, done: false, message: "still being torn down".into() })
    }

    async fn decide(&self, request: v1::DestroyRequest) -> Result<u64, Error> {
        let name = request.name;
        let call = format!("destroy {name}");
        let _lock = self.0.locks.hold(&name).await;
        if let Some((_, revision)) = self.answered(&request.request_id, &call)? {
            return Ok(revision);
        }
        let service = key(SERVICES, &name);
        let (stored, freed) = match (self.service(&name)?, self.freed(&name)?) {
            (Some(stored), _) => (stored, false),
            (None, Some(freed)) => (freed, true),
            (None, None) => return Err(errors::no_service(&name, false)),
        };
        conflict(&name, stored.revision, request.if_revision)?;
        let expect = if freed { Expect::Absent } else { Expect::Modified(stored.modified) };
        let mut change =
            Change::at(wall_unix_ms()).put(service.as_str(), stored.rewritten(true)).expect(service, expect);
        if freed {
            change = change.delete(key(FREED, &name));
        }
        let answer = RequestRecord { service: name.clone(), call, ..Default::default() };
        let change = self.recorded(change, &request.request_id, answer);
        let revision = self.append(change).await.map_err(|error| errors::of_store(&error))?;
        info!(service = name, revision, "destroying");
        self.show_destroying(&stored, "being torn down");
        Ok(revision)
    }

    fn show_destroying(&self, stored: &Stored, message: &str) {
        let standing = Standing {
            revision: stored.revision,
            phase: v1::Phase::Destroying,
            message: message.to_owned(),
            attended: false,
        };
        self.0.board.set(&stored.declaration.name, standing);
    }

    /// Has the plugin tear a service down, and forgets it when nothing is left. What goes wrong is noted and tried
    /// again.
    ///
    /// # Errors
    /// What is in the way.
    pub(super) async fn tear_down(&self, name: &str) -> Result<(), String> {
        loop {
            let lock = self.0.locks.hold(name).await;
            let stored = match self.service(name) {
                Ok(Some(stored)) if stored.destroying => stored,
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.message),
            };
            match self.ask_to_destroy(&stored).await {
                Ok(answer) if answer.done => {
                    return self.forget(&stored).await.map_err(|error| error.message);
                }
                Ok(answer) => {
                    let message = if answer.message.is_empty() { "being torn down" } else { &answer.message };
                    self.show_destroying(&stored, message);
                }
                Err(error) => {
                    warn!(service = name, %error, "cannot be torn down yet");
                    self.postpone(&stored, &error);
                    return Err(error.message);
                }
            }
            drop(lock);
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    async fn ask_to_destroy(&self, stored: &Stored) -> Result<v1::DestroyResponse, Error> {
        let session = self.session(&stored.declaration.kind).await?;
        let state = self.0.realm.store.view().get(&key(STATES, &stored.declaration.name));
        let message = v1::DestroyRequest {
            name: stored.declaration.name.clone(),
            service: Some(stored.declaration.clone()),
            state: state.map(|record| record.value).unwrap_or_default(),
            ..Default::default()
        };
        let mut client = session.client();
        let asked =
            tokio::time::timeout(PLUGIN_PATIENCE, client.destroy(self.stamped(message, PLUGIN_PATIENCE)))
                .await;
        match asked {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(errors::of_plugin(&session.plugin, &status)),
            Err(_) => {
                Err(errors::unavailable(&session.plugin, &format!("no answer within {PLUGIN_PATIENCE:?}")))
            }
        }
    }

    async fn forget(&self, stored: &Stored) -> Result<(), Error> {
        let name = &stored.declaration.name;
        let service = key(SERVICES, name);
        let change = Change::at(wall_unix_ms())
            .delete(service.as_str())
            .delete(key(STATES, name))
            .expect(service, Expect::Modified(stored.modified));
        match self.append(change).await {
            Ok(revision) => info!(service = %name, revision, "destroyed"),
            Err(om_store::Error::Conflict { .. }) => {
                return Err(Error::new(Reason::Refused, format!("{name} changed while it was torn down")));
            }
            Err(error) => {
                let error = errors::of_store(&error);
                self.postpone(stored, &error);
                return Err(error);
            }
        }
        self.0.board.forget(name);
        self.0.retries.forget(name);
        Ok(())
    }
}

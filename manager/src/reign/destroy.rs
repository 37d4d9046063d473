//! Tearing a service down: decided by one write, done by the plugin, finished by another write. Between the two it is
//! `destroying`, whoever leads.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use om_api::clock::wall_unix_ms;
use om_api::{Error, v1};
use om_store::{Change, Error as StoreError, Expect};
use tracing::{info, warn};

use super::commit::conflict;
use super::unclear::{self, DECISIONS, Stopped};
use super::{PLUGIN_PATIENCE, Reign};
use crate::board::Standing;
use crate::errors;
use crate::records::{FREED, RequestRecord, SERVICES, STATES, Stored, key, state_of};

/// How often a plugin that is still at it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// How often a caller's wait looks whether it is over.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
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
        let mut changes = self.0.board.watch();
        self.tear_down(&name);
        let gone = async {
            while self.service(&name).is_ok_and(|stored| stored.is_some_and(|stored| stored.destroying)) {
                // Whatever is heard, or missed: the store is looked at.
                let _ = tokio::time::timeout(LOOK_AGAIN, changes.recv()).await;
            }
        };
        let done = tokio::time::timeout(CALLER_PATIENCE, gone).await.is_ok();
        let message = if done { String::new() } else { self.phase(&name).1 };
        Ok(v1::DestroyResponse { revision, done, message })
    }

    async fn decide(&self, request: v1::DestroyRequest) -> Result<u64, Error> {
        let _lock = self.0.locks.hold(&request.name).await;
        for _ in 0..DECISIONS {
            match self.decide_as_stored(&request).await {
                Err(Stopped::Stale) => {}
                Err(Stopped::Told(error)) => return Err(error),
                Ok(revision) => return Ok(revision),
            }
        }
        Err(unclear::restless(&request.name))
    }

    async fn decide_as_stored(&self, request: &v1::DestroyRequest) -> Result<u64, Stopped> {
        let name = request.name.clone();
        let call = format!("destroy {name}");
        if let Some((_, revision)) = self.answered(&request.request_id, &call)? {
            return Ok(revision);
        }
        let service = key(SERVICES, &name);
        let (stored, freed) = match (self.service(&name)?, self.freed(&name)?) {
            (Some(stored), _) => (stored, false),
            (None, Some(freed)) => (freed, true),
            (None, None) => return Err(errors::no_service(&name, false).into()),
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
        let revision = self.append_about(&name, change).await?;
        info!(service = name, revision, "destroying");
        self.show_destroying(&stored, "being torn down");
        Ok(revision)
    }

    fn show_destroying(&self, stored: &Stored, message: &str) {
        let standing = Standing {
            revision: stored.revision,
            phase: v1::Phase::Destroying,
            message: message.into(),
            attended: false,
        };
        self.0.board.set(&stored.declaration.name, standing);
    }

    /// Has the plugin tear a service down, beside everything else. Once is enough, however often it is asked.
    pub(super) fn tear_down(&self, name: &str) {
        if let Some(only) = self.0.tearing.begin(name) {
            self.spawn(tearing_down(self.clone(), name.to_owned(), only));
        }
    }

    /// Asks the plugin until nothing is left, and forgets the service then. What goes wrong is noted and tried again.
    async fn torn_down(&self, name: &str) {
        loop {
            let lock = self.0.locks.hold(name).await;
            let stored = match self.service(name) {
                Ok(Some(stored)) if stored.destroying => stored,
                Ok(_) => return,
                Err(error) => return warn!(service = name, %error, "cannot be torn down"),
            };
            match self.ask_to_destroy(&stored).await {
                Ok(answer) if answer.done => return self.forget(&stored).await,
                Ok(answer) => {
                    let message = if answer.message.is_empty() { "being torn down" } else { &answer.message };
                    self.show_destroying(&stored, message);
                }
                Err(error) => {
                    warn!(service = name, %error, "cannot be torn down yet");
                    return self.postpone(&stored, &error);
                }
            }
            drop(lock);
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    async fn ask_to_destroy(&self, stored: &Stored) -> Result<v1::DestroyResponse, Error> {
        let session = self.session(&stored.declaration.kind).await?;
        let message = v1::DestroyRequest {
            name: stored.declaration.name.clone(),
            service: Some(stored.declaration.clone()),
            state: state_of(self.0.realm.store.view(), &stored.declaration.name),
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

    async fn forget(&self, stored: &Stored) {
        let name = &stored.declaration.name;
        loop {
            let service = key(SERVICES, name);
            let change = Change::at(wall_unix_ms())
                .delete(service.as_str())
                .delete(key(STATES, name))
                .expect(service, Expect::Modified(stored.modified));
            match self.append(change).await {
                Ok(revision) => {
                    info!(service = %name, revision, "destroyed");
                    break;
                }
                // Before that is known the plugin is not asked again: it might act on what is gone already.
                Err(StoreError::Unclear(_)) => {
                    if self.settled(name).await.is_none() {
                        return;
                    }
                    match self.service(name) {
                        Ok(None) => break,
                        Ok(Some(now)) if now.modified == stored.modified => {}
                        Ok(Some(_)) | Err(_) => return,
                    }
                }
                Err(error) => return self.postpone(stored, &errors::of_store(&error)),
            }
        }
        self.0.board.forget(name);
        self.0.retries.forget(name);
    }
}

/// One tearing down. Boxed, because a failure of it may lead to a next one.
fn tearing_down(reign: Reign, name: String, only: Once) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        reign.torn_down(&name).await;
        drop(only);
    })
}

/// The services that are being torn down just now.
#[derive(Clone, Default)]
pub(super) struct Tearing(Arc<Mutex<HashSet<String>>>);

/// The one who tears a service down.
struct Once(Tearing, String);

impl Tearing {
    fn begin(&self, name: &str) -> Option<Once> {
        let first = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        first.then(|| Once(self.clone(), name.to_owned()))
    }
}

impl Drop for Once {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

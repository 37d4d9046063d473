//! A user no longer wants a service looked after: it is forgotten by every later leader, and goes on running.

use om_api::clock::wall_unix_ms;
use om_api::{Error, v1};
use om_store::{Change, Expect};
use tracing::warn;

use super::commit::conflict;
use super::unclear::{self, DECISIONS, Stopped};
use super::{PLUGIN_PATIENCE, Reign};
use crate::errors;
use crate::records::{FREED, RequestRecord, SERVICES, key};

impl Reign {
    /// Stops looking after a service. Its declaration and its plugin's state are kept aside, so that a later commit
    /// adopts what runs, and a later destroy finds what to tear down.
    pub(crate) async fn free(&self, request: v1::FreeRequest) -> Result<v1::FreeResponse, Error> {
        let reign = self.clone();
        self.see_through(async move { reign.freeing(request).await }).await
    }

    async fn freeing(&self, request: v1::FreeRequest) -> Result<v1::FreeResponse, Error> {
        let _lock = self.0.locks.hold(&request.name).await;
        for _ in 0..DECISIONS {
            match self.free_as_stored(&request).await {
                Err(Stopped::Stale) => {}
                Err(Stopped::Told(error)) => return Err(error),
                Ok(answer) => return Ok(answer),
            }
        }
        Err(unclear::restless(&request.name))
    }

    async fn free_as_stored(&self, request: &v1::FreeRequest) -> Result<v1::FreeResponse, Stopped> {
        let name = request.name.clone();
        let call = format!("free {name}");
        if let Some((_, revision)) = self.answered(&request.request_id, &call)? {
            return Ok(v1::FreeResponse { revision });
        }
        let Some(stored) = self.service(&name)? else {
            return Err(errors::no_service(&name, self.is_freed(&name)).into());
        };
        conflict(&name, stored.revision, request.if_revision)?;
        if stored.destroying {
            let message = format!("{name} is being destroyed");
            return Err(Error::new(om_api::Reason::Refused, message).hint("wait until it is gone").into());
        }
        let service = key(SERVICES, &name);
        let change = Change::at(wall_unix_ms())
            .delete(service.as_str())
            .put(key(FREED, &name), stored.rewritten(false))
            .expect(service, Expect::Modified(stored.modified));
        let answer = RequestRecord { service: name.clone(), call, ..Default::default() };
        let change = self.recorded(change, &request.request_id, answer);
        let revision = self.append_about(&name, change).await?;
        self.0.board.forget(&name);
        self.0.retries.forget(&name);
        self.let_go(&stored.declaration.kind, &name).await;
        Ok(v1::FreeResponse { revision })
    }

    /// The plugin stops looking after a service. If it does not say so, its session is broken off: then it stops by
    /// itself, and takes up anew what is still declared.
    pub(super) async fn let_go(&self, kind: &str, name: &str) {
        let Some(session) = self.0.sessions.of_kind(kind) else { return };
        let message = v1::FreeRequest { name: name.to_owned(), ..Default::default() };
        let mut client = session.client();
        let asked =
            tokio::time::timeout(PLUGIN_PATIENCE, client.free(self.stamped(message, PLUGIN_PATIENCE))).await;
        let why = match asked {
            Ok(Ok(_)) => return,
            Ok(Err(status)) => status.message().to_owned(),
            Err(_) => format!("no answer within {PLUGIN_PATIENCE:?}"),
        };
        warn!(service = name, plugin = %session.plugin, why, "the plugin did not free it; breaking its session off");
        session.closed.cancel();
    }
}

//! Where each call goes: the plugin itself answers reads and streams of what it looks after.

use om_api::metadata::KIND;
use om_api::v1;
use om_proxy::route::{Call, Passage, Route, Router};

use crate::errors;
use crate::reign::{Reign, Session, unknown_action};
use crate::replica::Replica;

const RUN: &str = "/om.v1.ServicePlugin/Run";

/// Routes by the replica's present standing.
pub(crate) struct ManagerRouter(pub(crate) Replica);

impl Router for ManagerRouter {
    fn route(&self, call: &Call<'_>) -> Route {
        let Ok(reign) = self.0.leader() else { return self.0.refused_route() };
        if let Some(kind) = call.headers.get(KIND) {
            let kind = kind.to_str().unwrap_or_default();
            return match reign.sessions().of_kind(kind) {
                Some(session) => passage(&reign, session),
                None => Route::Refuse(errors::unavailable(kind, "no session with a plugin of this kind")),
            };
        }
        let Some(name) = call.service() else { return Route::Own };
        let stored = match reign.service(name) {
            Ok(Some(stored)) => stored,
            // The manager itself says what is wrong.
            Ok(None) => return Route::Own,
            Err(error) => return Route::Refuse(error),
        };
        let kind = &stored.declaration.kind;
        let Some(session) = reign.sessions().of_kind(kind) else { return Route::Own };
        if call.path == RUN {
            let name = call.action().unwrap_or_default();
            return match session.action(kind, name) {
                Some(action) if action.effect() == v1::Effect::Read => passage(&reign, session),
                Some(_) => Route::Own,
                None => Route::Refuse(unknown_action(&session, kind, name)),
            };
        }
        // What the plugin has not taken yet, or is tearing down, is the manager's to describe; so is what stands
        // behind another manager, which counts revisions of its own.
        let known = reign.board().get(name);
        let attended = known.is_some_and(|known| known.attended && known.revision == stored.revision);
        if attended && !stored.destroying && !session.manager { passage(&reign, session) } else { Route::Own }
    }
}

fn passage(reign: &Reign, session: Session) -> Route {
    Route::Local(Passage {
        upstream: session.upstream,
        term: reign.term(),
        cluster: reign.cluster().to_owned(),
        until: reign.over().clone(),
    })
}

//! The first write of a reign. It can be made up before the claim, to be written with it.

use std::collections::BTreeMap;

use om_api::clock::wall_unix_ms;
use om_api::v1;
use om_proxy::discovery::PeerState;
use om_store::{Change, Error, Revision, View};
use prost::Message;

use super::Realm;
use super::grants::{Own, grant, grant_key};
use super::operations::interrupted;
use crate::records::{GRANTS, GrantRecord, OPERATIONS, REIGN, ReignRecord};

/// What a reign begins with.
#[derive(Clone)]
pub(crate) struct Opening {
    /// The revision of the state that it was made for.
    pub(crate) revision: Revision,
    /// The term, the operations that nobody runs any more, and the grants of the plugins that are there: they are about to
    /// get authority, and one write less stands before that.
    pub(crate) change: Change,
    /// The grants that are recorded with it, by their keys.
    pub(super) own: BTreeMap<String, Own>,
    /// The grants of earlier leaders, as they stood before it.
    pub(super) before: Vec<(String, GrantRecord, Revision)>,
}

impl Opening {
    /// For the state as it is now. `stopped`: what was done under earlier claims has, so that their grants are over.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub(crate) fn make(realm: &Realm, stopped: bool) -> Result<Self, Error> {
        let view = realm.store.view();
        // First: what is read after it is as new, or newer, and then it is not written with a claim.
        let revision = view.revision();
        let own = ready(realm);
        let before = recorded(view)?;
        let record = ReignRecord { manager: realm.name.clone(), endpoint: realm.endpoint.clone() };
        let mut change = Change::at(wall_unix_ms()).put(REIGN, record.encode_to_vec());
        for (key, operation) in view.scan(OPERATIONS, None, usize::MAX).1 {
            let running = v1::Operation::decode(&*operation.value).ok().and_then(interrupted);
            change = running.into_iter().fold(change, |change, ended| change.put(key.clone(), ended));
        }
        for (key, own) in &own {
            change = change.put(key.as_str(), own.grant.encode_to_vec());
        }
        let over = before.iter().filter(|(key, ..)| stopped && !own.contains_key(key));
        let change = over.fold(change, |change, (key, ..)| change.delete(key.as_str()));
        Ok(Self { revision, change, own, before })
    }
}

/// Grants for the plugins that are ready, with fresh secrets.
fn ready(realm: &Realm) -> BTreeMap<String, Own> {
    let peers = realm.registry.peers().borrow().clone();
    let mut own = BTreeMap::new();
    for peer in peers.values() {
        let PeerState::Ready(handshake) = &peer.state else { continue };
        let kinds = handshake.kinds.iter().map(|kind| kind.name.clone()).collect();
        let grant = grant(realm, &peer.name, &peer.socket.to_string_lossy(), &kinds);
        own.insert(grant_key(&realm.host, &grant.socket), Own::new(grant));
    }
    own
}

fn recorded(view: &View) -> Result<Vec<(String, GrantRecord, Revision)>, Error> {
    let (_, records) = view.scan(GRANTS, None, usize::MAX);
    let read = |(key, record): (std::sync::Arc<str>, om_store::Record)| {
        let grant = GrantRecord::decode(&*record.value)
            .map_err(|cause| Error::Corrupt { what: format!("{key}: {cause}") })?;
        Ok((key.to_string(), grant, record.modified))
    };
    records.into_iter().map(read).collect()
}

//! The declared state becomes that of a snapshot, in one write.
//!
//! Declarations come from the snapshot. What a plugin knows of a service that exists now is kept, though: it tells
//! what really runs, and the snapshot's older word on it would start everything a second time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use om_api::clock::wall_unix_ms;
use om_api::{Error, Reason, v1};
use om_store::{Change, Expect};
use prost::Message;
use tracing::info;

use super::Reign;
use super::commit::{check, same_kind};
use crate::errors;
use crate::records::{FREED, RequestRecord, SERVICES, STATES, ServiceRecord, Stored, key};

impl Reign {
    /// Restores a snapshot that was read whole.
    pub(crate) async fn restore(
        &self,
        request_id: String,
        replace: bool,
        services: Vec<v1::SnapshotService>,
    ) -> Result<v1::ImportSnapshotResponse, Error> {
        let reign = self.clone();
        self.see_through(async move { reign.restoring(&request_id, replace, services).await }).await
    }

    async fn restoring(
        &self,
        request_id: &str,
        replace: bool,
        services: Vec<v1::SnapshotService>,
    ) -> Result<v1::ImportSnapshotResponse, Error> {
        // No service has this name: restores wait for each other.
        let _one_at_a_time = self.0.locks.hold("").await;
        if let Some((answer, revision)) = self.answered(request_id, "restore")? {
            let services = self.0.realm.store.view().count(SERVICES) as u64;
            return Ok(v1::ImportSnapshotResponse { revision, services, freed: answer.freed });
        }
        let now = self.declared()?;
        if !now.is_empty() && !replace {
            let message = format!("there are {} services already", now.len());
            return Err(Error::new(Reason::Refused, message).hint(
                "--replace makes the state that of the snapshot; services that are not in it are freed",
            ));
        }
        if let Some(stored) = now.values().find(|stored| stored.destroying) {
            let message = format!("{} is being destroyed", stored.declaration.name);
            return Err(Error::new(Reason::Refused, message).hint("wait until it is gone"));
        }
        let (change, wanted) = self.replacing(&now, services)?;
        let gone = || now.iter().filter(|(name, _)| !wanted.contains(&***name));
        let names: Vec<String> = gone().map(|(name, _)| name.to_string()).collect();
        let answer = RequestRecord { freed: names.clone(), call: "restore".into(), ..Default::default() };
        let change = self.recorded(change, request_id, answer);
        let revision = match self.append(change).await {
            Ok(revision) => revision,
            Err(om_store::Error::Conflict { key, .. }) => {
                let message = format!("{key} was changed meanwhile; nothing was restored");
                return Err(Error::new(Reason::RevisionConflict, message).hint("restore again"));
            }
            Err(error) => return Err(errors::of_store(&error)),
        };
        info!(revision, services = wanted.len(), freed = names.len(), "restored a snapshot");
        let services = wanted.len() as u64;
        let (reign, all): (_, Vec<_>) = (self.clone(), wanted.iter().cloned().collect());
        self.spawn(async move { reign.look_after_all(futures_util::stream::iter(all)).await });
        for (name, stored) in gone() {
            // A commit of it may be on its way to the plugin still: it goes first.
            let _lock = self.0.locks.hold(name).await;
            if self.service(name)?.is_none() {
                self.0.board.forget(name);
                self.let_go(&stored.declaration.kind, name).await;
            }
        }
        Ok(v1::ImportSnapshotResponse { revision, services, freed: names })
    }

    /// The write that makes the state that of the snapshot, if every service still is as it was read; and the names of
    /// the snapshot.
    fn replacing(
        &self,
        now: &BTreeMap<Arc<str>, Stored>,
        services: Vec<v1::SnapshotService>,
    ) -> Result<(Change, BTreeSet<String>), Error> {
        let view = self.0.realm.store.view();
        let mut change = Change::at(wall_unix_ms());
        let mut wanted = BTreeSet::new();
        for service in services {
            let declaration = service.service.unwrap_or_default();
            check(&declaration)?;
            let name = declaration.name.clone();
            let path = key(SERVICES, &name);
            let known = now.get(name.as_str());
            for other in known.cloned().into_iter().chain(self.freed(&name)?) {
                same_kind(&declaration, &other)?;
            }
            let expect = known.map_or(Expect::Absent, |known| Expect::Modified(known.modified));
            change = change.expect(path.as_str(), expect).delete(key(FREED, &name));
            if known.is_none_or(|known| known.declaration != declaration) {
                let record = ServiceRecord::new(declaration, false, 0);
                change = change.put(path, record.encode_to_vec());
            }
            if view.get(&key(STATES, &name)).is_none() && !service.state.is_empty() {
                change = change.put(key(STATES, &name), service.state);
            }
            wanted.insert(name);
        }
        for (name, stored) in now.iter().filter(|(name, _)| !wanted.contains(&***name)) {
            let path = key(SERVICES, name);
            change = change
                .expect(path.as_str(), Expect::Modified(stored.modified))
                .delete(path)
                .put(key(FREED, name), stored.rewritten(false));
        }
        Ok((change, wanted))
    }

    /// Every declared service, by name.
    pub(crate) fn declared(&self) -> Result<BTreeMap<Arc<str>, Stored>, Error> {
        let (_, records) = self.0.realm.store.view().scan(SERVICES, None, usize::MAX);
        let read = records.into_iter().map(|(key, record)| {
            let stored = Stored::read(&key, &record).map_err(|error| errors::of_store(&error))?;
            Ok((Arc::from(&key[SERVICES.len()..]), stored))
        });
        read.collect()
    }
}

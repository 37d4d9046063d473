//! The declared state becomes that of a snapshot, in one write.
//!
//! Declarations come from the snapshot. What a plugin knows of a service that exists now is kept, though: it tells
//! what really runs, and the snapshot's older word on it would start everything a second time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use om_api::clock::wall_unix_ms;
use om_api::{Error, Reason, v1};
use om_store::Change;
use prost::Message;
use tracing::info;

use super::Reign;
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
        let view = self.0.realm.store.view();
        if let Some((answer, revision)) = self.answered(request_id, "restore")? {
            let services = view.count(SERVICES) as u64;
            return Ok(v1::ImportSnapshotResponse { revision, services, freed: answer.freed });
        }
        let now: BTreeMap<Arc<str>, Stored> = self.declared()?;
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
        let mut change = Change::at(wall_unix_ms());
        let mut wanted = BTreeSet::new();
        for service in services {
            let declaration = service.service.unwrap_or_default();
            super::commit::check(&declaration)?;
            let name = declaration.name.clone();
            let known = now.get(name.as_str()).is_some_and(|stored| stored.declaration == declaration);
            if !known {
                let record = ServiceRecord { declaration: Some(declaration), ..Default::default() };
                change = change.put(key(SERVICES, &name), record.encode_to_vec());
            }
            if view.get(&key(STATES, &name)).is_none() && !service.state.is_empty() {
                change = change.put(key(STATES, &name), service.state);
            }
            change = change.delete(key(FREED, &name));
            wanted.insert(name);
        }
        let mut freed = Vec::new();
        for (name, stored) in &now {
            if !wanted.contains(&**name) {
                change = change.delete(key(SERVICES, name)).put(key(FREED, name), stored.rewritten(false));
                freed.push((name.to_string(), stored.declaration.kind.clone()));
            }
        }
        let names: Vec<String> = freed.iter().map(|(name, _)| name.clone()).collect();
        let answer = RequestRecord { freed: names.clone(), call: "restore".into(), ..Default::default() };
        let change = self.recorded(change, request_id, answer);
        let revision = self.append(change).await.map_err(|error| errors::of_store(&error))?;
        info!(revision, services = wanted.len(), freed = freed.len(), "restored a snapshot");
        for (name, kind) in freed {
            self.0.board.forget(&name);
            self.let_go(&kind, &name).await;
        }
        let services = wanted.len() as u64;
        let reign = self.clone();
        self.spawn(async move { reign.look_after_all(wanted.into_iter().collect()).await });
        Ok(v1::ImportSnapshotResponse { revision, services, freed: names })
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

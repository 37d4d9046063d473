//! Persist, then forward: check with the plugin, write under the fence, bring it to the plugin, report.

use om_api::clock::wall_unix_ms;
use om_api::v1;
use om_api::{Error, MAX_SPEC_BYTES, Reason, names};
use om_store::{Change, Expect};
use prost::Message;

use super::unclear::{self, DECISIONS, Stopped};
use super::{PLUGIN_PATIENCE, Reign};
use crate::board::Standing;
use crate::errors;
use crate::records::{FREED, RequestRecord, SERVICES, ServiceRecord, Stored, key};

/// Labels are for selecting, not for storing things in.
const MAX_LABELS: usize = 64;
const MAX_LABEL_BYTES: usize = 256;

impl Reign {
    /// Declares a service.
    pub(crate) async fn commit(&self, request: v1::CommitRequest) -> Result<v1::CommitResponse, Error> {
        let reign = self.clone();
        self.see_through(async move { reign.committing(request).await }).await
    }

    async fn committing(&self, request: v1::CommitRequest) -> Result<v1::CommitResponse, Error> {
        let wanted =
            request.service.clone().ok_or_else(|| invalid("service", "no service is given".into()))?;
        check(&wanted)?;
        let _lock = self.0.locks.hold(&wanted.name).await;
        for _ in 0..DECISIONS {
            match self.commit_as_stored(&request, wanted.clone()).await {
                Err(Stopped::Stale) => {}
                Err(Stopped::Told(error)) => return Err(error),
                Ok(answer) => return Ok(answer),
            }
        }
        Err(unclear::restless(&wanted.name))
    }

    async fn commit_as_stored(
        &self,
        request: &v1::CommitRequest,
        wanted: v1::Declaration,
    ) -> Result<v1::CommitResponse, Stopped> {
        let call = format!("commit {}", wanted.name);
        if let Some((answer, revision)) = self.answered(&request.request_id, &call)? {
            let (phase, message) = self.phase(&wanted.name);
            let RequestRecord { changed, plan, .. } = answer;
            return Ok(v1::CommitResponse {
                name: wanted.name,
                revision,
                changed,
                plan,
                phase: phase.into(),
                message,
            });
        }
        let known = self.service(&wanted.name)?;
        conditions(&wanted, known.as_ref(), request.if_revision)?;
        if let Some(freed) = self.freed(&wanted.name)? {
            same_kind(&wanted, &freed)?;
        }

        let plan = self.dry_run(&wanted, known.as_ref(), &call).await?;
        let changed = known.as_ref().is_none_or(|known| !same(&known.declaration, &wanted));
        let stands_at = known.as_ref().map_or(0, |known| known.revision);
        if request.dry_run {
            let (phase, message) = self.phase(&wanted.name);
            let name = wanted.name;
            return Ok(v1::CommitResponse {
                name,
                revision: stands_at,
                changed,
                plan,
                phase: phase.into(),
                message,
            });
        }

        let stored = match known {
            Some(known) if !changed => {
                self.record_unchanged(&known, &request.request_id, &call, &plan).await?;
                known
            }
            known => self.persist(wanted, known.as_ref(), &request.request_id, &call, &plan).await?,
        };
        let name = stored.declaration.name.clone();
        if changed || !self.0.board.get(&name).is_some_and(|standing| standing.attended) {
            self.forward(&stored).await;
        }
        let (phase, message) = self.phase(&name);
        Ok(v1::CommitResponse {
            name,
            revision: stored.revision,
            changed,
            plan,
            phase: phase.into(),
            message,
        })
    }

    /// Asks the plugin what it thinks of it. What it rejects is not stored.
    async fn dry_run(
        &self,
        wanted: &v1::Declaration,
        known: Option<&Stored>,
        call: &str,
    ) -> Result<Vec<String>, Error> {
        let session = self.session(&wanted.kind).await?;
        let message = v1::CommitRequest {
            service: Some(wanted.clone()),
            dry_run: true,
            current: known.map(|known| known.declaration.clone()),
            ..Default::default()
        };
        let mut client = session.client();
        let asked =
            tokio::time::timeout(PLUGIN_PATIENCE, client.commit(self.stamped(message, PLUGIN_PATIENCE)))
                .await;
        match asked {
            Ok(Ok(answer)) => Ok(answer.into_inner().plan),
            Ok(Err(status)) => Err(errors::of_plugin(&session.plugin, &status)),
            Err(_) => {
                let why = format!("no answer to `{call}` within {PLUGIN_PATIENCE:?}; nothing was stored");
                Err(errors::unavailable(&session.plugin, &why))
            }
        }
    }

    async fn persist(
        &self,
        wanted: v1::Declaration,
        known: Option<&Stored>,
        request_id: &str,
        call: &str,
        plan: &[String],
    ) -> Result<Stored, Stopped> {
        let service = key(SERVICES, &wanted.name);
        let expect = known.map_or(Expect::Absent, |known| Expect::Modified(known.modified));
        let record = ServiceRecord::new(wanted.clone(), false, 0);
        let mut change =
            Change::at(wall_unix_ms()).put(service.as_str(), record.encode_to_vec()).expect(service, expect);
        if self.freed(&wanted.name)?.is_some() {
            change = change.delete(key(FREED, &wanted.name));
        }
        let answer = RequestRecord {
            service: wanted.name.clone(),
            changed: true,
            plan: plan.to_vec(),
            call: call.to_owned(),
            ..Default::default()
        };
        let change = self.recorded(change, request_id, answer);
        let revision = self.append_about(&wanted.name, change).await?;
        let message = "stored; not yet taken by its plugin".to_owned();
        self.0.board.set(
            &wanted.name,
            Standing { revision, phase: v1::Phase::Pending, message: message.into(), attended: false },
        );
        Ok(Stored { declaration: wanted, destroying: false, revision, modified: revision })
    }

    /// A commit that changes nothing takes effect too: its repetition, after others changed the service, must not.
    async fn record_unchanged(
        &self,
        known: &Stored,
        id: &str,
        call: &str,
        plan: &[String],
    ) -> Result<(), Error> {
        if id.is_empty() {
            return Ok(());
        }
        let answer = RequestRecord {
            service: known.declaration.name.clone(),
            revision: known.revision,
            changed: false,
            plan: plan.to_vec(),
            call: call.to_owned(),
            ..Default::default()
        };
        let change = self.recorded(Change::at(wall_unix_ms()), id, answer);
        self.append(change).await.map(drop).map_err(|error| errors::of_store(&error))
    }

    /// How a service is, as far as is known.
    pub(crate) fn phase(&self, name: &str) -> (v1::Phase, String) {
        match self.0.board.get(name) {
            Some(standing) => (standing.phase, standing.message.into()),
            None => (v1::Phase::Pending, "not yet taken by its plugin".to_owned()),
        }
    }
}

fn invalid(field: &str, message: String) -> Error {
    Error::new(Reason::InvalidSpec, message).with("field", field)
}

/// What can be said of a declaration without its plugin.
pub(super) fn check(wanted: &v1::Declaration) -> Result<(), Error> {
    names::check_service(&wanted.name).map_err(|why| invalid("name", why))?;
    if wanted.kind.is_empty() {
        return Err(invalid("kind", "kind is empty; it picks the plugin".into()));
    }
    if wanted.labels.len() > MAX_LABELS {
        return Err(invalid("labels", format!("{} labels; at most {MAX_LABELS}", wanted.labels.len())));
    }
    for (label, value) in &wanted.labels {
        if label.is_empty() || label.len() > MAX_LABEL_BYTES || value.len() > MAX_LABEL_BYTES {
            let message =
                format!("the label {label:?} is empty, or it or its value is over {MAX_LABEL_BYTES} bytes");
            return Err(invalid("labels", message));
        }
    }
    let size = wanted.spec_json.len();
    if size > MAX_SPEC_BYTES {
        let message = format!("the spec has {size} bytes; the limit is {MAX_SPEC_BYTES}");
        return Err(invalid("spec", message).hint("keep large files elsewhere, and name them in the spec"));
    }
    let parsed: Result<serde_json::Map<String, serde_json::Value>, _> =
        serde_json::from_slice(&wanted.spec_json);
    parsed.map(drop).map_err(|cause| invalid("spec", format!("the spec is not a JSON object: {cause}")))
}

/// Whether two declarations mean the same: the order of keys and white space in a spec mean nothing.
fn same(one: &v1::Declaration, other: &v1::Declaration) -> bool {
    let meaning = |spec: &[u8]| serde_json::from_slice::<serde_json::Value>(spec).ok();
    one.kind == other.kind
        && one.labels == other.labels
        && (one.spec_json == other.spec_json || meaning(&one.spec_json) == meaning(&other.spec_json))
}

/// What the state demands of a declaration.
fn conditions(
    wanted: &v1::Declaration,
    known: Option<&Stored>,
    if_revision: Option<u64>,
) -> Result<(), Error> {
    let stands_at = known.map_or(0, |known| known.revision);
    conflict(&wanted.name, stands_at, if_revision)?;
    let Some(known) = known else { return Ok(()) };
    if known.destroying {
        let message = format!("{} is being destroyed", wanted.name);
        return Err(Error::new(Reason::Refused, message).hint("wait until it is gone, then commit it"));
    }
    same_kind(wanted, known)
}

/// What one plugin saved means nothing to another, and what it started could no longer be torn down.
pub(super) fn same_kind(wanted: &v1::Declaration, known: &Stored) -> Result<(), Error> {
    if known.declaration.kind == wanted.kind {
        return Ok(());
    }
    let (name, kind) = (&wanted.name, &known.declaration.kind);
    let message = format!("{name} is of kind {kind}; a service does not change its kind");
    Err(invalid("kind", message).hint("destroy it first, or choose another name"))
}

/// Compare-and-swap for users.
pub(super) fn conflict(name: &str, stands_at: u64, if_revision: Option<u64>) -> Result<(), Error> {
    match if_revision {
        Some(demanded) if demanded != stands_at => {
            let now = if stands_at == 0 {
                "does not exist".into()
            } else {
                format!("stands at revision {stands_at}")
            };
            let message = format!("{name} {now}, not at revision {demanded}");
            let hint = format!("look at it again: om get {name}");
            Err(Error::new(Reason::RevisionConflict, message).hint(hint).with("revision", stands_at))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declaration(name: &str, spec: &str) -> v1::Declaration {
        v1::Declaration {
            name: name.into(),
            kind: "process".into(),
            spec_json: spec.as_bytes().to_vec().into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_declaration_that_no_plugin_could_like_is_refused_at_once() {
        assert!(check(&declaration("web", "{}")).is_ok());
        for (bad, field) in [
            (declaration("Web", "{}"), "name"),
            (declaration("web", ""), "spec"),
            (declaration("web", "[]"), "spec"),
            (declaration("web", &format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_SPEC_BYTES))), "spec"),
            (v1::Declaration { kind: String::new(), ..declaration("web", "{}") }, "kind"),
            (
                v1::Declaration {
                    labels: [(String::new(), String::new())].into(),
                    ..declaration("web", "{}")
                },
                "labels",
            ),
        ] {
            let error = check(&bad).expect_err(field);
            assert_eq!((error.reason, error.metadata["field"].as_str()), (Reason::InvalidSpec, field));
        }
    }

    #[test]
    fn the_order_of_keys_means_nothing_and_a_value_means_much() {
        let one = declaration("web", r#"{"a": 1, "b": [1, 2]}"#);
        assert!(same(&one, &declaration("web", r#"{"b":[1,2],"a":1}"#)));
        assert!(!same(&one, &declaration("web", r#"{"b":[2,1],"a":1}"#)));
        let labelled = v1::Declaration { labels: [("a".into(), "b".into())].into(), ..one.clone() };
        assert!(!same(&one, &labelled));
    }

    #[test]
    fn a_demanded_revision_must_be_the_one_it_stands_at() {
        assert!(conflict("web", 0, Some(0)).is_ok());
        assert!(conflict("web", 7, Some(7)).is_ok());
        assert!(conflict("web", 7, None).is_ok());
        for (stands_at, demanded) in [(0, 1), (7, 0), (7, 6)] {
            let error = conflict("web", stands_at, Some(demanded)).expect_err("differs");
            assert_eq!(error.reason, Reason::RevisionConflict);
            assert_eq!(error.metadata["revision"], stands_at.to_string());
        }
    }

    #[test]
    fn a_service_keeps_its_kind_and_is_not_declared_while_it_is_torn_down() {
        let known = |destroying| Stored {
            declaration: declaration("web", "{}"),
            destroying,
            revision: 3,
            modified: 3,
        };
        assert!(conditions(&declaration("web", "{}"), Some(&known(false)), None).is_ok());
        let other = v1::Declaration { kind: "other".into(), ..declaration("web", "{}") };
        assert_eq!(
            conditions(&other, Some(&known(false)), None).expect_err("kind").reason,
            Reason::InvalidSpec
        );
        let error = conditions(&declaration("web", "{}"), Some(&known(true)), None).expect_err("destroying");
        assert_eq!(error.reason, Reason::Refused);
    }
}

//! Commit, free and destroy: the calls that change what is looked after.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use om_api::v1::{self, Phase};
use om_api::{Error, MAX_SPEC_BYTES, Reason, names};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status};

use crate::admit::{Shell, fenced};
use crate::attend::STOP_BOUND;
use crate::guard::caught;
use crate::record::Record;
use crate::session::Session;
use crate::{Declared, Service, steer};

/// A plan has no effects and must be quick.
const PLAN_BOUND: Duration = Duration::from_secs(8);
/// How long a call waits for a service to be torn down before it answers that this goes on.
const DESTROY_BOUND: Duration = Duration::from_secs(2);

impl Shell {
    pub(crate) async fn commit(
        self: &Arc<Self>,
        request: Request<v1::CommitRequest>,
    ) -> Result<Response<v1::CommitResponse>, Status> {
        let caller = self.admit(&request)?;
        let v1::CommitRequest { service, dry_run, revision, state, current, .. } = request.into_inner();
        let declared = self.declared(service, revision)?;
        let answer = if dry_run {
            let current = current.map(|current| readable(current, 0));
            self.plan(declared, current).await?
        } else {
            let session = self.authorize(&caller, "commit").await?;
            self.declare(&session, declared, &state)?
        };
        Ok(Response::new(answer))
    }

    async fn plan(&self, wanted: Declared, current: Option<Declared>) -> Result<v1::CommitResponse, Error> {
        let name = wanted.name.clone();
        let failed = |why: String| Error::new(Reason::PluginFailed, format!("cannot plan {name}: {why}"));
        let plugin = self.plugin.clone();
        let planning = AbortOnDropHandle::new(self.works.spawn(async move {
            let plan = caught(async { plugin.plan(&wanted, current.as_ref()).await }).await;
            (plan, wanted, current)
        }));
        let planned = tokio::time::timeout(PLAN_BOUND, planning).await;
        let (plan, wanted, current) = planned
            .map_err(|_| failed(format!("the plugin did not answer within {PLAN_BOUND:?}")))?
            .map_err(|_| failed("the plugin is stopping".to_owned()))?;
        let plan =
            plan.map_err(|panic| failed(format!("the plugin panicked: {panic}")))?.map_err(Error::from)?;
        let known = self.session().and_then(|session| session.services.get(&wanted.name));
        let view = known.map(|record| record.view());
        Ok(v1::CommitResponse {
            name: wanted.name.to_string(),
            revision: view.as_ref().map_or(0, |view| view.revision),
            changed: current.is_none_or(|current| {
                current.kind != wanted.kind || current.labels != wanted.labels || current.spec != wanted.spec
            }),
            plan,
            phase: view.as_ref().map_or(Phase::Pending, |view| view.phase).into(),
            message: view.map(|view| view.message).unwrap_or_default(),
        })
    }

    pub(crate) fn declare(
        self: &Arc<Self>,
        session: &Arc<Session>,
        declared: Declared,
        state: &Bytes,
    ) -> Result<v1::CommitResponse, Error> {
        let (name, revision) = (declared.name.clone(), declared.revision);
        if revision == 0 {
            return Err(Error::new(
                Reason::Refused,
                format!("commit of {name}: it names no stored revision"),
            )
            .hint("a service is declared through the manager: om commit"));
        }
        let mut services = session.services_to_add_to(format_args!("commit of {name}"))?;
        let known = services.get(&name).filter(|record| !record.torn_down.is_cancelled()).cloned();
        let (record, changed) = match known {
            Some(record) if record.is_destroying() => {
                return Err(Error::new(Reason::Refused, format!("{name} is being destroyed"))
                    .hint("wait until it is gone"));
            }
            Some(record) => {
                let newest = record.newest();
                if revision < newest.revision {
                    let message =
                        format!("{name} is committed at revision {}, newer than {revision}", newest.revision);
                    return Err(
                        Error::new(Reason::RevisionConflict, message).with("revision", newest.revision)
                    );
                }
                if declared.kind != newest.kind {
                    let message = format!("{name} is of kind {}, not {}", newest.kind, declared.kind);
                    return Err(Error::new(Reason::Refused, message).hint("destroy it first"));
                }
                let changed = revision > newest.revision;
                if changed {
                    record.declare(declared);
                }
                (record, changed)
            }
            None => {
                let crew = self.crew(&name, session);
                let record = Record::new(declared, kept(state), crew, Phase::Pending);
                services.insert(name.clone(), record.clone());
                self.employ(session, &record, Work::LookAfter);
                (record, true)
            }
        };
        drop(services);
        if changed {
            tracing::debug!(service = &*name, revision, term = session.term, "committed");
            session.changed(&record);
        }
        let view = record.view();
        Ok(v1::CommitResponse {
            name: name.to_string(),
            revision: view.revision,
            changed,
            plan: Vec::new(),
            phase: view.phase.into(),
            message: view.message,
        })
    }

    fn employ(self: &Arc<Self>, session: &Arc<Session>, record: &Arc<Record>, work: Work) {
        let crew = record.crew();
        if crew.waits() {
            record.note(Phase::Pending, "waits for an earlier task of this service to end");
        }
        let service = Service::new(record.clone(), session.clone(), crew.clone());
        let (shell, record) = (self.clone(), record.clone());
        crew.spawn_on(&self.works, async move {
            match work {
                Work::LookAfter => steer::look_after(&shell, &record, &service).await,
                Work::TearDown => steer::tear_down(&shell, &record, &service).await,
            }
        });
    }

    pub(crate) async fn free(
        &self,
        request: Request<v1::FreeRequest>,
    ) -> Result<Response<v1::FreeResponse>, Status> {
        let caller = self.admit(&request)?;
        let name = request.into_inner().name;
        // Not `authorize`: to stop needs no authority, and when it has lapsed everything has stopped.
        let session = self.attended_by(&caller, "free")?;
        let record = session.services.lock().remove(name.as_str()).inspect(|record| record.crew().stop());
        self.left_alone(&name, &session).await?;
        tracing::debug!(service = name, term = session.term, known = record.is_some(), "freed");
        let revision = record.map_or(0, |record| record.newest().revision);
        Ok(Response::new(v1::FreeResponse { revision }))
    }

    /// Returns when no task of this service runs any more, of this session and of those before it.
    async fn left_alone(&self, name: &str, session: &Session) -> Result<(), Error> {
        // One of an earlier session may still wait for its turn to be stopped.
        if let Some(crew) = self.lingering(name, session.number).inspect(|crew| crew.stop())
            && tokio::time::timeout(STOP_BOUND, crew.gone()).await.is_err()
        {
            let message =
                format!("{name} does not stop within {STOP_BOUND:?}: the plugin's task blocks its thread");
            return Err(Error::new(Reason::PluginFailed, message).hint(
                "it may do nothing more, but what it has begun goes on; free it again, or restart the plugin",
            ));
        }
        self.forget_crew(name);
        Ok(())
    }

    pub(crate) async fn destroy(
        self: &Arc<Self>,
        request: Request<v1::DestroyRequest>,
    ) -> Result<Response<v1::DestroyResponse>, Status> {
        let caller = self.admit(&request)?;
        let request = request.into_inner();
        let session = self.authorize(&caller, "destroy").await?;
        let (record, running) = self.tear_down(&session, request)?;
        // Who asks again while it runs wants to know, not to wait.
        let bound = if running { Duration::ZERO } else { DESTROY_BOUND };
        let waited = async {
            tokio::select! {
                () = record.torn_down.cancelled() => {}
                () = session.authority.over().cancelled() => {}
            }
        };
        let _ = tokio::time::timeout(bound, waited).await;
        let done = record.torn_down.is_cancelled();
        if done {
            tracing::debug!(service = &*record.name, term = session.term, "destroyed");
            session.services.remove(&record);
            record.crew().stop();
            self.forget_crew(&record.name);
        } else if let Err(lapsed) = session.authority.check() {
            return Err(fenced(format!("destroy: {lapsed}")).into());
        }
        let view = record.view();
        Ok(Response::new(v1::DestroyResponse { revision: view.revision, done, message: view.message }))
    }

    /// The record of a service that is torn down from now on, and whether it was before.
    fn tear_down(
        self: &Arc<Self>,
        session: &Arc<Session>,
        request: v1::DestroyRequest,
    ) -> Result<(Arc<Record>, bool), Error> {
        let mut services = session.services_to_add_to(format_args!("destroy of {}", request.name))?;
        let record = match services.get(request.name.as_str()) {
            Some(record) if record.is_destroying() => return Ok((record.clone(), true)),
            Some(record) => {
                record.crew().stop();
                record.destroy(self.crew(&record.name, session));
                record.clone()
            }
            None => {
                let Some(declaration) = request.service else {
                    let message =
                        format!("{} is not known here, and the call does not say what it was", request.name);
                    return Err(Error::new(Reason::NotFound, message));
                };
                let declared = self.declared(Some(declaration), 0)?;
                if *declared.name != *request.name {
                    let message =
                        format!("destroy of {} carries the declaration of {}", request.name, declared.name);
                    return Err(Error::new(Reason::InvalidSpec, message).with("field", "name"));
                }
                let crew = self.crew(&declared.name, session);
                let record = Record::new(declared, kept(&request.state), crew, Phase::Destroying);
                services.insert(record.name.clone(), record.clone());
                record
            }
        };
        self.employ(session, &record, Work::TearDown);
        drop(services);
        session.changed(&record);
        Ok((record, false))
    }

    /// Checks the parts of a declaration that are not the plugin's own.
    pub(crate) fn declared(
        &self,
        declaration: Option<v1::Declaration>,
        revision: u64,
    ) -> Result<Declared, Error> {
        let invalid = |field: &str, why: String| Error::new(Reason::InvalidSpec, why).with("field", field);
        let declaration = declaration.ok_or_else(|| invalid("", "no service is declared".to_owned()))?;
        names::check_service(&declaration.name).map_err(|why| invalid("name", why))?;
        if self.kind(&declaration.kind).is_none() {
            let kinds: Vec<_> = self.kinds.iter().map(|kind| kind.name.as_str()).collect();
            let message =
                format!("this plugin knows no kind {:?}; it knows {}", declaration.kind, kinds.join(", "));
            return Err(Error::new(Reason::UnknownKind, message).with("kind", declaration.kind));
        }
        if declaration.spec_json.len() > MAX_SPEC_BYTES {
            let size = declaration.spec_json.len();
            return Err(invalid("spec", format!("spec has {size} bytes, more than {MAX_SPEC_BYTES}")));
        }
        Ok(readable(declaration, revision))
    }
}

enum Work {
    LookAfter,
    TearDown,
}

fn readable(declaration: v1::Declaration, revision: u64) -> Declared {
    let v1::Declaration { name, kind, labels, spec_json } = declaration;
    let labels: BTreeMap<_, _> = labels.into_iter().collect();
    Declared { name: name.into(), kind: kind.into(), revision, labels, spec: kept(&spec_json) }
}

/// Bytes of a message, to be kept: a copy, for those that came are a piece of a buffer of 8 KiB or more, which would be
/// kept with them.
fn kept(received: &Bytes) -> Bytes {
    Bytes::copy_from_slice(received)
}

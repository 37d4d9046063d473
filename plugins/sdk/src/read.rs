//! Describe, list and watch: what is known of the session's services.

use std::collections::HashSet;
use std::sync::Arc;

use om_api::v1::{self, EventType};
use om_api::{Error, Reason, clock};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::Declared;
use crate::admit::Shell;
use crate::guard::caught_call;
use crate::record::{Record, View};
use crate::session::Session;

/// What a watcher reads.
pub(crate) type Events = ReceiverStream<Result<v1::WatchResponse, Status>>;

const PAGE: usize = 500;
const LARGEST_PAGE: usize = 1000;

pub(crate) fn not_found(name: &str) -> Error {
    Error::new(Reason::NotFound, format!("no service {name} is committed to this plugin"))
}

impl Shell {
    /// A service of the newest session.
    pub(crate) fn find(&self, name: &str) -> Result<(Arc<Session>, Arc<Record>), Error> {
        let session = self.session().ok_or_else(|| not_found(name))?;
        let record = session.services.get(name).ok_or_else(|| not_found(name))?;
        Ok((session, record))
    }

    fn summary(session: &Session, record: &Record) -> v1::Summary {
        // In this order: what was made of an older declaration is never shown as made of a newer one.
        let declared = record.newest();
        Self::summary_of(session, &declared, &record.view())
    }

    fn summary_of(session: &Session, declared: &Declared, view: &View) -> v1::Summary {
        let message = match session.authority.check() {
            Err(lapsed) if view.message.is_empty() => lapsed.to_string(),
            _ => view.message.clone(),
        };
        v1::Summary {
            name: declared.name.to_string(),
            kind: declared.kind.to_string(),
            revision: declared.revision,
            phase: view.phase.into(),
            message,
            labels: declared.labels.clone().into_iter().collect(),
        }
    }

    pub(crate) fn describe(
        &self,
        request: Request<v1::DescribeRequest>,
    ) -> Result<Response<v1::DescribeResponse>, Status> {
        self.admit(&request)?;
        let (session, record) = self.find(&request.into_inner().name)?;
        let declared = record.newest();
        let view = record.view();
        let summary = Some(Self::summary_of(&session, &declared, &view));
        let reported = view.members.filter(|_| session.authority.check().is_ok());
        let members = match reported {
            Some(members) => members,
            None => {
                let state = record.state();
                caught_call(|| self.plugin.members_at_rest(&state)).unwrap_or_default()
            }
        };
        let service = v1::Description { summary, spec_json: declared.spec.clone(), members };
        Ok(Response::new(v1::DescribeResponse { service: Some(service) }))
    }

    pub(crate) fn list(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<v1::ListResponse>, Status> {
        self.admit(&request)?;
        let v1::ListRequest { kind, selector, page_size, page_token } = request.into_inner();
        let Some(session) = self.session() else { return Ok(Response::new(v1::ListResponse::default())) };
        let limit = match usize::try_from(page_size) {
            Ok(0) => PAGE,
            size => size.unwrap_or(LARGEST_PAGE).min(LARGEST_PAGE),
        };
        let (records, more) = session.services.page(&page_token, limit, |record| {
            let declared = record.newest();
            (kind.is_empty() || *kind == *declared.kind)
                && selector.iter().all(|(key, value)| declared.labels.get(key) == Some(value))
        });
        let last = records.last().filter(|_| more).map(|record| record.name.to_string());
        Ok(Response::new(v1::ListResponse {
            services: records.iter().map(|record| Self::summary(&session, record)).collect(),
            next_page_token: last.unwrap_or_default(),
            revision: session.services.revision(),
        }))
    }

    /// The newest status of each service, then every change. A plugin keeps no events of the past.
    pub(crate) fn watch(
        self: &Arc<Self>,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Events>, Status> {
        self.admit(&request)?;
        let v1::WatchRequest { name, after_revision } = request.into_inner();
        let newest = self.session().map_or(0, |session| session.services.revision());
        if after_revision.is_some_and(|after| after < newest) {
            return Err(Error::new(Reason::Compacted, "a plugin keeps no events of the past")
                .hint("watch at the manager")
                .with("oldest", newest)
                .into());
        }
        let (sender, events) = mpsc::channel(16);
        let shell = self.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = shell.follow(&name, &sender) => {}
                () = sender.closed() => {}
                () = shell.stopping.cancelled() => {
                    let _ = sender.try_send(Err(Error::new(Reason::PluginUnavailable, "this plugin is stopping").into()));
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(events)))
    }

    async fn follow(&self, only: &str, sender: &mpsc::Sender<Result<v1::WatchResponse, Status>>) {
        // Subscribed before the first look, so that no change falls between.
        let mut feed = self.feed.subscribe();
        let mut changed = self.names(only);
        loop {
            for name in changed.drain(..) {
                let Ok((session, record)) = self.find(&name) else { continue };
                if sender.send(Ok(Self::event(&session, &record))).await.is_err() {
                    return;
                }
            }
            match feed.recv().await {
                Ok(name) => changed.push(name),
                // Too slow for each change: the newest of all.
                Err(RecvError::Lagged(_)) => changed = self.names(only),
                Err(RecvError::Closed) => return,
            }
            // What came meanwhile, each name once.
            while let Ok(name) = feed.try_recv() {
                changed.push(name);
            }
            let mut seen = HashSet::new();
            changed.retain(|name| (only.is_empty() || **name == *only) && seen.insert(name.clone()));
        }
    }

    fn names(&self, only: &str) -> Vec<Arc<str>> {
        let records = self.session().map(|session| session.services.all()).unwrap_or_default();
        let names = records.into_iter().map(|record| record.name.clone());
        names.filter(|name| only.is_empty() || **name == *only).collect()
    }

    fn event(session: &Session, record: &Record) -> v1::WatchResponse {
        let summary = Self::summary(session, record);
        let event = v1::Event {
            revision: summary.revision,
            time_unix_ms: clock::wall_unix_ms(),
            r#type: EventType::Status.into(),
            service: summary.name,
            kind: summary.kind,
            phase: summary.phase,
            message: summary.message,
            term: session.term,
            leader: String::new(),
        };
        v1::WatchResponse { event: Some(event) }
    }
}

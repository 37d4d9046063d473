//! The interface of a plugin, served by the manager.

use om_api::v1::service_plugin_server::ServicePlugin;
use om_api::{Error, v1};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Answer, Front, LARGEST_PAGE, Pieces, page};
use crate::errors;
use crate::records::{SERVICES, ServiceRecord, Stored, key, selected};
use crate::reign::Reign;

const PAGE: usize = 500;

#[tonic::async_trait]
impl ServicePlugin for Front {
    type AttendStream = Pieces<v1::AttendResponse>;
    type CommitManyStream = Pieces<v1::CommitManyResponse>;
    type WatchStream = Pieces<v1::WatchResponse>;
    type RunStream = Pieces<v1::RunResponse>;

    async fn handshake(&self, _: Request<v1::HandshakeRequest>) -> Answer<v1::HandshakeResponse> {
        Ok(Response::new(v1::HandshakeResponse {
            protocol: om_api::PROTOCOL.to_owned(),
            role: v1::Role::Manager.into(),
            name: self.replica.name.clone(),
            version: crate::VERSION.to_owned(),
            instance: self.instance.clone(),
            host: self.replica.host.clone(),
            kinds: self.replica.kinds(),
        }))
    }

    async fn attend(&self, request: Request<Streaming<v1::AttendRequest>>) -> Answer<Self::AttendStream> {
        Ok(Response::new(self.attended(request).await?))
    }

    async fn commit(&self, request: Request<v1::CommitRequest>) -> Answer<v1::CommitResponse> {
        self.superior.check(&request)?;
        let request = request.into_inner();
        if let (true, Some(service)) = (request.revision > 0, &request.service) {
            self.superior.declared(&service.name, request.revision);
        }
        Ok(Response::new(self.replica.leader()?.commit(request).await?))
    }

    // Each commit is written to the store here, and may take its time.
    async fn commit_many(&self, _: Request<Streaming<v1::CommitRequest>>) -> Answer<Self::CommitManyStream> {
        Err(Status::unimplemented("a manager is asked by Commit"))
    }

    async fn free(&self, request: Request<v1::FreeRequest>) -> Answer<v1::FreeResponse> {
        self.superior.check(&request)?;
        Ok(Response::new(self.replica.leader()?.free(request.into_inner()).await?))
    }

    async fn destroy(&self, request: Request<v1::DestroyRequest>) -> Answer<v1::DestroyResponse> {
        self.superior.check(&request)?;
        Ok(Response::new(self.replica.leader()?.destroy(request.into_inner()).await?))
    }

    // Reached only for what no plugin can describe just now; see the router.
    async fn describe(&self, request: Request<v1::DescribeRequest>) -> Answer<v1::DescribeResponse> {
        let reign = self.replica.leader()?;
        let stored = existing(&reign, &request.into_inner().name)?;
        let attended = reign.board().get(&stored.declaration.name).is_some_and(|known| known.attended);
        let said = match attended && !stored.destroying {
            true => reign.described(&stored.declaration.kind, &stored.declaration.name).await,
            false => None,
        };
        let service = v1::Description {
            summary: Some(standing(&reign, stored.summary())),
            spec_json: stored.declaration.spec_json,
            members: said.map(|said| said.members).unwrap_or_default(),
        };
        Ok(Response::new(v1::DescribeResponse { service: Some(service) }))
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Answer<v1::ListResponse> {
        let reign = self.replica.leader()?;
        let v1::ListRequest { kind, selector, page_size, page_token } = request.into_inner();
        let limit = page(page_size, PAGE);
        let wanted = |record: &ServiceRecord| {
            (kind.is_empty() || record.kind() == kind) && selected(record.labels(), &selector)
        };
        let view = reign.store().view();
        let mut after = (!page_token.is_empty()).then(|| key(SERVICES, &page_token));
        let mut services = Vec::new();
        loop {
            let (revision, records) = view.scan(SERVICES, after.as_deref(), LARGEST_PAGE);
            let ended = records.len() < LARGEST_PAGE;
            for (key, record) in records {
                let read = ServiceRecord::read(&key, &record).map_err(|error| errors::of_store(&error))?;
                if !wanted(&read) {
                    continue;
                }
                if services.len() == limit {
                    let next_page_token =
                        services.last().map_or(String::new(), |s: &v1::Summary| s.name.clone());
                    return Ok(Response::new(v1::ListResponse { services, next_page_token, revision }));
                }
                let summary = read.summary(&key[SERVICES.len()..], record.modified);
                services.push(standing(&reign, summary));
                after = Some(key.to_string());
            }
            if ended {
                let next_page_token = String::new();
                return Ok(Response::new(v1::ListResponse { services, next_page_token, revision }));
            }
        }
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Answer<Self::WatchStream> {
        let v1::WatchRequest { name, after_revision } = request.into_inner();
        let events = super::events::watch(self.replica.leader()?, name, after_revision).await?;
        let events = ReceiverStream::new(events);
        Ok(Response::new(Box::pin(events.map(|event| Ok(v1::WatchResponse { event: Some(event?) })))))
    }

    // Reached only for changing actions; see the router.
    async fn run(&self, request: Request<v1::RunRequest>) -> Answer<Self::RunStream> {
        self.superior.check(&request)?;
        let reign = self.replica.leader()?;
        let run = reign.run(request.into_inner()).await?;
        Ok(Response::new(Box::pin(ReceiverStream::new(run))))
    }
}

fn existing(reign: &Reign, name: &str) -> Result<Stored, Error> {
    reign.service(name)?.ok_or_else(|| errors::no_service(name, reign.is_freed(name)))
}

/// The summary with how the service stands.
fn standing(reign: &Reign, summary: v1::Summary) -> v1::Summary {
    let (phase, message) = reign.phase(&summary.name);
    let phase = if summary.phase() == v1::Phase::Destroying { summary.phase } else { phase.into() };
    v1::Summary { phase, message, ..summary }
}

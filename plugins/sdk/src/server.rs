//! The gRPC service, each call handed on.

use std::sync::Arc;

use om_api::v1::service_plugin_server::ServicePlugin;
use om_api::v1::{self, Role};
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::admit::Shell;
use crate::{action, attend, many, read};

pub(crate) struct Server(pub(crate) Arc<Shell>);

#[async_trait]
impl ServicePlugin for Server {
    type AttendStream = attend::Outgoing;
    type CommitManyStream = many::Outcomes;
    type WatchStream = read::Events;
    type RunStream = action::Pieces;

    async fn handshake(
        &self,
        request: Request<v1::HandshakeRequest>,
    ) -> Result<Response<v1::HandshakeResponse>, Status> {
        self.0.admit(&request)?;
        Ok(Response::new(v1::HandshakeResponse {
            protocol: om_api::PROTOCOL.to_owned(),
            role: Role::Plugin.into(),
            name: self.0.name.clone(),
            version: self.0.version.clone(),
            instance: self.0.instance.clone(),
            host: self.0.host.to_string(),
            kinds: self.0.kinds.clone(),
        }))
    }

    async fn attend(
        &self,
        request: Request<Streaming<v1::AttendRequest>>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        self.0.attend(request).await
    }

    async fn commit(
        &self,
        request: Request<v1::CommitRequest>,
    ) -> Result<Response<v1::CommitResponse>, Status> {
        self.0.commit(request).await
    }

    async fn commit_many(
        &self,
        request: Request<Streaming<v1::CommitRequest>>,
    ) -> Result<Response<Self::CommitManyStream>, Status> {
        self.0.commit_many(request).await
    }

    async fn free(&self, request: Request<v1::FreeRequest>) -> Result<Response<v1::FreeResponse>, Status> {
        self.0.free(request).await
    }

    async fn destroy(
        &self,
        request: Request<v1::DestroyRequest>,
    ) -> Result<Response<v1::DestroyResponse>, Status> {
        self.0.destroy(request).await
    }

    async fn describe(
        &self,
        request: Request<v1::DescribeRequest>,
    ) -> Result<Response<v1::DescribeResponse>, Status> {
        self.0.describe(request)
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        self.0.list(request)
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.0.watch(request)
    }

    async fn run(&self, request: Request<v1::RunRequest>) -> Result<Response<Self::RunStream>, Status> {
        self.0.run(request).await
    }
}

//! Many commits over one stream: what a call of its own costs each, they share.

use std::pin::Pin;
use std::sync::Arc;

use om_api::v1;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use crate::admit::Shell;
use crate::session::Session;

/// An answer for each commit, in their order.
pub(crate) type Outcomes = Pin<Box<dyn Stream<Item = Result<v1::CommitManyResponse, Status>> + Send>>;

impl Shell {
    pub(crate) async fn commit_many(
        self: &Arc<Self>,
        request: Request<Streaming<v1::CommitRequest>>,
    ) -> Result<Response<Outcomes>, Status> {
        let caller = self.admit(&request)?;
        let session = self.authorize(&caller, "commit").await?;
        let shell = self.clone();
        let over = session.authority.over().clone();
        let answers = request.into_inner().map(move |asked| Ok(shell.commit_one(&session, asked?).into()));
        // A manager that hangs does not keep the stream of a session that is over.
        let answers = futures_util::StreamExt::take_until(answers, over.cancelled_owned());
        Ok(Response::new(Box::pin(answers)))
    }

    fn commit_one(
        self: &Arc<Self>,
        session: &Arc<Session>,
        asked: v1::CommitRequest,
    ) -> Result<v1::CommitResponse, Status> {
        let v1::CommitRequest { service, dry_run, revision, state, .. } = asked;
        if dry_run {
            return Err(Status::invalid_argument("commit of many: a dry run is a call of its own"));
        }
        let declared = self.declared(service, revision)?;
        self.lasting(session, "commit")?;
        Ok(self.declare(session, declared, &state)?)
    }
}

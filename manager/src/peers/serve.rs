//! What other replicas, and plugins that lost their leader, say to this one.

use std::pin::Pin;
use std::sync::Arc;

use om_api::v1::peer_server::Peer;
use om_api::v1::{self, LinkRequest, LinkResponse, link_request as to, link_response as from};
use om_leadership::election::{ElectionDetector, Incoming};
use om_store::Head;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt, once};
use tonic::{Request, Response, Status, Streaming};

use super::{BACKLOG, GREETING, answered, request};
use crate::wills::Wills;

/// Serves `om.v1.Peer`.
#[derive(Clone)]
pub(crate) struct PeerFront {
    pub(crate) me: v1::Hello,
    pub(crate) election: Arc<ElectionDetector>,
    pub(crate) wills: Arc<Wills>,
    pub(crate) head: watch::Receiver<Option<Head>>,
}

#[tonic::async_trait]
impl Peer for PeerFront {
    type LinkStream = Pin<Box<dyn Stream<Item = Result<LinkResponse, Status>> + Send>>;

    async fn link(
        &self,
        line: Request<Streaming<LinkRequest>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        let mut incoming = line.into_inner();
        let first = tokio::time::timeout(GREETING, incoming.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("link: no `hello` came"))??;
        let Some(to::Message::Hello(hello)) = first.and_then(|first| first.message) else {
            return Err(Status::invalid_argument("link: the first message must be `hello`"));
        };
        if hello.cluster != self.me.cluster {
            let text = format!(
                "link: this replica belongs to cluster {:?}, not {:?}",
                self.me.cluster, hello.cluster
            );
            return Err(Status::failed_precondition(text));
        }
        let greeting = LinkResponse { message: Some(from::Message::Hello(self.me.clone())) };
        let (tell, told) = mpsc::channel(BACKLOG);
        let requests = incoming.map_while(Result::ok).filter_map(|LinkRequest { message }| request(message?));
        let line = Incoming { instance: hello.instance, requests: Box::pin(requests), answers: tell };
        self.election.take(line).await;
        let told = ReceiverStream::new(told).map(|answer| LinkResponse { message: Some(answered(answer)) });
        Ok(Response::new(Box::pin(once(greeting).chain(told).map(Ok))))
    }

    async fn testify(
        &self,
        word: Request<v1::TestifyRequest>,
    ) -> Result<Response<v1::TestifyResponse>, Status> {
        self.wills.hear(word.into_inner());
        let term = self.head.borrow().as_ref().map_or(0, |head| head.term().0);
        Ok(Response::new(v1::TestifyResponse { term }))
    }
}

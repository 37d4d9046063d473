//! What other replicas, and plugins that lost their leader, say to this one.

use std::sync::Arc;

use om_api::v1::peer_server::Peer;
use om_api::v1::{self, LinkRequest, LinkResponse, link_request as to, link_response as from};
use om_leadership::election::{ElectionDetector, Incoming};
use om_store::Head;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
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
    pub(crate) tasks: TaskTracker,
}

#[tonic::async_trait]
impl Peer for PeerFront {
    type LinkStream = ReceiverStream<Result<LinkResponse, Status>>;

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
        let (out, answers) = mpsc::channel(BACKLOG);
        let greeting = LinkResponse { message: Some(from::Message::Hello(self.me.clone())) };
        out.send(Ok(greeting)).await.map_err(|_| Status::cancelled("link: the line is closed"))?;
        let (ask, requests) = mpsc::channel(BACKLOG);
        let (tell, mut told) = mpsc::channel(BACKLOG);
        self.election.take(Incoming { instance: hello.instance, requests, answers: tell }).await;
        self.tasks.spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    message = incoming.message() => match message {
                        Ok(Some(LinkRequest { message: Some(message) })) => {
                            let Some(request) = request(message) else { continue };
                            if ask.send(request).await.is_err() {
                                return;
                            }
                        }
                        Ok(Some(_)) => {}
                        Ok(None) | Err(_) => return,
                    },
                    answer = told.recv() => {
                        let Some(answer) = answer else { return };
                        let message = Some(answered(answer));
                        if out.send(Ok(LinkResponse { message })).await.is_err() {
                            return;
                        }
                    }
                    () = ask.closed() => return,
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
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

//! Opening a line to another replica.

use std::time::Duration;

use async_trait::async_trait;
use om_api::socket::{self, Address, Dialer, Security};
use om_api::v1::peer_client::PeerClient;
use om_api::v1::{self, LinkRequest, LinkResponse, link_request as to, link_response as from};
use om_kv::layout::ReplicaRecord;
use om_leadership::election::{Network, Outgoing};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{StreamExt, once};

use super::{BACKLOG, GREETING, answer, asked};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(1);

/// Lines over gRPC: by socket to replicas of this host, by TCP to others.
pub(crate) struct GrpcNetwork {
    me: v1::Hello,
    host: String,
    dialer: Dialer,
    security: Box<dyn Fn() -> Security + Send + Sync>,
}

impl GrpcNetwork {
    /// `security`: how TCP is spoken at this moment.
    pub(crate) fn new(
        me: v1::Hello,
        host: String,
        dialer: Dialer,
        security: impl Fn() -> Security + Send + Sync + 'static,
    ) -> Self {
        Self { me, host, dialer, security: Box::new(security) }
    }
}

#[async_trait]
impl Network for GrpcNetwork {
    async fn dial(&self, to: &ReplicaRecord) -> Result<Outgoing, String> {
        let url = if to.host == self.host && !to.socket.is_empty() { &to.socket } else { &to.endpoint };
        let address: Address = url.parse().map_err(|why| format!("{why}"))?;
        let security = (self.security)();
        let channel = socket::connect_by(&self.dialer, &address, &security, CONNECT)
            .await
            .map_err(|error| error.to_string())?;
        let (ask, questions) = mpsc::channel(BACKLOG);
        let hello = LinkRequest { message: Some(to::Message::Hello(self.me.clone())) };
        let questions =
            ReceiverStream::new(questions).map(|question| LinkRequest { message: Some(asked(question)) });
        let mut client = PeerClient::new(channel);
        let greeting = async {
            let mut answers = client.link(once(hello).chain(questions)).await?.into_inner();
            let first = answers.message().await?;
            Ok::<_, tonic::Status>((answers, first))
        };
        let greeted = tokio::time::timeout(GREETING, greeting).await;
        let greeted = greeted.map_err(|_| format!("{} said nothing within {GREETING:?}", to.name))?;
        let (answers, first) = greeted.map_err(|status| status.message().to_owned())?;
        match first.and_then(|first| first.message) {
            Some(from::Message::Hello(hello)) if hello.instance == to.instance => {}
            Some(from::Message::Hello(hello)) => {
                return Err(format!("{} answers at {address}, not the process looked for", hello.name));
            }
            _ => return Err(format!("what answers at {address} does not greet")),
        }
        let answers = answers.map_while(Result::ok).filter_map(|LinkResponse { message }| answer(message?));
        Ok(Outgoing { requests: ask, answers: Box::pin(answers) })
    }
}

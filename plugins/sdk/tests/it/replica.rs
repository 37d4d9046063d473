//! A replica, as far as a plugin's last word goes: hears it and says which term is the newest that it knows of.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use om_api::socket::{Address, KnownCallers, SocketOptions, TcpIncoming, bind, server};
use om_api::testing::Issued;
use om_api::v1::attend_request::Will;
use om_api::v1::peer_server::{Peer, PeerServer};
use om_api::v1::{LinkRequest, LinkResponse, TestifyRequest, TestifyResponse};
use tokio::task::JoinSet;
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::probe::Journal;

/// What it heard, and how many tasks acted at that moment.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) said: TestifyRequest,
    pub(crate) alive: usize,
}

#[derive(Clone)]
struct Ears {
    term: Arc<AtomicU64>,
    words: Arc<Mutex<Vec<Word>>>,
    journal: Arc<Journal>,
}

pub(crate) struct Replica {
    ears: Ears,
    address: Address,
    tasks: JoinSet<()>,
    _dir: tempfile::TempDir,
}

impl Replica {
    /// Serves nothing yet.
    pub(crate) fn absent(journal: &Arc<Journal>, term: u64) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let term = Arc::new(term.into());
        let ears = Ears { term, words: Arc::default(), journal: journal.clone() };
        let address = Address::Unix(dir.path().join("replica"));
        Self { ears, address, tasks: JoinSet::new(), _dir: dir }
    }

    /// Serves; knows of `term`.
    pub(crate) fn start(journal: &Arc<Journal>, term: u64) -> Self {
        let mut replica = Self::absent(journal, term);
        replica.serve();
        replica
    }

    /// The same by TLS, as on another host.
    pub(crate) async fn start_tls(journal: &Arc<Journal>, term: u64, issued: &Issued) -> Self {
        let mut replica = Self::absent(journal, term);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        replica.address = Address::Tcp { host: "127.0.0.1".to_owned(), port };
        let incoming = TcpIncoming::new(listener, Some(issued.server()), |_, _| ());
        let serving = server()
            .layer(KnownCallers)
            .add_service(PeerServer::new(replica.ears.clone()))
            .serve_with_incoming(incoming);
        replica.tasks.spawn(async move { serving.await.expect("serves") });
        replica
    }

    pub(crate) fn serve(&mut self) {
        let Address::Unix(path) = &self.address else { panic!("on a unix socket") };
        let socket = bind(path, &SocketOptions::default()).expect("a socket");
        let serving = server().add_service(PeerServer::new(self.ears.clone())).serve_with_incoming(socket);
        self.tasks.spawn(async move { serving.await.expect("serves") });
    }

    pub(crate) fn knows(&self, term: u64) {
        self.ears.term.store(term, Ordering::SeqCst);
    }

    pub(crate) fn words(&self) -> Vec<Word> {
        self.ears.words.lock().expect("no panic inside").clone()
    }

    /// How often it heard of this grant.
    pub(crate) fn heard(&self, grant: &str) -> usize {
        self.words().iter().filter(|word| word.said.grant == grant).count()
    }
}

/// A will that names these.
pub(crate) fn will(grant: &str, replicas: &[&Replica]) -> Will {
    Will {
        grant: grant.to_owned(),
        token: format!("secret of {grant}").into(),
        endpoints: replicas.iter().map(|replica| replica.address.to_string()).collect(),
        ..Default::default()
    }
}

#[async_trait]
impl Peer for Ears {
    type LinkStream = tokio_stream::Empty<Result<LinkResponse, Status>>;

    async fn link(&self, _: Request<Streaming<LinkRequest>>) -> Result<Response<Self::LinkStream>, Status> {
        Err(Status::unimplemented("no line here"))
    }

    async fn testify(&self, request: Request<TestifyRequest>) -> Result<Response<TestifyResponse>, Status> {
        let word = Word { said: request.into_inner(), alive: self.journal.alive() };
        self.words.lock().expect("no panic inside").push(word);
        Ok(Response::new(TestifyResponse { term: self.term.load(Ordering::SeqCst) }))
    }
}

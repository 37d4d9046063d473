//! An engine that is none: a Swarm of one manager in this process, with faults, for tests.
//!
//! It speaks HTTP on a port of this host, and answers as an engine does, in its words, what a [keyspace](crate::SwarmKeyspace)
//! asks for.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail by panicking")]

mod world;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinSet;

use self::world::{Answer, World};
use crate::{Engine, EngineOptions};

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is done, and its answer is lost.
    Lost,
    /// It is not done, and the connection is closed.
    Dropped,
    /// It is not done, and there is never an answer.
    Hung,
    /// It is done twice, as by a manager that passes it on to the leader again; the answer is the second's.
    Twice,
    /// It is not done: the Swarm has no leader.
    Leaderless,
}

/// An engine of a test; gone when dropped.
pub struct FakeEngine {
    at: SocketAddr,
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

struct Shared {
    world: Mutex<World>,
    faults: Mutex<Faults>,
    events: broadcast::Sender<String>,
    stopped: Notify,
}

#[derive(Default)]
struct Faults {
    /// For the next request whose line begins so: `POST /swarm/update`.
    next: VecDeque<(String, Fault)>,
    /// So many more requests that change something are done, then none is answered any more.
    left: Option<usize>,
    stopped: bool,
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

impl FakeEngine {
    /// One with a Swarm in which somebody else has a label. Must be called within a runtime.
    ///
    /// # Panics
    /// Without a free port.
    #[must_use]
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a listener");
        let listener = TcpListener::from_std(listener).expect("a runtime");
        let at = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            world: Mutex::new(World::new()),
            faults: Mutex::default(),
            events: broadcast::Sender::new(1024),
            stopped: Notify::new(),
        });
        let mut task = JoinSet::new();
        task.spawn(serve(listener, Arc::clone(&shared)));
        Self { at, shared, _task: task }
    }

    /// A way to it of one's own.
    ///
    /// # Panics
    /// Never: its address is good.
    #[must_use]
    pub fn engine(&self) -> Engine {
        let host = format!("tcp://{}", self.at);
        Engine::new(&EngineOptions { host, ..EngineOptions::default() }).expect("a good address")
    }

    /// The next request whose line begins so (`POST /swarm/update`) goes wrong.
    pub fn fail(&self, line: &str, fault: Fault) {
        self.shared.faults().next.push_back((line.to_owned(), fault));
    }

    /// How many requests are still to go wrong.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.shared.faults().next.len()
    }

    /// After so many more requests that change something, nothing is answered any more.
    pub fn stop_after(&self, changes: usize) {
        self.shared.faults().left = Some(changes);
    }

    /// Waits until a request was not answered for that.
    pub async fn stopped(&self) {
        self.shared.stopped.notified().await;
    }

    /// Answers again; gives whether it had stopped.
    #[must_use]
    pub fn go_on(&self) -> bool {
        let mut faults = self.shared.faults();
        faults.left = None;
        std::mem::take(&mut faults.stopped)
    }

    /// The Swarm's specification.
    #[must_use]
    pub fn spec(&self) -> Value {
        self.shared.world().spec.clone()
    }

    /// Somebody else changes the Swarm's specification.
    pub fn change(&self, with: impl FnOnce(&mut Value)) {
        self.shared.world().change(with);
    }

    /// The names of all config objects, in order.
    #[must_use]
    pub fn configs(&self) -> Vec<String> {
        self.shared.world().names()
    }

    /// Removes the config objects whose names begin so.
    pub fn remove(&self, begin: &str) {
        self.shared.world().remove_named(begin);
    }
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to go wrong with a request.
    fn fault(&self, line: &str) -> Option<Fault> {
        let mut faults = self.faults();
        if !line.starts_with("GET ") {
            match &mut faults.left {
                Some(0) => faults.stopped = true,
                Some(left) => *left -= 1,
                None => {}
            }
        }
        if faults.stopped {
            self.stopped.notify_one();
            return Some(Fault::Hung);
        }
        let place = faults.next.iter().position(|(begin, _)| line.starts_with(begin.as_str()))?;
        faults.next.remove(place).map(|(_, fault)| fault)
    }

    fn answer(&self, method: &str, path: &str, query: &str, body: &Value) -> Answer {
        let answer = self.world().answer(method, path, query, body);
        if let Some(name) = &answer.changed {
            let event =
                json!({ "Type": "config", "Action": "update", "Actor": { "Attributes": { "name": name } } });
            let _ = self.events.send(format!("{event}\n"));
        }
        answer
    }

    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Gone> {
        let method = request.method().to_string();
        let uri = request.uri().clone();
        let (path, query) = (uri.path().to_owned(), uri.query().unwrap_or_default().to_owned());
        if path == "/events" {
            return Ok(Response::new(self.stream()));
        }
        let body = request.into_body().collect().await.map_err(|_| Gone)?.to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        let answer = match self.fault(&format!("{method} {path}")) {
            None => self.answer(&method, &path, &query, &body),
            Some(Fault::Lost) => {
                self.answer(&method, &path, &query, &body);
                return Err(Gone);
            }
            Some(Fault::Dropped) => return Err(Gone),
            Some(Fault::Hung) => return std::future::pending().await,
            Some(Fault::Twice) => {
                self.answer(&method, &path, &query, &body);
                self.answer(&method, &path, &query, &body)
            }
            Some(Fault::Leaderless) => Answer::bad(
                500,
                "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few managers are online.",
            ),
        };
        let text = if answer.body.is_null() { Bytes::new() } else { Bytes::from(answer.body.to_string()) };
        let body = Full::new(text).boxed_unsync();
        Ok(Response::builder().status(answer.status).body(body).expect("a good status"))
    }

    fn stream(&self) -> Body {
        let events = lines(self.events.subscribe());
        StreamBody::new(events.map(|line| Ok(Frame::data(Bytes::from(line))))).boxed_unsync()
    }
}

fn lines(events: broadcast::Receiver<String>) -> impl futures_util::Stream<Item = String> {
    futures_util::stream::unfold(events, |mut events| async move {
        // One that lags behind has its connection closed.
        events.recv().await.ok().map(|line| (line, events))
    })
}

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("gone")]
struct Gone;

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(move |request| Arc::clone(&shared).handle(request));
            let server = hyper::server::conn::http1::Builder::new();
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

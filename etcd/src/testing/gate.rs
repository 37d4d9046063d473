//! A way to an endpoint that can be cut: the network between a client and a member.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

#[derive(Clone, Copy, Default)]
struct State {
    shut: bool,
    /// New connections wait, others do not.
    barred: bool,
    /// New connections that had to wait.
    waiting: u32,
    /// How often all connections were closed.
    severed: u32,
}

/// Passes connections on to an endpoint, until it is shut: then all stay open, and nothing passes.
pub struct Gate {
    url: String,
    state: Arc<watch::Sender<State>>,
    _task: JoinSet<()>,
}

impl Gate {
    /// A gate before this endpoint, open.
    pub async fn before(endpoint: &str) -> Self {
        let to = endpoint.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(watch::Sender::new(State::default()));
        let mut task = JoinSet::new();
        task.spawn(pass(listener, to, state.clone()));
        Self { url, state, _task: task }
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Nothing passes any more.
    pub fn shut(&self) {
        self.state.send_modify(|state| state.shut = true);
    }

    /// What is connected passes on, and new connections wait.
    pub fn bar(&self) {
        self.state.send_modify(|state| state.barred = true);
    }

    /// Returns when a new connection waits.
    pub async fn knocked(&self) {
        self.state.subscribe().wait_for(|state| state.waiting > 0).await.unwrap();
    }

    /// Closes all connections; new ones wait before the shut gate.
    pub fn sever(&self) {
        self.state.send_modify(|state| *state = State { shut: true, severed: state.severed + 1, ..*state });
    }

    /// What waited passes, and what comes.
    pub fn open(&self) {
        self.state.send_modify(|state| *state = State { severed: state.severed, ..State::default() });
    }
}

async fn pass(listener: TcpListener, to: String, state: Arc<watch::Sender<State>>) {
    let mut ways = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while ways.try_join_next().is_some() {}
        let (to, all, mut state) = (to.clone(), state.clone(), state.subscribe());
        ways.spawn(async move {
            let held = |state: &State| state.shut || state.barred;
            if held(&state.borrow()) {
                all.send_modify(|state| state.waiting += 1);
            }
            if state.wait_for(|state| !held(state)).await.is_err() {
                return;
            }
            let Ok(server) = TcpStream::connect(to).await else { return };
            let severed = state.borrow().severed;
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::select! {
                () = copy(from_client, to_server, state.clone()) => {}
                () = copy(from_server, to_client, state.clone()) => {}
                _ = state.wait_for(|state| state.severed != severed) => {}
            }
        });
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(length) = from.read(&mut buffer).await else { return };
        if length == 0 || state.wait_for(|state| !state.shut).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

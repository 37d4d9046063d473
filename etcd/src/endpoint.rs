//! One endpoint of the cluster, with connections of its own, made when they are first needed.

use std::time::Duration;

use etcd_client::{Client, ConnectOptions};
use tokio::sync::Mutex;

use crate::judge::needs_no_user;

/// An endpoint that gave no answer so often, one after another, is connected anew: a connection into a network that
/// came back, or to a host that was replaced, may hang for minutes.
const SILENCES: u32 = 2;

/// etcd takes its time to check a password: some 100 ms of computing.
const AUTHENTICATION: Duration = Duration::from_millis(400);

/// What a connection is for. Streams have one of their own: they want a member that has a leader, and what they carry
/// must not hold up calls.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Calls,
    Streams,
}

/// A connection; the number tells it from the one before.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) client: Client,
    pub(crate) number: u64,
}

#[derive(Default)]
struct Slot {
    line: Option<Line>,
    made: u64,
    silences: u32,
}

pub(crate) struct Endpoint {
    pub(crate) url: String,
    options: ConnectOptions,
    user: Option<(String, String)>,
    calls: Mutex<Slot>,
    streams: Mutex<Slot>,
}

impl Endpoint {
    pub(crate) fn new(url: String, options: ConnectOptions, user: Option<(String, String)>) -> Self {
        Self { url, options, user, calls: Mutex::default(), streams: Mutex::default() }
    }

    fn slot(&self, purpose: Purpose) -> &Mutex<Slot> {
        match purpose {
            Purpose::Calls => &self.calls,
            Purpose::Streams => &self.streams,
        }
    }

    /// How long connecting may take where a call may take `attempt`.
    pub(crate) fn patience(&self, attempt: Duration) -> Duration {
        if self.user.is_some() { attempt.max(AUTHENTICATION) } else { attempt }
    }

    pub(crate) fn has_user(&self) -> bool {
        self.user.is_some()
    }

    /// The connection, authenticated. Whoever waits here at the same time waits for the same one.
    pub(crate) async fn line(&self, purpose: Purpose) -> Result<Line, etcd_client::Error> {
        let mut slot = self.slot(purpose).lock().await;
        if let Some(line) = &slot.line {
            return Ok(line.clone());
        }
        let client = self.connect(purpose).await?;
        slot.made += 1;
        slot.silences = 0;
        let line = Line { client, number: slot.made };
        slot.line = Some(line.clone());
        Ok(line)
    }

    async fn connect(&self, purpose: Purpose) -> Result<Client, etcd_client::Error> {
        let options = self.options.clone().with_require_leader(matches!(purpose, Purpose::Streams));
        let Some((name, password)) = &self.user else {
            return Client::connect([&self.url], Some(options)).await;
        };
        let with_user = options.clone().with_user(name, password);
        match Client::connect([&self.url], Some(with_user)).await {
            Err(error) if needs_no_user(&error) => {
                tracing::debug!(endpoint = self.url, "a user is given, but etcd has authentication off");
                Client::connect([&self.url], Some(options)).await
            }
            other => other,
        }
    }

    /// The connection with this number is not to be used any more.
    pub(crate) async fn drop_line(&self, purpose: Purpose, number: u64) {
        let mut slot = self.slot(purpose).lock().await;
        slot.line.take_if(|line| line.number == number);
    }

    /// A call on the connection with this number got an answer, or none in time.
    pub(crate) async fn heard(&self, number: u64, answered: bool) {
        let mut slot = self.calls.lock().await;
        slot.silences = if answered { 0 } else { slot.silences + 1 };
        if slot.silences >= SILENCES {
            slot.silences = 0;
            slot.line.take_if(|line| line.number == number);
        }
    }
}

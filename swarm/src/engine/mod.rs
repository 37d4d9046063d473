//! The way to a Docker engine: short attempts, and answers as the engine gave them.
//!
//! The specification of a Swarm belongs to many: it is read and sent back as JSON, whole, for a typed client would drop
//! what it does not know. A frozen engine accepts connections and answers nothing: every call has a time of its own.

mod address;
mod configs;
mod connection;
mod events;
mod insist;
mod swarm;

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

pub use address::{DEFAULT_HOST, EngineOptions, OptionsError};
pub(crate) use configs::Config;
pub(crate) use events::Events;
pub(crate) use insist::insist;
pub(crate) use swarm::SwarmObject;

use address::Way;
use connection::{Connection, Unanswered};

/// The largest answer that is taken, in bytes.
const LARGEST: usize = 256 * 1024 * 1024;
/// Connections that are kept for later.
const IDLE: usize = 8;

/// A way to an engine. Clones share its connections. Making one connects to nothing.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    url: String,
    way: Way,
    idle: Mutex<Vec<Connection>>,
}

/// Why an engine did not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    /// Nothing was sent.
    #[error("{0}")]
    Unreached(String),
    /// The two do not trust each other, or do not both speak TLS. Nothing was done.
    #[error("{0}")]
    Untrusted(String),
    /// It was sent, and there is no answer.
    #[error("{0}")]
    Silent(String),
    /// It answered, with this status of HTTP.
    #[error("{message}")]
    Said {
        /// The status.
        status: u16,
        /// What it said.
        message: String,
    },
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.url)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Engine").field(&self.0.url).finish()
    }
}

impl Engine {
    /// The engine that the options name.
    ///
    /// # Errors
    /// Options that cannot be used.
    pub fn new(options: &EngineOptions) -> Result<Self, OptionsError> {
        let (url, way) = (options.url().to_owned(), options.way()?);
        Ok(Self(Arc::new(Inner { url, way, idle: Mutex::default() })))
    }

    /// Asks, and reads the answer.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, time: Duration) -> Result<T, Trouble> {
        let body = self.call(Method::GET, path, None, time).await?;
        serde_json::from_slice(&body)
            .map_err(|error| Trouble::Silent(format!("its answer is not understood: {error}")))
    }

    /// Has something done.
    pub(crate) async fn post(&self, path: &str, body: &Value, time: Duration) -> Result<Bytes, Trouble> {
        self.call(Method::POST, path, Some(Bytes::from(body.to_string())), time).await
    }

    /// Whether it answers at all.
    pub(crate) async fn ping(&self, time: Duration) -> Result<(), Trouble> {
        self.call(Method::GET, "/_ping", None, time).await.map(drop)
    }

    pub(crate) async fn delete(&self, path: &str, time: Duration) -> Result<(), Trouble> {
        self.call(Method::DELETE, path, None, time).await.map(drop)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        time: Duration,
    ) -> Result<Bytes, Trouble> {
        let mut sent = false;
        let called = timeout(time, Box::pin(self.exchange(method, path, body, &mut sent))).await;
        match called {
            Ok(answer) => answer,
            Err(_) if sent => Err(Trouble::Silent(format!("no answer within {time:?}"))),
            Err(_) => Err(Trouble::Unreached(format!("no connection within {time:?}"))),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        sent: &mut bool,
    ) -> Result<Bytes, Trouble> {
        let (connection, response) = self.open(method, path, body, sent).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        let body = body.map_err(|error| Trouble::Silent(chain(&*error)))?.to_bytes();
        self.keep(connection);
        if status < 400 { Ok(body) } else { Err(said(status, &body)) }
    }

    /// Sends a request; the answer's body is still to come.
    async fn open(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        sent: &mut bool,
    ) -> Result<(Connection, http::Response<Incoming>), Trouble> {
        loop {
            let kept = self.idle().pop();
            let fresh = kept.is_none();
            let mut connection = match kept {
                Some(connection) if !connection.is_open() => continue,
                Some(connection) => connection,
                None => Connection::open(&self.0.way).await?,
            };
            *sent = true;
            match connection.send(request(&method, path, body.clone())?).await {
                Ok(response) => return Ok((connection, response)),
                // The engine had closed it.
                Err(Unanswered::NotSent(_)) if !fresh => *sent = false,
                Err(Unanswered::NotSent(why)) => return Err(Trouble::Unreached(why)),
                Err(Unanswered::Refused(why)) => return Err(Trouble::Untrusted(why)),
                Err(Unanswered::Sent(_)) if !fresh && method == Method::GET => {}
                Err(Unanswered::Sent(why)) => return Err(Trouble::Silent(why)),
            }
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle();
        if idle.len() < IDLE {
            idle.push(connection);
        }
    }
}

fn request(method: &Method, path: &str, body: Option<Bytes>) -> Result<Request<Full<Bytes>>, Trouble> {
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, "docker");
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let body = Full::new(body.unwrap_or_default());
    request.body(body).map_err(|error| Trouble::Unreached(format!("{path}: {error}")))
}

fn said(status: u16, body: &[u8]) -> Trouble {
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    let message = parsed.as_ref().and_then(|body| body["message"].as_str());
    let message = message.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned);
    Trouble::Said { status, message: message.trim().to_owned() }
}

/// A value for a query: everything but letters and digits encoded.
fn encoded(value: &str) -> String {
    let byte = |byte: u8| match byte {
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    value.bytes().map(byte).collect()
}

/// An error with its causes, each said once.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        cause = error.source();
    }
    said
}

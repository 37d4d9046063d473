//! What an engine tells by itself.

use std::time::Duration;

use bytes::BytesMut;
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use super::connection::Connection;
use super::{Engine, Trouble, encoded, said};

/// A line of an event is never longer.
const LONGEST: usize = 1024 * 1024;

/// Events as they come. Over when dropped.
pub(crate) struct Events {
    body: Incoming,
    read: BytesMut,
    _connection: Connection,
}

/// Something that happened to an object.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Event {
    #[serde(rename = "Actor", default)]
    actor: Actor,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Actor {
    #[serde(rename = "Attributes", default)]
    attributes: std::collections::BTreeMap<String, String>,
}

impl Event {
    /// The name of the object.
    pub(crate) fn name(&self) -> &str {
        self.actor.attributes.get("name").map_or("", String::as_str)
    }
}

impl Engine {
    /// Events of these types, from now on.
    pub(crate) async fn events(&self, kinds: &[&str], time: Duration) -> Result<Events, Trouble> {
        let filters = encoded(&json!({ "type": kinds }).to_string());
        let path = format!("/events?filters={filters}");
        let mut sent = false;
        let opened = timeout(time, Box::pin(self.open(Method::GET, &path, None, &mut sent))).await;
        let (connection, response) =
            opened.map_err(|_| Trouble::Silent(format!("no events within {time:?}")))??;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        if status >= 400 {
            let why = timeout(time, body.frame()).await.ok().flatten().and_then(Result::ok);
            let why = why.and_then(|frame| frame.into_data().ok()).unwrap_or_default();
            return Err(said(status, &why));
        }
        Ok(Events { body, read: BytesMut::new(), _connection: connection })
    }
}

impl Events {
    /// The next one; `None`: the engine ended it. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(end + 1);
                match serde_json::from_slice(&line) {
                    Ok(event) => return Some(event),
                    Err(error) => tracing::debug!(%error, "an event is not understood"),
                }
                continue;
            }
            if self.read.len() > LONGEST {
                return None;
            }
            let frame = self.body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                self.read.extend_from_slice(&data);
            }
        }
    }
}

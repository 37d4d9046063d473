//! What other software does with a Swarm that `docker` of this age cannot do: its labels.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use super::{Engine, PATIENCE};

impl Engine {
    /// The Swarm's own labels.
    ///
    /// # Panics
    /// If the engine does not tell.
    #[must_use]
    #[track_caller]
    pub fn swarm_labels(&self) -> Value {
        self.swarm_object()["Spec"]["Labels"].take()
    }

    /// Puts a label on the Swarm, or takes it away, as others do: what was read is sent back with that changed. Why it
    /// was refused: somebody was faster, or it is too much.
    ///
    /// # Errors
    /// In the engine's words.
    pub fn label_swarm(&self, name: &str, value: Option<&str>) -> Result<(), String> {
        let mut swarm = self.swarm_object();
        let mut spec = swarm["Spec"].take();
        if spec["Labels"].is_null() {
            spec["Labels"] = Value::Object(serde_json::Map::new());
        }
        let labels = spec["Labels"].as_object_mut().expect("labels");
        match value {
            Some(value) => drop(labels.insert(name.to_owned(), value.into())),
            None => drop(labels.remove(name)),
        }
        let path = format!("/swarm/update?version={}", swarm["Version"]["Index"]);
        self.call("POST", &path, &spec.to_string()).map(drop)
    }

    fn swarm_object(&self) -> Value {
        let text = self.call("GET", "/swarm", "").unwrap_or_else(|why| panic!("no Swarm: {why}"));
        serde_json::from_str(&text).expect("JSON")
    }

    // By HTTP/1.0, so that an answer ends with its connection.
    fn call(&self, method: &str, path: &str, body: &str) -> Result<String, String> {
        let broken = |cause: std::io::Error| cause.to_string();
        let mut stream = UnixStream::connect(self.socket()).map_err(broken)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
        let head = format!("{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/json\r\n");
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).map_err(broken)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(broken)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no whole answer")?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        if status.starts_with('2') { Ok(body.to_owned()) } else { Err(body.to_owned()) }
    }
}

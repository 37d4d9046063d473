//! Service documents for the tests.

use std::collections::BTreeMap;

use om_api::v1;
use serde_json::{Value, json};

use crate::{Bed, IMAGE};

/// One service document, to be changed and committed again.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The service's name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// The user's own marks.
    pub labels: BTreeMap<String, String>,
    /// The plugin's own part.
    pub spec: Value,
}

impl Spec {
    /// The same with a field of `spec` set.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.spec[field] = value.into();
        self
    }

    /// The same with a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: impl ToString) -> Self {
        self.labels.insert(key.to_owned(), value.to_string());
        self
    }

    /// The same with more arguments for the member program (kind `process`).
    ///
    /// # Panics
    /// If there is no command.
    #[must_use]
    pub fn argue(mut self, arguments: &[&str]) -> Self {
        let command = self.spec["command"].as_array_mut().expect("a command");
        command.extend(arguments.iter().map(|argument| json!(argument)));
        self
    }

    /// As `om commit` reads it.
    #[must_use]
    pub fn document(&self) -> String {
        json!({"kind": self.kind, "name": self.name, "labels": self.labels, "spec": self.spec}).to_string()
    }

    /// As it goes over the wire.
    #[must_use]
    pub fn declaration(&self) -> v1::Declaration {
        v1::Declaration {
            name: self.name.clone(),
            kind: self.kind.clone(),
            labels: self.labels.clone().into_iter().collect(),
            spec_json: self.spec.to_string().into(),
        }
    }

    /// A commit of it, under a request id of its own.
    #[must_use]
    pub fn commit(&self) -> v1::CommitRequest {
        v1::CommitRequest {
            service: Some(self.declaration()),
            request_id: uuid::Uuid::new_v4().to_string(),
            ..Default::default()
        }
    }
}

/// A service of kind `process`: `members` of the test's member program, the first listening on `port`.
#[must_use]
pub fn process(bed: &Bed, name: &str, members: u32, port: u16) -> Spec {
    let record = bed.member_record();
    let command =
        json!([bed.binary("om-test-member"), "--name", "${member}", "--record", record, "--port", "${port}"]);
    let spec = json!({
        "members": members,
        "command": command,
        "env": bed.marking(),
        "port": {"from": port},
        "health": {"tcp": "${port}", "interval": "100ms"},
        "restart": {"min": "50ms", "max": "1s"},
        "stop": {"signal": "TERM", "timeout": "5s"},
    });
    Spec { name: name.to_owned(), kind: "process".to_owned(), labels: BTreeMap::new(), spec }
}

/// A service of the recording plugin's kind, which writes into the bed's steering record.
#[must_use]
pub fn recorded(bed: &Bed, name: &str) -> Spec {
    let spec = json!({"record": bed.steering_record(), "every_ms": 10});
    Spec { name: name.to_owned(), kind: "record".to_owned(), labels: BTreeMap::new(), spec }
}

/// A service of kind `container`: so many that sleep, and end at once when they are told to.
#[must_use]
pub fn container(name: &str, replicas: u32) -> Spec {
    let spec = json!({
        "image": IMAGE,
        "replicas": replicas,
        "command": ["sleep", "100000"],
        "stop": {"signal": "KILL", "timeout": "1s"},
        "update": {"monitor": "500ms"},
        "restart": {"delay": "100ms"},
    });
    Spec { name: name.to_owned(), kind: "container".to_owned(), labels: BTreeMap::new(), spec }
}

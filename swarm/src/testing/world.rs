//! What an engine keeps of its Swarm: the specification with its version, and config objects.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The largest raft message, in bytes, about.
const MESSAGE: usize = 1_500_000;
/// What a config object may hold, in bytes.
const CONFIG: usize = 1_024_000;

/// The Swarm's state; every change of anything is one more index.
#[derive(Debug)]
pub(super) struct World {
    index: u64,
    version: u64,
    pub(super) spec: Value,
    configs: BTreeMap<String, Config>,
}

#[derive(Clone, Debug)]
struct Config {
    version: u64,
    name: String,
    labels: Value,
    data: String,
}

/// An answer: the status of HTTP, and the body; the name of a config object that changed.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
    pub(super) changed: Option<String>,
}

impl Answer {
    fn good(status: u16, body: Value) -> Self {
        Self { status, body, changed: None }
    }

    pub(super) fn bad(status: u16, message: &str) -> Self {
        Self { status, body: json!({ "message": message }), changed: None }
    }

    fn changed(status: u16, body: Value, name: &str) -> Self {
        Self { status, body, changed: Some(name.to_owned()) }
    }
}

impl World {
    pub(super) fn new() -> Self {
        let spec = json!({
            "Name": "default",
            "Labels": { "somebody": "else's" },
            "Orchestration": { "TaskHistoryRetentionLimit": 5 },
            "ToCome": { "Setting": [1, 2, { "of": "a newer engine" }] },
        });
        Self { index: 10, version: 10, spec, configs: BTreeMap::new() }
    }

    /// The names of the config objects, in order.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.configs.values().map(|config| config.name.clone()).collect();
        names.sort();
        names
    }

    /// Others change the Swarm's specification.
    pub(super) fn change(&mut self, with: impl FnOnce(&mut Value)) {
        with(&mut self.spec);
        self.index += 1;
        self.version = self.index;
    }

    pub(super) fn remove_named(&mut self, begin: &str) {
        self.configs.retain(|_, config| !config.name.starts_with(begin));
    }

    pub(super) fn answer(&mut self, method: &str, path: &str, query: &str, body: &Value) -> Answer {
        let pieces: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (method, pieces.as_slice()) {
            ("GET", ["_ping"]) => Answer::good(200, json!("OK")),
            ("GET", ["swarm"]) => Answer::good(200, self.swarm()),
            ("POST", ["swarm", "update"]) => self.update(query, body),
            ("GET", ["configs"]) => Answer::good(200, self.list(query)),
            ("POST", ["configs", "create"]) => self.create(body),
            ("GET", ["configs", which]) => match self.find(which) {
                Some(id) => Answer::good(200, self.configs[&id].show(&id)),
                None => Answer::bad(404, &format!("config {which} not found")),
            },
            ("POST", ["configs", which, "update"]) => self.label(which, query, body),
            ("DELETE", ["configs", which]) => {
                match self.find(which).and_then(|id| self.configs.remove(&id)) {
                    Some(config) => Answer::changed(204, Value::Null, &config.name),
                    None => Answer::bad(404, &format!("config {which} not found")),
                }
            }
            _ => Answer::bad(404, "page not found"),
        }
    }

    fn swarm(&self) -> Value {
        json!({ "ID": "swarm-of-a-test", "Version": { "Index": self.version }, "Spec": self.spec })
    }

    fn update(&mut self, query: &str, spec: &Value) -> Answer {
        if version(query) != Some(self.version) {
            return Answer::bad(500, "rpc error: code = Unknown desc = update out of sequence");
        }
        if spec.to_string().len() > MESSAGE {
            return Answer::bad(
                500,
                "rpc error: code = Unknown desc = raft: raft message is too large and can't be sent",
            );
        }
        self.change(|own| *own = spec.clone());
        Answer::good(200, Value::Null)
    }

    fn list(&self, query: &str) -> Value {
        let begin = query.split_once("filters=").map(|(_, filters)| decoded(filters));
        let begin: Value = begin.and_then(|begin| serde_json::from_str(&begin).ok()).unwrap_or_default();
        let begin = begin["name"][0].as_str().unwrap_or_default();
        let found = self.configs.iter().filter(|(_, config)| config.name.starts_with(begin));
        found.map(|(id, config)| config.show(id)).collect()
    }

    fn create(&mut self, body: &Value) -> Answer {
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let (name, data) = (text("Name"), text("Data"));
        if self.configs.values().any(|config| config.name == name) {
            let message = format!("rpc error: code = AlreadyExists desc = config {name} already exists");
            return Answer::bad(409, &message);
        }
        if data.is_empty() || data.len() / 4 * 3 > CONFIG {
            let message = "rpc error: code = InvalidArgument desc = config data must be larger than 0 and less than 1024000 bytes";
            return Answer::bad(400, message);
        }
        self.index += 1;
        let id = format!("config{:020}", self.index);
        let labels = body["Labels"].clone();
        self.configs.insert(id.clone(), Config { version: self.index, name: name.clone(), labels, data });
        Answer::changed(201, json!({ "ID": id }), &name)
    }

    fn label(&mut self, which: &str, query: &str, body: &Value) -> Answer {
        let Some(id) = self.find(which) else {
            return Answer::bad(404, &format!("config {which} not found"));
        };
        self.index += 1;
        let index = self.index;
        let Some(config) = self.configs.get_mut(&id).filter(|config| version(query) == Some(config.version))
        else {
            return Answer::bad(500, "rpc error: code = Unknown desc = update out of sequence");
        };
        config.version = index;
        config.labels = body["Labels"].clone();
        Answer::changed(200, Value::Null, &config.name.clone())
    }

    fn find(&self, which: &str) -> Option<String> {
        let found = self.configs.iter().find(|(id, config)| *id == which || config.name == which);
        found.map(|(id, _)| id.clone())
    }
}

impl Config {
    fn show(&self, id: &str) -> Value {
        let spec = json!({ "Name": self.name, "Labels": self.labels, "Data": self.data });
        json!({ "ID": id, "Version": { "Index": self.version }, "Spec": spec })
    }
}

fn version(query: &str) -> Option<u64> {
    query.split_once("version=")?.1.parse().ok()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = [rest.clone().next(), rest.clone().nth(1)];
        match (byte, hex) {
            (b'%', [Some(high), Some(low)]) => {
                let digit = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0);
                bytes.push(u8::try_from(digit(high) * 16 + digit(low)).unwrap_or(b'?'));
                rest.nth(1);
            }
            (other, _) => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

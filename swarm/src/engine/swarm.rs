//! The Swarm as an object: its specification, and the version that compare-and-swap goes by.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{Engine, Trouble};

/// The Swarm, as its leader has it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SwarmObject {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    #[serde(rename = "Version")]
    version: Version,
    /// All of it, also what is not ours.
    #[serde(rename = "Spec")]
    spec: Value,
}

/// Of whatever is kept in the Swarm's state.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Version {
    #[serde(rename = "Index")]
    pub(super) index: u64,
}

impl SwarmObject {
    /// One more with each change, of whatever it is.
    pub(crate) fn version(&self) -> u64 {
        self.version.index
    }

    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.spec["Labels"][name].as_str()
    }

    /// The specification with one label changed.
    pub(crate) fn with_label(&self, name: &str, value: String) -> Value {
        let mut spec = self.spec.clone();
        if let Value::Object(spec) = &mut spec {
            let labels = spec.entry("Labels").or_insert(Value::Null);
            if labels.is_null() {
                *labels = Value::Object(serde_json::Map::new());
            }
            if let Value::Object(labels) = labels {
                labels.insert(name.to_owned(), Value::String(value));
            }
        }
        spec
    }
}

impl Engine {
    /// The Swarm.
    pub(crate) async fn inspect_swarm(&self, time: Duration) -> Result<SwarmObject, Trouble> {
        self.get("/swarm", time).await
    }

    /// Changes the Swarm's specification if it still has this version.
    pub(crate) async fn update_swarm(
        &self,
        version: u64,
        spec: &Value,
        time: Duration,
    ) -> Result<(), Trouble> {
        self.post(&format!("/swarm/update?version={version}"), spec, time).await.map(drop)
    }
}

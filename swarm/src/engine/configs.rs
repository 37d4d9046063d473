//! Config objects: data that never changes, with labels that do.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;

use super::swarm::Version;
use super::{Engine, Trouble, encoded};

/// A config object.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Config {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    #[serde(rename = "Version")]
    version: Version,
    #[serde(rename = "Spec")]
    spec: Spec,
}

#[derive(Clone, Debug, Deserialize)]
struct Spec {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Labels", default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(rename = "Data", default)]
    data: Option<String>,
}

#[derive(Deserialize)]
struct Created {
    #[serde(rename = "ID")]
    id: String,
}

impl Config {
    pub(crate) fn version(&self) -> u64 {
        self.version.index
    }

    pub(crate) fn name(&self) -> &str {
        &self.spec.name
    }

    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.spec.labels.as_ref()?.get(name).map(String::as_str)
    }

    /// What it holds, if that can be read.
    pub(crate) fn data(&self) -> Result<Vec<u8>, base64::DecodeError> {
        STANDARD.decode(self.spec.data.as_deref().unwrap_or_default())
    }
}

impl Engine {
    /// Makes a config object; its identity. A name that is taken is refused with the status 409.
    pub(crate) async fn create_config(
        &self,
        name: &str,
        labels: &[(&str, String)],
        data: &[u8],
        time: Duration,
    ) -> Result<String, Trouble> {
        let labels: BTreeMap<&str, &str> =
            labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let body = json!({ "Name": name, "Labels": labels, "Data": STANDARD.encode(data) });
        let answer = self.post("/configs/create", &body, time).await?;
        let created: Created = serde_json::from_slice(&answer)
            .map_err(|error| Trouble::Silent(format!("its answer is not understood: {error}")))?;
        Ok(created.id)
    }

    /// A config object, by its identity or its name. There is none: the status 404.
    pub(crate) async fn config(&self, which: &str, time: Duration) -> Result<Config, Trouble> {
        self.get(&format!("/configs/{which}"), time).await
    }

    /// The config objects whose names begin so, with what they hold.
    pub(crate) async fn configs(&self, prefix: &str, time: Duration) -> Result<Vec<Config>, Trouble> {
        let filters = encoded(&json!({ "name": [prefix] }).to_string());
        self.get(&format!("/configs?filters={filters}"), time).await
    }

    /// Sets labels of a config object if it still has this version.
    pub(crate) async fn label_config(
        &self,
        config: &Config,
        set: &[(&str, String)],
        time: Duration,
    ) -> Result<(), Trouble> {
        let mut labels = config.spec.labels.clone().unwrap_or_default();
        labels.extend(set.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let body = json!({ "Name": config.spec.name, "Labels": labels, "Data": config.spec.data });
        let path = format!("/configs/{}/update?version={}", config.id, config.version.index);
        self.post(&path, &body, time).await.map(drop)
    }

    /// Removes a config object.
    pub(crate) async fn remove_config(&self, id: &str, time: Duration) -> Result<(), Trouble> {
        self.delete(&format!("/configs/{id}"), time).await
    }
}

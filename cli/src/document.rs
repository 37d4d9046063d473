//! Service documents: YAML or JSON files with one or more services each.
//!
//! What must hold: a document means the same as YAML and as JSON; whatever is wrong is said with file, line and column;
//! nothing is guessed (a key that is no string, a value given twice, a field that nobody knows are errors).

mod node;
mod read;
mod value;
mod visit;

pub(crate) use node::Node;
pub(crate) use read::read_all;

use std::collections::BTreeMap;

use om_api::v1::Declaration;
use serde::Serialize;

/// One service as it was declared in a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Document {
    /// Where it stands.
    pub(crate) file: String,
    /// The service's name.
    pub(crate) name: String,
    /// Picks the plugin.
    pub(crate) kind: String,
    /// The user's own marks.
    pub(crate) labels: BTreeMap<String, String>,
    /// The plugin's own part, compact JSON.
    pub(crate) spec: Vec<u8>,
}

impl Document {
    /// As it goes over the wire.
    pub(crate) fn declaration(&self) -> Declaration {
        Declaration {
            name: self.name.clone(),
            kind: self.kind.clone(),
            labels: self.labels.clone().into_iter().collect(),
            spec_json: self.spec.clone().into(),
        }
    }
}

/// A service as it is printed, to be committed again.
#[derive(Debug, Serialize)]
pub(crate) struct Printed {
    /// Picks the plugin.
    pub(crate) kind: String,
    /// The service's name.
    pub(crate) name: String,
    /// The user's own marks.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    /// The plugin's own part.
    pub(crate) spec: Node,
}

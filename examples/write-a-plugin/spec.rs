//! What a user declares, and what the plugin has to remember.

use std::path::{Path, PathBuf};

use om_plugin_sdk::{Declared, Failed, Rejected, spec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Files are written in one go; a large one does not belong into a declaration.
const LARGEST: usize = 64 * 1024;

/// The `spec` of a service of kind `file`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileSpec {
    /// Where: an absolute path, in a directory that exists.
    pub(crate) path: PathBuf,
    /// What stands in it.
    pub(crate) content: String,
}

/// Arguments of `om run NAME show`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub(crate) struct ShowArgs {
    /// Only so many lines.
    pub(crate) lines: Option<usize>,
}

/// Reads a spec. Shape and types are checked by [`spec::parse`], which names the field to blame; what only this plugin
/// can know is checked here.
pub(crate) fn read(declared: &Declared) -> Result<FileSpec, Rejected> {
    let spec: FileSpec = spec::parse(&declared.spec)?;
    if !spec.path.is_absolute() || spec.path.file_name().is_none() {
        return Err(Rejected::field("spec.path", "spec.path: must be the absolute path of a file"));
    }
    if spec.content.len() > LARGEST {
        let why = format!("spec.content: has {} bytes, more than {LARGEST}", spec.content.len());
        return Err(Rejected::field("spec.content", why));
    }
    Ok(spec)
}

/// What must survive this process: which files are this service's, and on which host. The manager keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Where the files are; `None` until there is one.
    pub(crate) host: Option<String>,
    /// Files that this service made, or was about to make.
    pub(crate) paths: Vec<PathBuf>,
}

impl State {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Failed> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(bytes)
            .map_err(|cause| Failed(format!("the saved state is unreadable: {cause}")))
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        serde_json::json!(self).to_string().into_bytes()
    }

    /// Takes a path for this service. Says whether that is new, and so to be saved before the file is made.
    pub(crate) fn claim(&mut self, path: &Path, host: &str) -> bool {
        let new = !self.paths.iter().any(|known| known == path);
        if new {
            self.host = Some(host.to_owned());
            self.paths.push(path.to_owned());
        }
        new
    }

    /// Files of earlier declarations.
    pub(crate) fn others(&self, path: &Path) -> Vec<PathBuf> {
        self.paths.iter().filter(|known| *known != path).cloned().collect()
    }

    /// Forgets them. Says whether there were any.
    pub(crate) fn keep_only(&mut self, path: &Path) -> bool {
        let before = self.paths.len();
        self.paths.retain(|known| known == path);
        self.paths.len() != before
    }
}

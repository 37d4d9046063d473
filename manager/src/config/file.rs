//! The configuration file: TOML, with the long flags as keys.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What a file may say. Every key is optional; an unknown one is refused.
#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    pub(super) leader_file: Option<PathBuf>,
    pub(super) poll: Option<String>,
    pub(super) endpoints: Option<Vec<String>>,
    pub(super) cluster: Option<String>,
    pub(super) lease_ttl: Option<String>,
    pub(super) cacert: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) user: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) docker_host: Option<String>,
    pub(super) docker_tls_verify: Option<String>,
    pub(super) docker_cert_path: Option<PathBuf>,
    pub(super) process_dir: Option<PathBuf>,
    pub(super) name: Option<String>,
    pub(super) proxy_for: Option<Vec<String>>,
    pub(super) plugins_dir: Option<PathBuf>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) advertise: Option<String>,
    pub(super) listen: Option<Vec<String>>,
    pub(super) tls_cert: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) tls_ca: Option<PathBuf>,
    pub(super) insecure: Option<bool>,
    pub(super) authority: Option<String>,
    pub(super) socket_mode: Option<String>,
    pub(super) socket_group: Option<String>,
    pub(super) host: Option<String>,
    pub(super) log: Option<String>,
    pub(super) log_format: Option<String>,
}

impl File {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|cause| format!("cannot read {shown}: {cause}"))?;
        toml::from_str(&text).map_err(|cause| format!("{shown}: {cause}"))
    }
}

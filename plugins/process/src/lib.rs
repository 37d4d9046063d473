//! The kind `process`: members run as processes on this host.
//!
//! What must hold, whatever dies when:
//!
//! * No member runs that the manager does not remember: [`gate`].
//! * There are never two copies of a member. A remembered process is found again by pid *and* start time, and adopted;
//!   before a member is started, nothing may be left of its former process: `group`.
//! * This program acts only while it holds authority: every effect asks first, and all that is under way hangs on one
//!   future, which is dropped: `keeper`.
//! * What to do is decided by a pure function: `plan`.
//!
//! A program that embeds this plugin calls [`gate::main_if_asked`] first thing in its `main`.

mod actions;
pub mod gate;
mod group;
mod health;
mod keeper;
mod logs;
mod member;
mod plan;
mod ports;
mod procfs;
mod shared;
mod spec;
mod state;
mod template;
mod text;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use om_api::v1;
use om_plugin_sdk::{Declared, Failed, Output, Plugin, Rejected, Service};

use crate::logs::Limits;
use crate::shared::Shared;

/// How the plugin is set up.
#[derive(Clone, Debug)]
pub struct ProcessOptions {
    /// Program that is executed as the gate: one that calls [`gate::main_if_asked`], as a rule this very program.
    pub gate: PathBuf,
    /// Where the members' directories and logs are: `<root>/<service>/<member>/`. Absolute.
    pub root: PathBuf,
    /// A member's log is rotated at this size, in bytes.
    pub log_bytes: u64,
    /// So many files of log are kept for a member.
    pub log_files: u32,
}

impl ProcessOptions {
    /// Size at which a log is rotated unless said otherwise: 10 MiB.
    pub const LOG_BYTES: u64 = 10 * 1024 * 1024;
    /// Files of log that are kept for a member unless said otherwise.
    pub const LOG_FILES: u32 = 3;

    /// The defaults: this very program is the gate. Named by the kernel's link, so that it stays the very same program
    /// even when its file was replaced by another version.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let gate = PathBuf::from("/proc/self/exe");
        Self { gate, root: root.into(), log_bytes: Self::LOG_BYTES, log_files: Self::LOG_FILES }
    }
}

/// The plugin.
#[derive(Debug)]
pub struct ProcessPlugin {
    shared: Arc<Shared>,
}

impl ProcessPlugin {
    /// A plugin that looks after nothing yet.
    #[must_use]
    pub fn new(options: ProcessOptions) -> Self {
        let ProcessOptions { gate, root, log_bytes, log_files } = options;
        let shared = Shared {
            gate,
            root,
            logs: Limits { bytes: log_bytes, files: log_files.max(1) },
            scanner: group::Scanner::default(),
            ports: ports::Ports::default(),
            desks: shared::Desks::default(),
        };
        Self { shared: Arc::new(shared) }
    }
}

#[async_trait]
impl Plugin for ProcessPlugin {
    fn kinds(&self) -> Vec<v1::Kind> {
        vec![actions::kind()]
    }

    async fn plan(&self, wanted: &Declared, current: Option<&Declared>) -> Result<Vec<String>, Rejected> {
        let spec = spec::read(&wanted.name, &wanted.spec)?;
        if let Some(why) = spec.ports().and_then(|ports| self.shared.ports.overlap(&wanted.name, &ports)) {
            return Err(Rejected::field("spec.port.from", format!("spec.port.from: {why}")));
        }
        // What stands there now may have been accepted by an older version.
        let current = current.and_then(|current| spec::read(&current.name, &current.spec).ok());
        Ok(plan::describe(&wanted.name, &spec, current.as_ref()))
    }

    async fn look_after(&self, service: Service) -> Result<(), Failed> {
        keeper::look_after(service, self.shared.clone()).await
    }

    async fn destroy(&self, service: Service) -> Result<(), Failed> {
        keeper::end_all(&service, &self.shared).await?;
        service.permit()?;
        actions::remove_dirs(&self.shared.root, service.name())
            .map_err(|cause| Failed(format!("cannot remove the directories of {}: {cause}", service.name())))
    }

    async fn run(
        &self,
        service: Service,
        action: &str,
        args: serde_json::Value,
        output: Output,
    ) -> Result<(), Failed> {
        actions::run(&service, &self.shared, action, args, &output).await
    }

    fn members_at_rest(&self, state: &Bytes) -> Vec<v1::Member> {
        let state = state::State::read(state).ok().flatten();
        state.map(|state| keeper::outlook::at_rest(&state)).unwrap_or_default()
    }
}

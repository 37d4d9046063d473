//! The kind `container`: a service of a Docker Swarm or, at an engine without a Swarm, its containers.
//!
//! What must hold, whatever dies when:
//!
//! * Nothing is touched that the plugin did not make, or that a newer leader has changed: `stamp`.
//! * A change is conditional where the engine can do that (a Swarm): others' changes are read and judged, never
//!   overwritten: `swarm`, `merge`.
//! * A service is made in one place, which is remembered before: `place`.
//! * What is as declared already goes on untouched, whoever started it.
//! * No question to an engine waits for ever: `engine`.

mod actions;
mod check;
mod connect;
mod engine;
mod keeper;
mod local;
mod merge;
mod outlook;
mod place;
mod plan;
mod spec;
mod stamp;
mod swarm;
mod units;

use async_trait::async_trait;
pub use connect::{DockerFlags, DockerHost};
use om_api::v1;
use om_plugin_sdk::{Declared, Failed, Output, Plugin, Rejected, Service};

use crate::engine::Engine;

/// The plugin.
#[derive(Debug)]
pub struct DockerPlugin {
    engine: Engine,
}

impl DockerPlugin {
    /// A plugin for the engine there, which need not answer yet.
    #[must_use]
    pub fn new(host: DockerHost) -> Self {
        Self { engine: Engine { host } }
    }
}

#[async_trait]
impl Plugin for DockerPlugin {
    fn kinds(&self) -> Vec<v1::Kind> {
        vec![actions::kind()]
    }

    async fn plan(&self, wanted: &Declared, current: Option<&Declared>) -> Result<Vec<String>, Rejected> {
        let spec = check::read(&wanted.spec)?;
        // What stands there now may have been accepted by an older version.
        let current = current.and_then(|current| check::read(&current.spec).ok());
        plan::plan(&self.engine, &wanted.name, &spec, current.as_ref()).await
    }

    async fn look_after(&self, service: Service) -> Result<(), Failed> {
        keeper::look_after(service, self.engine.clone()).await
    }

    async fn destroy(&self, service: Service) -> Result<(), Failed> {
        keeper::destroy(&service, &self.engine).await
    }

    async fn run(
        &self,
        service: Service,
        action: &str,
        args: serde_json::Value,
        output: Output,
    ) -> Result<(), Failed> {
        actions::run(&service, &self.engine, action, args, &output).await
    }
}

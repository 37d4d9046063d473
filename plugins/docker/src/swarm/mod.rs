//! A service of a Swarm: made, kept as declared, removed.
//!
//! Every change is conditional on the version that was read: whoever was faster wins, and what it made of the service
//! is read and judged anew. Where nothing of ours differs, nothing is changed.

pub(crate) mod desired;
mod tasks;

use std::collections::HashMap;

use bollard::models::{Service as Found, ServiceSpec, Task};
use bollard::query_parameters::{
    InspectNetworkOptionsBuilder, ListTasksOptionsBuilder, UpdateServiceOptionsBuilder,
};
use om_plugin_sdk::{Failed, Service};
use serde_json::Value;

use crate::engine::{Engine, Trouble};
use crate::merge;
use crate::outlook::Outlook;
use crate::spec::Spec;
use crate::stamp::Stamp;

/// How often others may be faster before this pass ends; the next one goes on.
const ATTEMPTS: u32 = 5;

/// One service of a Swarm.
pub(crate) struct Swarm {
    pub(crate) engine: Engine,
    pub(crate) service: Service,
    /// What the engine made of what was asked: it may write things in another way. Asked, and then found.
    written: Option<(Value, Value)>,
}

fn what(name: &str) -> String {
    format!("the Swarm service {name}")
}

fn json<T: serde::Serialize>(value: &T) -> Result<Value, Trouble> {
    serde_json::to_value(value)
        .map_err(|cause| Failed(format!("cannot read the engine's answer: {cause}")).into())
}

impl Swarm {
    pub(crate) fn new(engine: Engine, service: Service) -> Self {
        Self { engine, service, written: None }
    }

    fn name(&self) -> &str {
        self.service.name()
    }

    /// Makes the service as declared, as far as it is not, and says how it is.
    pub(crate) async fn pass(&mut self, spec: &Spec, revision: u64) -> Result<Outlook, Trouble> {
        let networks = self.networks(&spec.networks).await?;
        let mut attempt = 0;
        let found = loop {
            attempt += 1;
            let found = self.find().await?;
            let stamp = Stamp::of(&self.service, revision)?;
            let wanted = desired::service(self.name(), spec, &stamp, &networks);
            let Some(found) = found else {
                self.create(&wanted).await?;
                continue;
            };
            let labels = found.spec.as_ref().and_then(|spec| spec.labels.as_ref());
            stamp.may_change(&what(self.name()), labels)?;
            let actual = json(&found.spec)?;
            let target = merge::merge(&actual, &wanted);
            let as_written = self
                .written
                .as_ref()
                .is_some_and(|(asked, made)| *asked == wanted && merge::same(made, &actual));
            if as_written || merge::same(&actual, &target) {
                break found;
            }
            if attempt > ATTEMPTS {
                return Err(Trouble::Refused(format!(
                    "{} is changed by others all the time; it is tried again",
                    what(self.name())
                )));
            }
            if self.update(&found, target).await? {
                let made = self.find().await?.map(|found| json(&found.spec)).transpose()?;
                self.written = made.map(|made| (wanted, made));
            }
        };
        let tasks = self.tasks().await?;
        let nodes = tasks::Nodes::list(&self.engine).await?;
        Ok(tasks::outlook(self.name(), spec, &found, &tasks, &nodes))
    }

    /// Where the tasks are, without changing anything.
    pub(crate) async fn tasks(&self) -> Result<Vec<Task>, Trouble> {
        let filters = HashMap::from([("service", vec![self.name()])]);
        let options = ListTasksOptionsBuilder::default().filters(&filters).build();
        let tasks = self
            .engine
            .find("list the tasks", |docker| async move { docker.list_tasks(Some(options)).await });
        Ok(tasks.await?.unwrap_or_default())
    }

    /// Replaces all tasks, as in an update.
    pub(crate) async fn restart(&self, revision: u64) -> Result<(), Trouble> {
        for _ in 0..ATTEMPTS {
            let found = self.find().await?;
            let found =
                found.ok_or_else(|| Trouble::Missing(format!("{} is not there", what(self.name()))))?;
            let labels = found.spec.as_ref().and_then(|spec| spec.labels.as_ref());
            Stamp::of(&self.service, revision)?.may_change(&what(self.name()), labels)?;
            let mut target = json(&found.spec)?;
            let forced = target["TaskTemplate"]["ForceUpdate"].as_u64().unwrap_or(0);
            target["TaskTemplate"]["ForceUpdate"] = (forced + 1).into();
            if self.update(&found, target).await? {
                return Ok(());
            }
        }
        Err(Trouble::Refused(format!("{} is changed by others all the time", what(self.name()))))
    }

    /// Removes the service. An error says what is still in the way.
    pub(crate) async fn remove(&self) -> Result<(), Trouble> {
        if let Some(found) = self.find().await? {
            let labels = found.spec.as_ref().and_then(|spec| spec.labels.as_ref());
            match Stamp::of(&self.service, u64::MAX)?.may_change(&what(self.name()), labels) {
                Ok(()) => {}
                // Of ours nothing is there.
                Err(Trouble::Taken(_)) => return Ok(()),
                Err(trouble) => return Err(trouble),
            }
            let name = self.name().to_owned();
            self.service.permit()?;
            let what = format!("remove {}", what(&name));
            let removed = self.engine.find(&what, |docker| async move { docker.delete_service(&name).await });
            removed.await?;
        }
        let left = self.left_behind().await?;
        if left.is_empty() {
            return Ok(());
        }
        Err(Trouble::Refused(format!("still in the way: {}", left.join("; "))))
    }

    /// Tasks of the service that are still there after it is gone.
    async fn left_behind(&self) -> Result<Vec<String>, Trouble> {
        let all =
            self.engine.call("list the tasks", |docker| async move { docker.list_tasks(None).await }).await?;
        let owner = Stamp::of(&self.service, u64::MAX)?.owner();
        let ours = |task: &Task| {
            let labels = task.spec.as_ref()?.container_spec.as_ref()?.labels.as_ref()?;
            Some(owner.iter().all(|(name, value)| labels.get(name).map(String::as_str) == value.as_str()))
        };
        let left: Vec<Task> =
            all.into_iter().filter(|task| ours(task) == Some(true) && tasks::lives(task)).collect();
        if left.is_empty() {
            return Ok(Vec::new());
        }
        let nodes = tasks::Nodes::list(&self.engine).await?;
        Ok(left.iter().map(|task| tasks::in_the_way(self.name(), task, &nodes)).collect())
    }

    async fn find(&self) -> Result<Option<Found>, Trouble> {
        find(&self.engine, self.name()).await
    }

    async fn create(&self, wanted: &Value) -> Result<(), Trouble> {
        let spec = typed(wanted)?;
        self.service.permit()?;
        let what = format!("create {}", what(self.name()));
        match self.engine.call(&what, |docker| async move { docker.create_service(spec, None).await }).await {
            // Whoever was faster: it is judged by what it made.
            Err(Trouble::Conflict(why)) if self.find().await?.is_none() => Err(Trouble::Refused(why)),
            Ok(_) | Err(Trouble::Conflict(_)) => Ok(()),
            Err(trouble) => Err(trouble),
        }
    }

    /// Whether it was done; if not, somebody was faster.
    async fn update(&self, found: &Found, target: Value) -> Result<bool, Trouble> {
        let version = found.version.as_ref().and_then(|version| version.index);
        let index = version.and_then(|index| i32::try_from(index).ok());
        let index = index.ok_or_else(|| Failed(format!("{} has no usable version", what(self.name()))))?;
        let (id, spec) = (found.id.clone().unwrap_or_default(), typed(&target)?);
        let options = UpdateServiceOptionsBuilder::default().version(index).build();
        self.service.permit()?;
        let what = format!("change {}", what(self.name()));
        let updated = self
            .engine
            .call(&what, |docker| async move { docker.update_service(&id, spec, options, None).await });
        match updated.await {
            Ok(_) => Ok(true),
            Err(trouble @ (Trouble::Refused(_) | Trouble::Missing(_))) => {
                // The engine says in words only that the version is an old one; the version itself tells for certain.
                let now =
                    self.find().await?.and_then(|found| found.version).and_then(|version| version.index);
                if now == version { Err(trouble) } else { Ok(false) }
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// What the engine calls the networks.
    async fn networks(&self, names: &[String]) -> Result<Vec<String>, Trouble> {
        let mut ids = Vec::with_capacity(names.len());
        for name in names {
            let options = InspectNetworkOptionsBuilder::default().scope("swarm").build();
            let what = format!("look for the network {name}");
            let found = self
                .engine
                .find(&what, |docker| async move { docker.inspect_network(name, Some(options)).await })
                .await?;
            let id = found.and_then(|network| network.id).ok_or_else(|| {
                Trouble::Refused(format!(
                    "there is no network {name} in the Swarm: docker network create --driver overlay {name}"
                ))
            })?;
            ids.push(id);
        }
        Ok(ids)
    }
}

/// The service of this name, whosever.
pub(crate) async fn find(engine: &Engine, name: &str) -> Result<Option<Found>, Trouble> {
    let what = format!("look for {}", what(name));
    // A prefix of an identity would be found, too.
    let found = engine.find(&what, |docker| async move { docker.inspect_service(name, None).await }).await?;
    Ok(found.filter(|found| found.spec.as_ref().and_then(|spec| spec.name.as_deref()) == Some(name)))
}

fn typed(value: &Value) -> Result<ServiceSpec, Trouble> {
    let typed = serde_json::from_value(value.clone());
    typed.map_err(|cause| Failed(format!("cannot write down the service: {cause}")).into())
}

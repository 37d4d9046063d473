//! Containers of one engine: made, kept as declared, removed.
//!
//! Labels of a container never change, so they say in which term it was made, and from what. One of a higher term is
//! not touched.

pub(crate) mod desired;
mod look;
mod plan;

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, EndpointSettings, NetworkConnectRequest};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
    RestartContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use om_plugin_sdk::{Failed, Service};

use self::look::Watch;
use self::plan::Step;
use crate::engine::{Engine, PATIENCE, Trouble};
use crate::outlook::Outlook;
use crate::spec::Spec;
use crate::stamp::{self, Stamp};

/// Name of a container.
pub(crate) fn name(service: &str, index: u32) -> String {
    format!("{service}-{index}")
}

/// Containers of a service, by their place in it.
type Containers = BTreeMap<u32, ContainerInspectResponse>;

/// The containers of one service.
pub(crate) struct Local {
    pub(crate) engine: Engine,
    pub(crate) service: Service,
    watch: Watch,
}

impl Local {
    pub(crate) fn new(engine: Engine, service: Service) -> Self {
        Self { engine, service, watch: Watch::default() }
    }

    /// Makes the containers as declared, as far as they are not, and says how they are.
    pub(crate) async fn pass(&mut self, spec: &Spec, revision: u64) -> Result<Outlook, Trouble> {
        let (_, hash) = desired::template(spec);
        let mut containers = self.find().await?;
        let views = self.watch.views(&containers, spec, &hash);
        let steps = plan::next(spec.replicas, spec.update.max_unavailable, &views);
        if !steps.is_empty() {
            let stamp = Stamp::of(&self.service, revision)?;
            for container in containers.values() {
                may_change(&stamp, container)?;
            }
            if steps.iter().any(|step| matches!(step, Step::Create(_) | Step::Replace(_))) {
                self.engine.ensure_image(&spec.image).await?;
            }
            for step in steps {
                let trouble = self.step(step, spec, &stamp).await;
                match (step, trouble) {
                    (_, Ok(())) => {}
                    // It is there and does not start: told of it, and tried again when its time has come.
                    (
                        Step::Create(index) | Step::Start(index) | Step::Replace(index),
                        Err(Trouble::Refused(why)),
                    ) => {
                        self.watch.failed(index, why);
                    }
                    (_, Err(trouble)) => return Err(trouble),
                }
            }
            containers = self.find().await?;
        }
        Ok(self.watch.outlook(&self.service, &containers, spec, &hash))
    }

    async fn step(&mut self, step: Step, spec: &Spec, stamp: &Stamp) -> Result<(), Trouble> {
        let stop = Duration::from_secs(desired::seconds(spec));
        match step {
            Step::Create(index) => self.create(index, spec, stamp).await,
            Step::Start(index) if self.watch.is_due(index) => {
                self.start(&name(self.service.name(), index)).await
            }
            Step::Start(_) => Ok(()),
            Step::Remove(index) => self.take_down(&name(self.service.name(), index), stop).await,
            Step::Replace(index) => {
                self.take_down(&name(self.service.name(), index), stop).await?;
                self.create(index, spec, stamp).await
            }
        }
    }

    async fn create(&self, index: u32, spec: &Spec, stamp: &Stamp) -> Result<(), Trouble> {
        let name = name(self.service.name(), index);
        let body = desired::container(spec, stamp, index, self.service.name());
        let body = serde_json::from_value(body)
            .map_err(|cause| Failed(format!("cannot write down the container: {cause}")))?;
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        self.service.permit()?;
        let what = format!("create the container {name}");
        let made = self
            .engine
            .call(&what, |docker| async move { docker.create_container(Some(options), body).await });
        match made.await {
            Ok(_) => {}
            // A name that is taken: by one of ours that was just made, or by somebody's.
            Err(Trouble::Conflict(why)) => {
                let found = inspect(&self.engine, &name).await?.ok_or(Trouble::Refused(why))?;
                may_change(stamp, &found)?;
            }
            Err(Trouble::Missing(why)) => return Err(Trouble::Refused(why)),
            Err(trouble) => return Err(trouble),
        }
        for network in spec.networks.iter().skip(1) {
            let aliases = (!desired::is_special(network)).then(|| vec![self.service.name().to_owned()]);
            let request = NetworkConnectRequest {
                container: name.clone(),
                endpoint_config: Some(EndpointSettings { aliases, ..Default::default() }),
            };
            self.service.permit()?;
            let what = format!("connect {name} to the network {network}");
            let connected = self
                .engine
                .call(&what, |docker| async move { docker.connect_network(network, request).await });
            match connected.await {
                Ok(()) => {}
                Err(Trouble::Missing(why) | Trouble::Conflict(why)) => return Err(Trouble::Refused(why)),
                Err(trouble) => return Err(trouble),
            }
        }
        self.start(&name).await
    }

    async fn start(&self, name: &str) -> Result<(), Trouble> {
        self.service.permit()?;
        let what = format!("start the container {name}");
        let started = self.engine.call_within(PATIENCE * 4, &what, |docker| async move {
            docker.start_container(name, None).await
        });
        match started.await {
            Err(Trouble::Missing(why) | Trouble::Conflict(why)) => Err(Trouble::Refused(why)),
            other => other,
        }
    }

    /// Stops and removes a container that was found to be ours. Its anonymous volumes go with it.
    async fn take_down(&self, name: &str, stop: Duration) -> Result<(), Trouble> {
        self.service.permit()?;
        let seconds = i32::try_from(stop.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        let what = format!("stop the container {name}");
        let stopped = self.engine.call_within(stop + PATIENCE, &what, |docker| async move {
            docker.stop_container(name, Some(options)).await
        });
        let gone = |outcome: Result<(), Trouble>| match outcome {
            Err(Trouble::Missing(_)) => Ok(()),
            other => other,
        };
        gone(stopped.await)?;
        self.service.permit()?;
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let what = format!("remove the container {name}");
        let removed = self.engine.call_within(PATIENCE * 2, &what, |docker| async move {
            docker.remove_container(name, Some(options)).await
        });
        gone(removed.await)
    }

    /// Restarts one container, or all of them, one after the other, each when the one before works.
    pub(crate) async fn restart(&self, member: Option<&str>, spec: &Spec) -> Result<Vec<String>, Trouble> {
        let stamp = Stamp::of(&self.service, u64::MAX)?;
        let mut restarted = Vec::new();
        for (index, container) in self.find().await? {
            let name = name(self.service.name(), index);
            if member.is_some_and(|member| member != name) {
                continue;
            }
            may_change(&stamp, &container)?;
            let stop = desired::seconds(spec);
            let options =
                RestartContainerOptionsBuilder::default().t(i32::try_from(stop).unwrap_or(i32::MAX)).build();
            self.service.permit()?;
            let (what, id) = (format!("restart the container {name}"), name.as_str());
            let patience = Duration::from_secs(stop) + PATIENCE * 2;
            self.engine
                .call_within(patience, &what, |docker| async move {
                    docker.restart_container(id, Some(options)).await
                })
                .await?;
            restarted.push(name);
        }
        Ok(restarted)
    }

    /// Removes all containers of the service. An error says what is in the way.
    pub(crate) async fn remove(&self) -> Result<(), Trouble> {
        let stamp = Stamp::of(&self.service, u64::MAX)?;
        let spec = crate::keeper::read(&self.service.declared().borrow().clone()).ok();
        let stop = Duration::from_secs(spec.as_ref().map_or(10, desired::seconds));
        let containers = self.find().await?;
        for container in containers.values() {
            may_change(&stamp, container)?;
        }
        let names: Vec<String> = containers.keys().map(|index| name(self.service.name(), *index)).collect();
        // All at once: each may take its time to stop.
        let gone = futures_util::future::join_all(names.iter().map(|name| self.take_down(name, stop))).await;
        let left: Vec<String> =
            gone.into_iter().filter_map(|one| one.err().map(|why| why.to_string())).collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(Trouble::Refused(format!("still in the way: {}", left.join("; "))))
        }
    }

    /// The containers of the service, by their labels.
    pub(crate) async fn find(&self) -> Result<Containers, Trouble> {
        let filters = Stamp::of(&self.service, 0)?.filters();
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let listed = self
            .engine
            .call("list the containers", |docker| async move { docker.list_containers(Some(options)).await })
            .await?;
        let mut containers = Containers::new();
        for summary in listed {
            let index =
                summary.labels.as_ref().and_then(|labels| labels.get(stamp::INDEX)?.parse::<u32>().ok());
            let (Some(index), Some(id)) = (index, summary.id) else { continue };
            // One that was removed just now is not there.
            if let Some(found) = inspect(&self.engine, &id).await? {
                containers.insert(index, found);
            }
        }
        Ok(containers)
    }
}

/// The container of this name, whosever.
pub(crate) async fn inspect(
    engine: &Engine,
    name: &str,
) -> Result<Option<ContainerInspectResponse>, Trouble> {
    let what = format!("look at the container {name}");
    engine.find(&what, |docker| async move { docker.inspect_container(name, None).await }).await
}

fn may_change(stamp: &Stamp, container: &ContainerInspectResponse) -> Result<(), Trouble> {
    let name = container.name.as_deref().unwrap_or_default().trim_start_matches('/');
    let labels = container.config.as_ref().and_then(|config| config.labels.as_ref());
    stamp.may_change(&format!("the container {name}"), labels)
}

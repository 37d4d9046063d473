//! How the containers of an engine are.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::models::{
    ContainerInspectResponse as Found, ContainerStateStatusEnum as Status, HealthStatusEnum,
};
use om_api::clock;
use om_plugin_sdk::Service;

use super::{Containers, name};
use crate::local::plan::View;
use crate::outlook::{Outlook, Standing};
use crate::spec::{Condition, Spec};
use crate::stamp;

/// A container without a check works once it has run for so long.
const STEADY: Duration = Duration::from_millis(500);
/// One that ended at once is started again after this, doubled up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// What only watching tells. All of it may be lost.
#[derive(Default)]
pub(crate) struct Watch {
    seen: BTreeMap<u32, Seen>,
}

#[derive(Default)]
struct Seen {
    /// Of which run it is: identity and start.
    run: (String, String),
    /// Since boot: when it was first seen so.
    since: Duration,
    /// The wait before the next start, and when it is over.
    pause: Duration,
    due: Duration,
    /// Why it could not be started.
    why: Option<String>,
}

fn status(found: &Found) -> Status {
    found.state.as_ref().and_then(|state| state.status).unwrap_or(Status::EMPTY)
}

fn health(found: &Found) -> Option<HealthStatusEnum> {
    let status = found.state.as_ref()?.health.as_ref()?.status?;
    (!matches!(status, HealthStatusEnum::NONE | HealthStatusEnum::EMPTY)).then_some(status)
}

fn label<'a>(found: &'a Found, name: &str) -> Option<&'a str> {
    Some(found.config.as_ref()?.labels.as_ref()?.get(name)?.as_str())
}

fn is_done(found: &Found, spec: &Spec) -> bool {
    let code = found.state.as_ref().and_then(|state| state.exit_code);
    let ended = status(found) == Status::EXITED;
    match spec.restart.condition {
        Condition::Any => false,
        Condition::OnFailure => ended && code == Some(0),
        Condition::None => ended,
    }
}

impl Watch {
    /// The containers, for the plan.
    pub(crate) fn views(&mut self, found: &Containers, spec: &Spec, hash: &str) -> BTreeMap<u32, View> {
        let now = clock::since_boot();
        self.seen.retain(|index, _| found.contains_key(index) || *index < spec.replicas);
        for (index, one) in found {
            let started = one.state.as_ref().and_then(|state| state.started_at.clone()).unwrap_or_default();
            let run = (one.id.clone().unwrap_or_default(), started);
            let seen = self.seen.entry(*index).or_default();
            if seen.run != run {
                (seen.run, seen.since) = (run, now);
            }
            if status(one) == Status::RUNNING && now >= seen.since + LONGEST {
                seen.pause = Duration::ZERO;
            }
        }
        let view = |(index, one): (&u32, &Found)| {
            let view = View {
                works: self.works(*index, one),
                done: is_done(one, spec),
                down: matches!(status(one), Status::CREATED | Status::EXITED | Status::DEAD | Status::EMPTY),
                current: label(one, stamp::HASH) == Some(hash),
            };
            (*index, view)
        };
        found.iter().map(view).collect()
    }

    fn works(&self, index: u32, found: &Found) -> bool {
        if status(found) != Status::RUNNING {
            return false;
        }
        match health(found) {
            Some(health) => health == HealthStatusEnum::HEALTHY,
            None => self.seen.get(&index).is_some_and(|seen| clock::since_boot() >= seen.since + STEADY),
        }
    }

    /// A start failed.
    pub(crate) fn failed(&mut self, index: u32, why: String) {
        self.seen.entry(index).or_default().why = Some(why);
    }

    /// Whether a container that is down may be started now; if so, the next time is later.
    pub(crate) fn is_due(&mut self, index: u32) -> bool {
        let now = clock::since_boot();
        let seen = self.seen.entry(index).or_default();
        if now < seen.due {
            return false;
        }
        seen.pause = (seen.pause * 2).clamp(SHORTEST, LONGEST);
        seen.due = now + seen.pause;
        true
    }

    /// The service, as its containers show it.
    pub(crate) fn outlook(
        &mut self,
        service: &Service,
        found: &Containers,
        spec: &Spec,
        hash: &str,
    ) -> Outlook {
        let views = self.views(found, spec, hash);
        let mut standings = Vec::new();
        for (index, one) in found.range(..spec.replicas) {
            let view = views[index];
            if let Some(seen) = self.seen.get_mut(index).filter(|_| view.works || view.done) {
                seen.why = None;
            }
            let why = self.seen.get(index).and_then(|seen| seen.why.clone());
            standings.push(standing(service, *index, one, view, why));
        }
        for index in (0..spec.replicas).filter(|index| !found.contains_key(index)) {
            if let Some(why) = self.seen.get(&index).and_then(|seen| seen.why.clone()) {
                let name = name(service.name(), index);
                standings.push(Standing {
                    name,
                    phase: "failed",
                    troubled: true,
                    current: true,
                    why,
                    ..Default::default()
                });
            }
        }
        let surplus = u32::try_from(found.range(spec.replicas..).count()).unwrap_or(u32::MAX);
        Outlook { wanted: spec.replicas, standings, surplus, ..Default::default() }
    }
}

fn standing(service: &Service, index: u32, found: &Found, view: View, why: Option<String>) -> Standing {
    let state = found.state.as_ref();
    let code = state.and_then(|state| state.exit_code).unwrap_or(0);
    let error = state.and_then(|state| state.error.clone()).filter(|error| !error.is_empty());
    let restarts = found.restart_count.unwrap_or(0);
    let (phase, said) = match (status(found), health(found)) {
        (Status::RUNNING, Some(HealthStatusEnum::UNHEALTHY)) => {
            ("unhealthy", Some("its check fails".to_owned()))
        }
        (Status::RUNNING, _) if view.works => ("running", None),
        (Status::RUNNING, _) if restarts > 0 => {
            ("backoff", Some(format!("ended with {code}, {restarts} times")))
        }
        (Status::RUNNING, _) => ("starting", None),
        (Status::RESTARTING, _) => ("backoff", Some(format!("ended with {code}, {restarts} times"))),
        (Status::PAUSED, _) => ("paused", Some("somebody paused it: docker unpause".to_owned())),
        (Status::REMOVING, _) => ("stopping", None),
        (Status::EXITED, _) if view.done => ("completed", None),
        (Status::EXITED, _) => ("failed", Some(format!("ended with {code}"))),
        _ => ("pending", None),
    };
    let why = if view.works || view.done { None } else { why.or(error).or(said) };
    let mut details = HashMap::from([("restarts".to_owned(), restarts.to_string())]);
    details
        .insert("container".to_owned(), found.id.as_deref().unwrap_or_default().chars().take(12).collect());
    if let Some(since) =
        state.and_then(|state| state.started_at.as_deref()).filter(|_| status(found) == Status::RUNNING)
    {
        details.insert("since".to_owned(), since.split('.').next().unwrap_or(since).to_owned());
    }
    Standing {
        name: name(service.name(), index),
        phase,
        works: view.works,
        done: view.done,
        current: view.current,
        troubled: why.is_some(),
        address: address(found),
        host: service.host().to_owned(),
        why: why.unwrap_or_default(),
        details,
    }
}

/// Where it is reached: a published port, else its own address.
fn address(found: &Found) -> String {
    let Some(settings) = &found.network_settings else { return String::new() };
    let bindings = settings.ports.iter().flatten().filter_map(|(_, bindings)| bindings.as_ref());
    let mut ports: Vec<&str> =
        bindings.flatten().filter_map(|binding| binding.host_port.as_deref()).collect();
    ports.sort_unstable();
    if let Some(port) = ports.first() {
        return format!("127.0.0.1:{port}");
    }
    let networks = settings.networks.iter().flatten();
    let address = networks.filter_map(|(_, network)| network.ip_address.clone());
    address.into_iter().find(|address| !address.is_empty()).unwrap_or_default()
}

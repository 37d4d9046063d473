//! A spec, as a container of an engine.

use serde_json::{Map, Value, json};

use crate::spec::{Condition, Spec};
use crate::stamp::{self, Stamp};
use crate::swarm::desired::{environment, health, labels, mount, signal};

/// What containers of the service are made from, and a hash of it; `replicas` and `update` are not part of it.
pub(crate) fn template(spec: &Spec) -> (Value, String) {
    let mut ports = Map::new();
    for port in &spec.ports {
        let key = format!("{}/{}", port.target, port.protocol.name());
        let published = if port.published == 0 { String::new() } else { port.published.to_string() };
        let bindings = ports.entry(key).or_insert_with(|| json!([]));
        if let Some(bindings) = bindings.as_array_mut() {
            bindings.push(json!({"HostPort": published}));
        }
    }
    let exposed: Map<_, _> = ports.keys().map(|port| (port.clone(), json!({}))).collect();
    let limits = &spec.resources.limits;
    let template = json!({
        "Image": spec.image,
        "Entrypoint": some(&spec.command),
        // A program of one's own gets no arguments of the image's.
        "Cmd": if spec.args.is_empty() && !spec.command.is_empty() { json!([]) } else { some(&spec.args) },
        "Env": environment(spec),
        "WorkingDir": spec.dir,
        "User": spec.user,
        "StopSignal": match signal(spec) {
            signal if signal.is_empty() => Value::Null,
            signal => signal.into(),
        },
        "StopTimeout": seconds(spec),
        "Healthcheck": spec.health.as_ref().map(health),
        "Labels": labels(spec, Map::new()),
        "ExposedPorts": exposed,
        "HostConfig": {
            "Mounts": spec.mounts.iter().map(mount).collect::<Vec<_>>(),
            "PortBindings": ports,
            "NetworkMode": spec.networks.first().map_or("default", String::as_str),
            "NanoCpus": limits.cpus.map_or(0, |cpus| cpus.0),
            "Memory": limits.memory.map_or(0, |memory| memory.0),
            "MemoryReservation": spec.resources.reservations.memory.map_or(0, |memory| memory.0),
            "PidsLimit": limits.pids.unwrap_or(0),
            "RestartPolicy": {
                "Name": match (spec.restart.condition, spec.restart.max_attempts) {
                    (Condition::None, _) => "no",
                    (Condition::Any, 0) => "always",
                    (Condition::OnFailure | Condition::Any, _) => "on-failure",
                },
                "MaximumRetryCount": spec.restart.max_attempts,
            },
        },
        // By its service's name, members find each other.
        "NetworkingConfig": {"EndpointsConfig": {}},
    });
    let hash = stamp::hash(&json!([template, spec.networks]));
    (template, hash)
}

/// One container.
pub(crate) fn container(spec: &Spec, stamp: &Stamp, index: u32, service: &str) -> Value {
    let (mut template, hash) = template(spec);
    let mut ours = stamp.labels();
    ours.insert(stamp::INDEX.to_owned(), index.to_string().into());
    ours.insert(stamp::HASH.to_owned(), hash.into());
    template["Labels"] = labels(spec, ours).into();
    if let Some(first) = spec.networks.first().filter(|name| !is_special(name)) {
        template["NetworkingConfig"]["EndpointsConfig"][first] = json!({"Aliases": [service]});
    }
    template
}

/// Whether a network has no names for what is in it.
pub(crate) fn is_special(network: &str) -> bool {
    matches!(network, "host" | "none" | "bridge" | "default")
}

/// How long a stop may take, in whole seconds: the engine knows no others.
pub(crate) fn seconds(spec: &Spec) -> u64 {
    spec.stop.timeout.0.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}

fn some(words: &[String]) -> Value {
    if words.is_empty() { Value::Null } else { json!(words) }
}

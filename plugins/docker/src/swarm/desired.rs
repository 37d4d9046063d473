//! A spec, as a Swarm service: every field that can be declared is said, also where nothing is declared, so that what
//! somebody changed by hand is put right.

use serde_json::{Map, Value, json};

use crate::spec::{Condition, Health, Mount, MountKind, OnFailure, Order, Port, PortMode, Spec};
use crate::stamp::Stamp;

/// The service, as the engine's interface has it. `networks`: what the engine calls them.
pub(crate) fn service(name: &str, spec: &Spec, stamp: &Stamp, networks: &[String]) -> Value {
    let networks: Vec<Value> = networks.iter().map(|network| json!({"Target": network})).collect();
    let limits = &spec.resources.limits;
    let reservations = &spec.resources.reservations;
    json!({
        "Name": name,
        "Labels": stamp.labels(),
        "TaskTemplate": {
            "ContainerSpec": container(spec, stamp),
            "Resources": {
                "Limits": {
                    "NanoCPUs": limits.cpus.map_or(0, |cpus| cpus.0),
                    "MemoryBytes": limits.memory.map_or(0, |memory| memory.0),
                    "Pids": limits.pids.unwrap_or(0),
                },
                "Reservations": {
                    "NanoCPUs": reservations.cpus.map_or(0, |cpus| cpus.0),
                    "MemoryBytes": reservations.memory.map_or(0, |memory| memory.0),
                },
            },
            "RestartPolicy": {
                "Condition": match spec.restart.condition {
                    Condition::Any => "any",
                    Condition::OnFailure => "on-failure",
                    Condition::None => "none",
                },
                "Delay": spec.restart.delay.nanos(),
                "MaxAttempts": spec.restart.max_attempts,
            },
            "Placement": {"Constraints": spec.constraints},
            "Networks": networks,
        },
        "Mode": {"Replicated": {"Replicas": spec.replicas}},
        "UpdateConfig": {
            "Parallelism": spec.update.max_unavailable,
            "Delay": spec.update.delay.nanos(),
            "FailureAction": match spec.update.on_failure {
                OnFailure::Pause => "pause",
                OnFailure::Continue => "continue",
            },
            "Monitor": spec.update.monitor.nanos(),
            "MaxFailureRatio": 0,
            "Order": match spec.update.order {
                Order::StopFirst => "stop-first",
                Order::StartFirst => "start-first",
            },
        },
        "EndpointSpec": {"Ports": spec.ports.iter().map(port).collect::<Vec<_>>()},
    })
}

fn container(spec: &Spec, stamp: &Stamp) -> Value {
    json!({
        "Image": spec.image,
        "Command": spec.command,
        "Args": spec.args,
        "Env": environment(spec),
        "Labels": labels(spec, stamp.owner()),
        "Dir": spec.dir,
        "User": spec.user,
        "Mounts": spec.mounts.iter().map(mount).collect::<Vec<_>>(),
        "StopSignal": signal(spec),
        "StopGracePeriod": spec.stop.timeout.nanos(),
        "HealthCheck": spec.health.as_ref().map(health),
    })
}

/// `NAME=VALUE`, in the order of the names.
pub(crate) fn environment(spec: &Spec) -> Vec<String> {
    spec.env.iter().map(|(name, value)| format!("{name}={}", value.0)).collect()
}

/// The container's labels: declared ones and ours.
pub(crate) fn labels(spec: &Spec, ours: Map<String, Value>) -> Map<String, Value> {
    let declared = spec.labels.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
    declared.chain(ours).collect()
}

/// `SIGTERM`; nothing if the image says.
pub(crate) fn signal(spec: &Spec) -> String {
    match spec.stop.signal.as_str() {
        "" => String::new(),
        signal => format!("SIG{}", signal.strip_prefix("SIG").unwrap_or(signal)),
    }
}

/// A mount, as both interfaces have it.
pub(crate) fn mount(mount: &Mount) -> Value {
    let kind = match mount.kind {
        MountKind::Volume => "volume",
        MountKind::Bind => "bind",
        MountKind::Tmpfs => "tmpfs",
    };
    let mut value =
        json!({"Type": kind, "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only});
    if let Some(size) = mount.size {
        value["TmpfsOptions"] = json!({"SizeBytes": size.0});
    }
    value
}

/// A health check, as both interfaces have it.
pub(crate) fn health(health: &Health) -> Value {
    if health.command.is_empty() {
        return json!({"Test": ["NONE"]});
    }
    let test: Vec<&str> = ["CMD"].into_iter().chain(health.command.iter().map(String::as_str)).collect();
    json!({
        "Test": test,
        "Interval": health.interval.nanos(),
        "Timeout": health.timeout.nanos(),
        "Retries": health.failures,
        "StartPeriod": health.start_period.nanos(),
    })
}

fn port(port: &Port) -> Value {
    json!({
        "Protocol": port.protocol.name(),
        "TargetPort": port.target,
        "PublishedPort": port.published,
        "PublishMode": match port.mode {
            PortMode::Ingress => "ingress",
            PortMode::Host => "host",
        },
    })
}

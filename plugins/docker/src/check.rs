//! A spec is read strictly: what an engine would refuse only later, or pass over in silence, is refused at once.

use std::collections::BTreeSet;

use om_plugin_sdk::Rejected;

use crate::spec::{Condition, Mount, MountKind, Port, Spec};
use crate::stamp;

/// More containers than this in one service are a slip of the pen.
pub(crate) const MOST_REPLICAS: u32 = 10_000;

/// A field and what is wrong with it.
type Wrong = (String, String);

const SIGNALS: [&str; 7] = ["TERM", "INT", "QUIT", "KILL", "HUP", "USR1", "USR2"];

/// Reads and checks a spec.
pub(crate) fn read(json: &[u8]) -> Result<Spec, Rejected> {
    let spec: Spec = om_plugin_sdk::spec::parse(json)?;
    check(&spec).map_err(|(field, message)| {
        let message = format!("spec.{field}: {message}");
        Rejected::field(format!("spec.{field}"), message)
    })?;
    Ok(spec)
}

fn check(spec: &Spec) -> Result<(), Wrong> {
    let wrong = |field: &str, message: String| Err((field.to_owned(), message));
    if spec.image.is_empty() || spec.image.contains(char::is_whitespace) {
        return wrong("image", format!("{:?} is no image: name one, like nginx:1.27", spec.image));
    }
    if spec.replicas > MOST_REPLICAS {
        return wrong("replicas", format!("{} are more than {MOST_REPLICAS}", spec.replicas));
    }
    for name in spec.env.keys() {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err((format!("env.{name}"), "is no name of an environment variable".to_owned()));
        }
    }
    if let Some(name) = spec.labels.keys().find(|name| name.is_empty() || stamp::is_ours(name)) {
        return Err((format!("labels.{name}"), "is set by the plugin itself".to_owned()));
    }
    mounts(&spec.mounts)?;
    let mut networks = BTreeSet::new();
    for (index, network) in spec.networks.iter().enumerate() {
        if network.trim().is_empty() || !networks.insert(network) {
            return Err((format!("networks[{index}]"), "is empty, or there twice".to_owned()));
        }
    }
    ports(&spec.ports)?;
    if let Some(health) = &spec.health {
        if health.command.first().is_some_and(|program| program.trim().is_empty()) {
            return wrong("health.command", "name a program, like [\"true\"]".to_owned());
        }
        for (field, span) in [("interval", health.interval), ("timeout", health.timeout)] {
            // Docker's own bound.
            if span.nanos() < 1_000_000 {
                return Err((format!("health.{field}"), "must be 1ms or longer".to_owned()));
            }
        }
        if health.failures == 0 {
            return wrong("health.failures", "with 0 no container could ever work".to_owned());
        }
    }
    if spec.update.max_unavailable == 0 {
        return wrong("update.max_unavailable", "with 0 no container could ever be replaced".to_owned());
    }
    if spec.restart.condition == Condition::None && spec.restart.max_attempts > 0 {
        return wrong("restart.max_attempts", "means nothing where the condition is none".to_owned());
    }
    let signal = spec.stop.signal.strip_prefix("SIG").unwrap_or(&spec.stop.signal);
    if !signal.is_empty() && !SIGNALS.contains(&signal) {
        return wrong("stop.signal", format!("{signal:?} is none of {}", SIGNALS.join(", ")));
    }
    for (field, memory) in
        [("limits", spec.resources.limits.memory), ("reservations", spec.resources.reservations.memory)]
    {
        // Docker's own bound.
        if memory.is_some_and(|memory| memory.0 < 6 << 20) {
            return Err((format!("resources.{field}.memory"), "must be 6MiB or more".to_owned()));
        }
    }
    Ok(())
}

fn mounts(mounts: &[Mount]) -> Result<(), Wrong> {
    let mut targets = BTreeSet::new();
    for (index, mount) in mounts.iter().enumerate() {
        let wrong =
            |field: &str, message: &str| Err((format!("mounts[{index}].{field}"), message.to_owned()));
        if !mount.target.starts_with('/') || !targets.insert(&mount.target) {
            return wrong("target", "must be an absolute path in the container, each only once");
        }
        match mount.kind {
            MountKind::Volume if mount.source.is_empty() || mount.source.contains('/') => {
                return wrong("source", "must be the name of a volume; type: bind mounts a directory");
            }
            MountKind::Bind if !mount.source.starts_with('/') => {
                return wrong("source", "must be an absolute path on the node");
            }
            MountKind::Tmpfs if !mount.source.is_empty() => {
                return wrong("source", "memory has no source");
            }
            MountKind::Volume | MountKind::Bind if mount.size.is_some() => {
                return wrong("size", "only memory (type: tmpfs) has a size here");
            }
            _ => {}
        }
    }
    Ok(())
}

fn ports(ports: &[Port]) -> Result<(), Wrong> {
    let mut published = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        if port.target == 0 {
            return Err((format!("ports[{index}].target"), "0 is no port".to_owned()));
        }
        if port.published != 0 && !published.insert((port.published, port.protocol)) {
            return Err((format!("ports[{index}].published"), "is published twice".to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_enough() {
        let short = read(br#"{"image": "nginx"}"#).unwrap();
        assert_eq!((short.replicas, short.update.max_unavailable), (1, 1));
    }

    #[test]
    fn every_mistake_is_refused_with_its_field() {
        let cases = [
            (r#"{}"#, "spec"),
            (r#"{"image": ""}"#, "spec.image"),
            (r#"{"image": "a b"}"#, "spec.image"),
            (r#"{"image": "a", "relpicas": 2}"#, "spec.relpicas"),
            (r#"{"image": "a", "replicas": 10001}"#, "spec.replicas"),
            (r#"{"image": "a", "env": {"A=B": "x"}}"#, "spec.env.A=B"),
            (r#"{"image": "a", "labels": {"openmanage.term": "9"}}"#, "spec.labels.openmanage.term"),
            (r#"{"image": "a", "mounts": [{"target": "data", "source": "v"}]}"#, "spec.mounts[0].target"),
            (r#"{"image": "a", "mounts": [{"target": "/d", "source": "/x"}]}"#, "spec.mounts[0].source"),
            (
                r#"{"image": "a", "mounts": [{"type": "bind", "target": "/d", "source": "x"}]}"#,
                "spec.mounts[0].source",
            ),
            (
                r#"{"image": "a", "mounts": [{"type": "tmpfs", "target": "/d", "source": "x"}]}"#,
                "spec.mounts[0].source",
            ),
            (
                r#"{"image": "a", "mounts": [{"target": "/d", "source": "v", "size": 1}]}"#,
                "spec.mounts[0].size",
            ),
            (r#"{"image": "a", "mounts": [{"type": "nfs", "target": "/d"}]}"#, "spec.mounts[0].type"),
            (r#"{"image": "a", "networks": ["x", "x"]}"#, "spec.networks[1]"),
            (r#"{"image": "a", "ports": [{"target": 0}]}"#, "spec.ports[0].target"),
            (
                r#"{"image": "a", "ports": [{"target": 1, "published": 8}, {"target": 2, "published": 8}]}"#,
                "spec.ports[1].published",
            ),
            (r#"{"image": "a", "health": {"command": [" "]}}"#, "spec.health.command"),
            (r#"{"image": "a", "health": {"command": ["a"], "interval": "0ms"}}"#, "spec.health.interval"),
            (r#"{"image": "a", "health": {"command": ["a"], "failures": 0}}"#, "spec.health.failures"),
            (r#"{"image": "a", "update": {"max_unavailable": 0}}"#, "spec.update.max_unavailable"),
            (r#"{"image": "a", "update": {"on_failure": "rollback"}}"#, "spec.update.on_failure"),
            (
                r#"{"image": "a", "restart": {"condition": "none", "max_attempts": 2}}"#,
                "spec.restart.max_attempts",
            ),
            (r#"{"image": "a", "stop": {"signal": "SEGV"}}"#, "spec.stop.signal"),
            (r#"{"image": "a", "stop": {"timeout": 5}}"#, "spec.stop.timeout"),
            (
                r#"{"image": "a", "resources": {"limits": {"memory": "1MiB"}}}"#,
                "spec.resources.limits.memory",
            ),
            (r#"{"image": "a", "resources": {"limits": {"cpus": -1}}}"#, "spec.resources.limits.cpus"),
        ];
        for (json, field) in cases {
            let rejected = read(json.as_bytes()).unwrap_err();
            assert!(rejected.field.starts_with(field), "{json}: {rejected:?}");
            assert!(!rejected.message.is_empty(), "{json}");
        }
    }
}

//! What committing a declaration would do, for people.

use om_plugin_sdk::Rejected;

use crate::engine::{Engine, Role};
use crate::spec::Spec;
use crate::{local, stamp, swarm};

/// A step a line, as far as the engine can be asked; a name that somebody else has is refused.
pub(crate) async fn plan(
    engine: &Engine,
    name: &str,
    wanted: &Spec,
    current: Option<&Spec>,
) -> Result<Vec<String>, Rejected> {
    let role = engine.role().await;
    let mut lines = describe(name, wanted, current, &role.as_ref().ok().cloned());
    match role {
        Ok(Role::Manager(_)) => {
            if let Ok(Some(found)) = swarm::find(engine, name).await {
                let labels = found.spec.and_then(|spec| spec.labels).unwrap_or_default();
                if !labels.keys().any(|label| stamp::is_ours(label)) {
                    return Err(taken(&format!("the Swarm service {name}")));
                }
            }
        }
        Ok(Role::Alone) => {
            for index in 0..wanted.replicas.min(3) {
                let name = local::name(name, index);
                if let Ok(Some(found)) = local::inspect(engine, &name).await {
                    let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
                    if !labels.keys().any(|label| stamp::is_ours(label)) {
                        return Err(taken(&format!("the container {name}")));
                    }
                }
            }
        }
        Ok(Role::Other(why)) => lines.push(format!("not now: {why}")),
        Err(trouble) => lines.push(format!("not now: {trouble}")),
    }
    Ok(lines)
}

fn taken(what: &str) -> Rejected {
    let why =
        "is there and was not made by OpenManage, so it is left alone; remove it, or rename the service";
    Rejected::field("name", format!("{what} {why}"))
}

fn describe(name: &str, wanted: &Spec, current: Option<&Spec>, role: &Option<Role>) -> Vec<String> {
    let what = match role {
        Some(Role::Alone) => "containers",
        _ => "replicas",
    };
    let mut lines = Vec::new();
    let Some(current) = current else {
        let how = match role {
            Some(Role::Alone) => format!("start {} containers of {}", wanted.replicas, wanted.image),
            _ => format!("create the Swarm service {name}: {} replicas of {}", wanted.replicas, wanted.image),
        };
        return vec![how];
    };
    if current.replicas != wanted.replicas {
        lines.push(format!("scale from {} to {} {what}", current.replicas, wanted.replicas));
    }
    let mut replacing = Vec::new();
    let mut settings = Vec::new();
    let mut changed = |field: &'static str, differs: bool, replaces: bool| {
        if differs {
            if replaces { replacing.push(field) } else { settings.push(field) }
        }
    };
    let swarm = !matches!(role, Some(Role::Alone));
    changed("image", current.image != wanted.image, true);
    changed("command", current.command != wanted.command, true);
    changed("args", current.args != wanted.args, true);
    changed("env", current.env != wanted.env, true);
    changed("labels", current.labels != wanted.labels, true);
    changed("dir", current.dir != wanted.dir, true);
    changed("user", current.user != wanted.user, true);
    changed("mounts", current.mounts != wanted.mounts, true);
    changed("networks", current.networks != wanted.networks, true);
    changed("ports", current.ports != wanted.ports, true);
    changed("resources", current.resources != wanted.resources, true);
    changed("health", current.health != wanted.health, true);
    changed("stop", current.stop != wanted.stop, true);
    changed("restart", current.restart != wanted.restart, true);
    changed("constraints", current.constraints != wanted.constraints, swarm);
    changed("update", current.update != wanted.update, false);
    if !replacing.is_empty() {
        let kept = current.replicas.min(wanted.replicas);
        lines.push(format!(
            "replace {kept} {what}, {} at a time ({} changed)",
            wanted.update.max_unavailable,
            replacing.join(", ")
        ));
    }
    if !settings.is_empty() {
        lines.push(format!("change the settings of {}, {what} go on", settings.join(", ")));
    }
    if lines.is_empty() {
        lines.push("nothing to do".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> Spec {
        crate::check::read(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_plan_is_told_step_by_step() {
        let swarm = Some(Role::Manager("abc".to_owned()));
        let told = |wanted: &str, current: Option<&str>| {
            describe("web", &spec(wanted), current.map(spec).as_ref(), &swarm)
        };
        let one = r#"{"image": "nginx:1"}"#;
        assert_eq!(told(one, None), ["create the Swarm service web: 1 replicas of nginx:1"]);
        assert_eq!(told(one, Some(one)), ["nothing to do"]);
        assert_eq!(
            told(r#"{"image": "nginx:2", "replicas": 3, "update": {"max_unavailable": 2}}"#, Some(one)),
            [
                "scale from 1 to 3 replicas",
                "replace 1 replicas, 2 at a time (image changed)",
                "change the settings of update, replicas go on"
            ]
        );
        let alone = describe("web", &spec(one), None, &Some(Role::Alone));
        assert_eq!(alone, ["start 1 containers of nginx:1"]);
    }
}

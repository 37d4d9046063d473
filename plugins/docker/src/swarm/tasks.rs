//! The tasks of a Swarm service, as members.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    Node, NodeState, Service as Found, ServiceUpdateStatusStateEnum as Updating, Task, TaskState,
};
use serde_json::Value;

use crate::engine::{Engine, Trouble};
use crate::merge;
use crate::outlook::{Outlook, Standing};
use crate::spec::{Condition, Spec};

/// The nodes of the Swarm, by identity.
pub(crate) struct Nodes(HashMap<String, Node>);

impl Nodes {
    pub(crate) async fn list(engine: &Engine) -> Result<Self, Trouble> {
        let nodes =
            engine.call("list the nodes", |docker| async move { docker.list_nodes(None).await }).await?;
        Ok(Self(nodes.into_iter().filter_map(|node| Some((node.id.clone()?, node))).collect()))
    }

    fn name(&self, id: &str) -> String {
        let node = self.0.get(id).and_then(|node| node.description.as_ref()?.hostname.clone());
        node.unwrap_or_else(|| id.to_owned())
    }

    fn address(&self, id: &str) -> Option<&str> {
        self.0.get(id)?.status.as_ref()?.addr.as_deref()
    }

    fn is_down(&self, id: &str) -> bool {
        let state = self.0.get(id).and_then(|node| node.status.as_ref()?.state);
        !matches!(state, Some(NodeState::READY))
    }
}

fn state(task: &Task) -> TaskState {
    task.status.as_ref().and_then(|status| status.state).unwrap_or(TaskState::NEW)
}

fn ended(state: TaskState) -> bool {
    matches!(
        state,
        TaskState::COMPLETE
            | TaskState::SHUTDOWN
            | TaskState::FAILED
            | TaskState::REJECTED
            | TaskState::REMOVE
            | TaskState::ORPHANED
    )
}

/// Whether a task has a container, or will have one.
pub(crate) fn lives(task: &Task) -> bool {
    !ended(state(task))
}

fn name(service: &str, task: &Task) -> String {
    format!("{service}.{}", task.slot.unwrap_or(0))
}

/// A task that holds up a removal, for people.
pub(crate) fn in_the_way(service: &str, task: &Task, nodes: &Nodes) -> String {
    let node = task.node_id.as_deref().unwrap_or_default();
    let down = if !node.is_empty() && nodes.is_down(node) { ", which is down" } else { "" };
    format!("{} is {} on {}{down}", name(service, task), state(task), nodes.name(node))
}

/// The service, as its tasks show it.
pub(crate) fn outlook(service: &str, spec: &Spec, found: &Found, tasks: &[Task], nodes: &Nodes) -> Outlook {
    let template =
        template(found.spec.as_ref().and_then(|spec| serde_json::to_value(&spec.task_template).ok()));
    let mut slots: BTreeMap<i64, Vec<&Task>> = BTreeMap::new();
    for task in tasks {
        slots.entry(task.slot.unwrap_or(0)).or_default().push(task);
    }
    let mut outlook = Outlook { wanted: spec.replicas, ..Default::default() };
    for tasks in slots.values_mut() {
        // The newest first.
        tasks.sort_by(|one, other| other.created_at.cmp(&one.created_at));
        let wanted = tasks.iter().find(|task| task.desired_state.is_some_and(|state| !ended(state)));
        match wanted {
            Some(task) => {
                outlook.standings.push(standing(service, spec, task, tasks, &template, nodes));
                // Beside it, of another time: an order of start-first, or one that stops slowly.
                let others = tasks.iter().filter(|other| other.id != task.id && lives(other)).count();
                outlook.surplus += u32::try_from(others).unwrap_or(u32::MAX);
            }
            None => {
                // Nobody wants it to run any more: it ended as it may, or it is not wanted at all.
                let newest = tasks[0];
                let stays = matches!(state(newest), TaskState::COMPLETE | TaskState::FAILED);
                if stays && spec.restart.condition != Condition::Any {
                    outlook.standings.push(standing(service, spec, newest, tasks, &template, nodes));
                }
                let alive = tasks.iter().filter(|task| lives(task)).count();
                outlook.surplus += u32::try_from(alive).unwrap_or(u32::MAX);
            }
        }
    }
    let surplus = outlook.standings.len().saturating_sub(spec.replicas as usize);
    outlook.surplus += u32::try_from(surplus).unwrap_or(u32::MAX);
    let update = found.update_status.as_ref();
    match update.and_then(|update| update.state) {
        Some(Updating::UPDATING | Updating::ROLLBACK_STARTED) => outlook.updating = true,
        Some(Updating::PAUSED | Updating::ROLLBACK_PAUSED) => {
            let why = update.and_then(|update| update.message.clone()).unwrap_or_default();
            outlook.stopped = Some(why);
        }
        _ => {}
    }
    outlook
}

/// What tasks are made from, in a form that can be compared.
fn template(template: Option<Value>) -> Value {
    let mut template = merge::essence(&template.unwrap_or_default());
    // Said of services only.
    if let Some(fields) = template.as_object_mut() {
        fields.remove("Runtime");
    }
    template
}

fn standing(
    service: &str,
    spec: &Spec,
    task: &Task,
    history: &[&Task],
    declared: &Value,
    nodes: &Nodes,
) -> Standing {
    let current = template(task.spec.as_ref().and_then(|spec| serde_json::to_value(spec).ok())) == *declared;
    let now = state(task);
    let node = task.node_id.as_deref().unwrap_or_default();
    let error = |task: &Task| {
        let status = task.status.as_ref()?;
        status.err.clone().filter(|error| !error.is_empty())
    };
    // The one before it, if that failed: a task that fails again and again is seldom caught at it.
    let before = history.iter().find(|other| other.id != task.id && state(other) != TaskState::SHUTDOWN);
    let before = before.filter(|other| matches!(state(other), TaskState::FAILED | TaskState::REJECTED));
    let works = now == TaskState::RUNNING;
    let done = now == TaskState::COMPLETE && spec.restart.condition != Condition::Any;
    let why = if works || done { None } else { error(task).or_else(|| before.and_then(|task| error(task))) };
    let lost = works && nodes.is_down(node);
    let restarts =
        history.iter().filter(|task| matches!(state(task), TaskState::FAILED | TaskState::REJECTED));
    let mut details = HashMap::from([("failures".to_owned(), restarts.count().to_string())]);
    let id = task.id.clone().unwrap_or_default();
    details.insert("task".to_owned(), id);
    let status = task.status.as_ref();
    if let Some(since) = status.and_then(|status| status.timestamp.as_deref()) {
        details.insert("since".to_owned(), since.split('.').next().unwrap_or(since).to_owned());
    }
    let container = status.and_then(|status| status.container_status.as_ref());
    if let Some(id) = container.and_then(|container| container.container_id.as_deref()) {
        details.insert("container".to_owned(), id.chars().take(12).collect());
    }
    if lost {
        details.insert("node".to_owned(), "down".to_owned());
    }
    let phase = match now {
        _ if lost => "unknown",
        TaskState::RUNNING => "running",
        TaskState::COMPLETE if done => "completed",
        TaskState::COMPLETE | TaskState::FAILED | TaskState::REJECTED | TaskState::ORPHANED => "failed",
        TaskState::SHUTDOWN | TaskState::REMOVE => "stopping",
        _ if why.is_some() && before.is_some() => "backoff",
        TaskState::NEW | TaskState::ALLOCATED | TaskState::PENDING | TaskState::ASSIGNED => "pending",
        _ => "starting",
    };
    Standing {
        name: name(service, task),
        phase,
        works: works && !lost,
        done,
        current,
        troubled: lost || !works && !done && (why.is_some() || phase == "failed"),
        address: address(task, nodes.address(node)),
        host: if node.is_empty() { String::new() } else { nodes.name(node) },
        why: if lost { "its node is down".to_owned() } else { why.unwrap_or_default() },
        details,
    }
}

/// Where it is reached: a port of its node, if there is one of its own.
fn address(task: &Task, node: Option<&str>) -> String {
    let ports = task.status.as_ref().and_then(|status| status.port_status.as_ref()?.ports.as_ref());
    let port = ports.and_then(|ports| ports.iter().find_map(|port| port.published_port));
    match (node, port) {
        (Some(node), Some(port)) => format!("{node}:{port}"),
        _ => String::new(),
    }
}

//! What a user declares: the `spec` of kind `container`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::units::{Cpus, Scalar, Size, Span};

/// `spec` of kind `container`: a service of the Swarm, or containers of the engine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spec {
    /// The image, such as `nginx:1.27`.
    pub(crate) image: String,
    /// How many containers.
    #[serde(default = "one")]
    pub(crate) replicas: u32,
    /// The program, instead of the image's entry point.
    #[serde(default)]
    pub(crate) command: Vec<String>,
    /// The arguments, instead of the image's.
    #[serde(default)]
    pub(crate) args: Vec<String>,
    /// Added to the image's environment.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, Scalar>,
    /// Labels of the containers.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// Working directory, instead of the image's.
    #[serde(default)]
    pub(crate) dir: String,
    /// User, and group: `1000`, `www:www`; instead of the image's.
    #[serde(default)]
    pub(crate) user: String,
    /// What is mounted into the containers.
    #[serde(default)]
    pub(crate) mounts: Vec<Mount>,
    /// Networks that the containers are in, by name; they must exist.
    #[serde(default)]
    pub(crate) networks: Vec<String>,
    /// Ports by which the containers are reached from outside.
    #[serde(default)]
    pub(crate) ports: Vec<Port>,
    /// What a container may take, and what is kept for it.
    #[serde(default)]
    pub(crate) resources: Resources,
    /// How it is found out whether a container works. Without: as the image says.
    #[serde(default)]
    pub(crate) health: Option<Health>,
    /// How a changed spec reaches the containers.
    #[serde(default)]
    pub(crate) update: Update,
    /// What happens when a container ends.
    #[serde(default)]
    pub(crate) restart: Restart,
    /// How containers are stopped.
    #[serde(default)]
    pub(crate) stop: Stop,
    /// Which nodes of a Swarm may have containers, such as `node.labels.disk==ssd`.
    #[serde(default)]
    pub(crate) constraints: Vec<String>,
}

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mount {
    /// A named volume, a directory of the node, or memory.
    #[serde(rename = "type", default)]
    pub(crate) kind: MountKind,
    /// Name of the volume, or path of the directory on the node.
    #[serde(default)]
    pub(crate) source: String,
    /// Path in the container.
    pub(crate) target: String,
    /// The containers may not write.
    #[serde(default)]
    pub(crate) read_only: bool,
    /// Of memory: at most so much.
    #[serde(default)]
    pub(crate) size: Option<Size>,
}

/// What is mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MountKind {
    /// A named volume; made on the node where it is missing.
    #[default]
    Volume,
    /// A directory of the node.
    Bind,
    /// Memory.
    Tmpfs,
}

/// A port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Port {
    /// In the container.
    pub(crate) target: u16,
    /// From outside; without: one that is free.
    #[serde(default)]
    pub(crate) published: u16,
    /// Its protocol.
    #[serde(default)]
    pub(crate) protocol: Protocol,
    /// In a Swarm: on every node, or on those that have a container.
    #[serde(default)]
    pub(crate) mode: PortMode,
}

/// A protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// Where a port is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PortMode {
    /// On every node, to whichever container.
    #[default]
    Ingress,
    /// On the container's node, to that container.
    Host,
}

/// What a container may take, and what is kept for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resources {
    /// No more than this.
    #[serde(default)]
    pub(crate) limits: Limits,
    /// Nodes that have less left get none.
    #[serde(default)]
    pub(crate) reservations: Reservations,
}

/// Upper bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// Processors.
    #[serde(default)]
    pub(crate) cpus: Option<Cpus>,
    /// Memory.
    #[serde(default)]
    pub(crate) memory: Option<Size>,
    /// Processes.
    #[serde(default)]
    pub(crate) pids: Option<u32>,
}

/// Lower bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reservations {
    /// Processors; only a Swarm keeps them.
    #[serde(default)]
    pub(crate) cpus: Option<Cpus>,
    /// Memory.
    #[serde(default)]
    pub(crate) memory: Option<Size>,
}

/// A command in the container.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Health {
    /// Works if this ends with exit code 0; `[]`: no check at all, not even the image's.
    pub(crate) command: Vec<String>,
    /// Between two looks.
    #[serde(default = "thirty_seconds")]
    pub(crate) interval: Span,
    /// A look that takes longer has failed.
    #[serde(default = "thirty_seconds")]
    pub(crate) timeout: Span,
    /// So many failed looks in a row make a container unhealthy.
    #[serde(default = "three")]
    pub(crate) failures: u32,
    /// Failed looks do not count until then.
    #[serde(default = "zero")]
    pub(crate) start_period: Span,
}

/// How a changed spec reaches the containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Update {
    /// So many containers at a time.
    pub(crate) max_unavailable: u32,
    /// Between one and the next.
    pub(crate) delay: Span,
    /// In a Swarm: whether the old one stops before the new one starts.
    pub(crate) order: Order,
    /// Whether the update goes on when a new container does not work.
    pub(crate) on_failure: OnFailure,
    /// A new container that ends within this time does not work.
    pub(crate) monitor: Span,
}

/// What comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Order {
    /// The old one stops, then the new one starts.
    #[default]
    StopFirst,
    /// The new one starts, then the old one stops.
    StartFirst,
}

/// What a failed update does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnFailure {
    /// It stops; the others stay as before.
    #[default]
    Pause,
    /// It goes on all the same.
    Continue,
}

/// What happens when a container ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Restart {
    /// When it is started again.
    pub(crate) condition: Condition,
    /// In a Swarm: not before this has passed.
    pub(crate) delay: Span,
    /// At most so often; 0: without an end.
    pub(crate) max_attempts: u32,
}

/// When a container is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Condition {
    /// However it ended.
    #[default]
    Any,
    /// If it ended with another code than 0.
    OnFailure,
    /// Never.
    None,
}

/// How a container is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Stop {
    /// TERM, INT, QUIT, KILL, HUP, USR1 or USR2; without: as the image says, else TERM.
    pub(crate) signal: String,
    /// Then KILL.
    pub(crate) timeout: Span,
}

impl Default for Update {
    fn default() -> Self {
        let (order, on_failure) = (Order::default(), OnFailure::default());
        Self { max_unavailable: 1, delay: Span::secs(0), order, on_failure, monitor: Span::secs(5) }
    }
}

impl Default for Restart {
    fn default() -> Self {
        Self { condition: Condition::Any, delay: Span::secs(1), max_attempts: 0 }
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: String::new(), timeout: Span::secs(10) }
    }
}

impl Protocol {
    /// As Docker names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

fn one() -> u32 {
    1
}
fn three() -> u32 {
    3
}
fn zero() -> Span {
    Span::secs(0)
}
fn thirty_seconds() -> Span {
    Span::secs(30)
}

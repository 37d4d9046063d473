//! What a user declares: the `spec` of kind `process`, read strictly.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use om_plugin_sdk::Rejected;
use rustix::process::Signal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gate;
use crate::template::{Template, Wrong};
use crate::text::{self, Scalar, Span};

/// More members than this on one host are a slip of the pen, and their state must fit into one write of the manager.
pub(crate) const MOST_MEMBERS: u32 = 1000;

/// `spec` of kind `process`: members run as processes on this host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spec {
    /// How many; members are named NAME-0, NAME-1, …
    #[serde(default = "one")]
    pub(crate) members: u32,
    /// Program and arguments. `${member}`, `${index}`, `${port}`, `${dir}` and `${service}` are filled in; `$$` is a dollar.
    pub(crate) command: Vec<String>,
    /// Added to the environment that the plugin itself has. Values are filled in as in the command.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, Scalar>,
    /// Working directory: `auto` (one of its own for each member) or an absolute path, filled in as the command.
    #[serde(default = "auto")]
    pub(crate) dir: String,
    /// Member i listens on `from` + i.
    #[serde(default)]
    pub(crate) port: Option<Port>,
    /// How it is found out whether a member works. Without: it works if it runs.
    #[serde(default)]
    pub(crate) health: Option<Health>,
    /// How long to wait before a crashed member is started again.
    #[serde(default)]
    pub(crate) restart: Restart,
    /// How members are stopped.
    #[serde(default)]
    pub(crate) stop: Stop,
    /// How a changed spec reaches the members.
    #[serde(default)]
    pub(crate) update: Update,
}

/// Ports of the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Port {
    /// That of member 0.
    pub(crate) from: u16,
}

/// Exactly one of `tcp`, `http` and `command`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Health {
    /// Works if a connection to this PORT or HOST:PORT is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tcp: Option<Scalar>,
    /// Works if a GET is answered with 200 to 399.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) http: Option<Http>,
    /// Works if this ends with exit code 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<Vec<String>>,
    /// Between two looks.
    #[serde(default = "second")]
    pub(crate) interval: Span,
    /// A look that takes longer has failed.
    #[serde(default = "two_seconds")]
    pub(crate) timeout: Span,
    /// So many failed looks in a row make a working member unhealthy.
    #[serde(default = "three")]
    pub(crate) failures: u32,
}

/// A GET.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    /// PORT or HOST:PORT.
    pub(crate) port: Scalar,
    /// Begins with `/`.
    #[serde(default = "slash")]
    pub(crate) path: String,
}

/// The wait before a crashed member is started again doubles from `min` to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Restart {
    /// First wait.
    pub(crate) min: Span,
    /// Longest wait; a member that ran for that long (10 s at least) begins with `min` again.
    pub(crate) max: Span,
}

/// How a member is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Stop {
    /// TERM, INT, QUIT, KILL, HUP, USR1 or USR2.
    pub(crate) signal: String,
    /// Then KILL, to all that is left of it.
    pub(crate) timeout: Span,
}

/// How a changed spec reaches the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Update {
    /// So many members at a time.
    pub(crate) max_unavailable: u32,
    /// A new member that is not healthy by then stops the update.
    pub(crate) health_timeout: Span,
}

impl Default for Restart {
    fn default() -> Self {
        Self { min: Span::ms(100), max: Span::ms(10_000) }
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: "TERM".to_owned(), timeout: Span::ms(10_000) }
    }
}

impl Default for Update {
    fn default() -> Self {
        Self { max_unavailable: 1, health_timeout: Span::ms(60_000) }
    }
}

fn one() -> u32 {
    1
}
fn three() -> u32 {
    3
}
fn auto() -> String {
    "auto".to_owned()
}
fn slash() -> String {
    "/".to_owned()
}
fn second() -> Span {
    Span::ms(1000)
}
fn two_seconds() -> Span {
    Span::ms(2000)
}

impl Stop {
    /// The signal; checked when the spec was read.
    pub(crate) fn signal(&self) -> Signal {
        text::signal(&self.signal).unwrap_or(Signal::TERM)
    }
}

/// Reads and checks a spec.
pub(crate) fn read(service: &str, json: &[u8]) -> Result<Spec, Rejected> {
    let spec: Spec = om_plugin_sdk::spec::parse(json)?;
    check(&spec, service).map_err(|(field, message)| {
        let message = format!("spec.{field}: {message}");
        Rejected::field(format!("spec.{field}"), message)
    })?;
    Ok(spec)
}

fn check(spec: &Spec, service: &str) -> Result<(), Wrong> {
    let wrong = |field: &str, message: String| Err((field.to_owned(), message));
    if spec.members > MOST_MEMBERS {
        return wrong("members", format!("{} are more than {MOST_MEMBERS}", spec.members));
    }
    if spec.command.first().is_none_or(|program| program.trim().is_empty()) {
        return wrong("command", "name a program, like [\"sleep\", \"60\"]".to_owned());
    }
    if let Some(Port { from }) = spec.port {
        if from == 0 {
            return wrong("port.from", "0 is no port that a member can be found at: 1 to 65535".to_owned());
        }
        let last = u32::from(from) + spec.members.saturating_sub(1);
        if last > 65_535 {
            return wrong(
                "port.from",
                format!("{} members from {from} on end at {last}, past 65535", spec.members),
            );
        }
    }
    for name in spec.env.keys() {
        let field = format!("env.{name}");
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err((field, "is no name of an environment variable".to_owned()));
        }
        if [gate::MARK, gate::WAITING, gate::SERVICE, gate::MEMBER].contains(&name.as_str()) {
            return Err((field, "is set by the plugin itself".to_owned()));
        }
    }
    if spec.restart.min.0.is_zero() {
        return wrong("restart.min", "must be longer than 0".to_owned());
    }
    if spec.restart.max < spec.restart.min {
        return wrong(
            "restart.max",
            format!("{} is shorter than min, {}", spec.restart.max, spec.restart.min),
        );
    }
    text::signal(&spec.stop.signal)
        .or_else(|message| wrong("stop.signal", message).map(|()| Signal::TERM))?;
    if spec.update.max_unavailable == 0 {
        return wrong("update.max_unavailable", "with 0 no member could ever be replaced".to_owned());
    }
    if spec.update.health_timeout.0.is_zero() {
        return wrong("update.health_timeout", "must be longer than 0".to_owned());
    }
    // The first member stands for all: what is filled in differs only in numbers.
    spec.template().launch(service, 0, Path::new("/"))?;
    spec.template().probe(service, 0, Path::new("/"))?;
    Ok(())
}

/// Name of a member.
pub(crate) fn member_name(service: &str, index: u32) -> String {
    format!("{service}-{index}")
}

/// Where a member's log is and, with `dir: auto`, its working directory.
pub(crate) fn member_dir(root: &Path, service: &str, index: u32) -> PathBuf {
    root.join(service).join(member_name(service, index))
}

impl Spec {
    /// The ports that members listen on.
    pub(crate) fn ports(&self) -> Option<RangeInclusive<u16>> {
        let Port { from } = self.port.filter(|_| self.members > 0)?;
        Some(from..=u16::try_from(u32::from(from) + self.members - 1).unwrap_or(u16::MAX))
    }

    /// What members are started with.
    pub(crate) fn template(&self) -> Template {
        Template {
            command: self.command.clone(),
            env: self.env.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect(),
            dir: self.dir.clone(),
            port: self.port.map(|port| port.from),
            health: self.health.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Probe;

    fn rejected(json: &str) -> Rejected {
        read("web", json.as_bytes()).unwrap_err()
    }

    #[test]
    fn the_spec_of_the_contract_is_read() {
        let json = r#"{"members": 3, "command": ["python3", "-m", "http.server", "${port}"], "env": {}, "dir": "auto",
            "port": {"from": 18080}, "health": {"tcp": "${port}"}, "restart": {"min": "100ms", "max": "10s"},
            "stop": {"signal": "TERM", "timeout": "10s"}, "update": {"max_unavailable": 1}}"#;
        let spec = read("web", json.as_bytes()).unwrap();
        let launch = spec.template().launch("web", 2, Path::new("/root")).unwrap();
        assert_eq!(launch.order.command, ["python3", "-m", "http.server", "18082"]);
        assert_eq!(launch.order.dir, Path::new("/root/web/web-2/work"));
        let probe = spec.template().probe("web", 2, Path::new("/root")).unwrap();
        assert_eq!(probe, Some(Probe::Tcp("127.0.0.1:18082".to_owned())));
        let short = read("web", br#"{"command": ["true"]}"#).unwrap();
        assert_eq!((short.members, short.stop.signal()), (1, Signal::TERM));
    }

    #[test]
    fn every_mistake_is_refused_with_its_field() {
        let cases = [
            (r#"{"command": []}"#, "spec.command"),
            (r#"{"command": [" "]}"#, "spec.command"),
            (r#"{"command": ["a"], "members": 1001}"#, "spec.members"),
            (r#"{"command": ["a"], "members": -1}"#, "spec.members"),
            (r#"{"command": ["a", "${nope}"]}"#, "spec.command[1]"),
            (r#"{"command": ["a", "${port}"]}"#, "spec.command[1]"),
            (r#"{"command": ["a"], "env": {"A": "${port}"}}"#, "spec.env.A"),
            (r#"{"command": ["a"], "env": {"OM_INSTANCE": "x"}}"#, "spec.env.OM_INSTANCE"),
            (r#"{"command": ["a"], "env": {"A=B": "x"}}"#, "spec.env.A=B"),
            (r#"{"command": ["a"], "dir": "here"}"#, "spec.dir"),
            (r#"{"command": ["a"], "dir": "/${dir}"}"#, "spec.dir"),
            (r#"{"command": ["a"], "port": {"from": 0}}"#, "spec.port.from"),
            (r#"{"command": ["a"], "port": {"from": 70000}}"#, "spec.port.from"),
            (r#"{"command": ["a"], "members": 3, "port": {"from": 65534}}"#, "spec.port.from"),
            (r#"{"command": ["a"], "health": {}}"#, "spec.health"),
            (r#"{"command": ["a"], "health": {"tcp": 1, "command": ["b"]}}"#, "spec.health"),
            (r#"{"command": ["a"], "health": {"tcp": "${port}"}}"#, "spec.health.tcp"),
            (r#"{"command": ["a"], "health": {"tcp": "99999"}}"#, "spec.health.tcp"),
            (r#"{"command": ["a"], "health": {"http": {"port": 80, "path": "x"}}}"#, "spec.health.http.path"),
            (r#"{"command": ["a"], "health": {"tcp": 80, "interval": "soon"}}"#, "spec.health.interval"),
            (r#"{"command": ["a"], "health": {"tcp": 80, "timeout": "0s"}}"#, "spec.health.timeout"),
            (r#"{"command": ["a"], "health": {"tcp": 80, "failures": 0}}"#, "spec.health.failures"),
            (r#"{"command": ["a"], "health": {"command": []}}"#, "spec.health.command"),
            (r#"{"command": ["a"], "health": {"command": ["b", "${q}"]}}"#, "spec.health.command[1]"),
            (r#"{"command": ["a"], "restart": {"min": "0s"}}"#, "spec.restart.min"),
            (r#"{"command": ["a"], "restart": {"min": "2s", "max": "1s"}}"#, "spec.restart.max"),
            (r#"{"command": ["a"], "restart": {"min": 5}}"#, "spec.restart.min"),
            (r#"{"command": ["a"], "stop": {"signal": "SEGV"}}"#, "spec.stop.signal"),
            (r#"{"command": ["a"], "stop": {"timeout": "1d"}}"#, "spec.stop.timeout"),
            (r#"{"command": ["a"], "update": {"max_unavailable": 0}}"#, "spec.update.max_unavailable"),
            (r#"{"command": ["a"], "update": {"health_timeout": "0s"}}"#, "spec.update.health_timeout"),
            (r#"{"command": ["a"], "stop": {"tiemout": "1s"}}"#, "spec.stop"),
        ];
        for (json, field) in cases {
            let rejected = rejected(json);
            assert!(rejected.field.starts_with(field), "{json}: {rejected:?}");
            assert!(!rejected.message.is_empty(), "{json}");
        }
    }
}

//! What members are started with: a template, and what becomes of it for one member.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::gate::{self, Order};
use crate::spec::{Health, member_dir, member_name};
use crate::text::Places;

/// What is wrong with a spec: the path of the field within it, and why.
pub(crate) type Wrong = (String, String);

/// What a member is started with, before placeholders are filled in. A member whose template is not the declared one is
/// replaced; how it is stopped and so on can change under it. The health check goes with the template, since a new
/// check may ask for what only the new command can answer; alone, it changes without a replacement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Template {
    pub(crate) command: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) dir: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) health: Option<Health>,
}

/// A template for one member.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// For the gate; without the environment that marks it.
    pub(crate) order: Order,
    /// Where the member listens.
    pub(crate) port: Option<u16>,
    /// Whether the directory is the plugin's own and to be made.
    pub(crate) own_dir: bool,
}

/// A check of one member's health, filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Connect.
    Tcp(String),
    /// GET the path.
    Http(String, String),
    /// Run in the member's directory and environment.
    Command(Order),
}

fn filled(places: &Places<'_>, texts: &[String]) -> Result<Vec<String>, (usize, String)> {
    let one = |(at, text): (usize, &String)| match places.fill(text) {
        Ok(text) if text.contains('\0') => Err((at, "holds a NUL".to_owned())),
        Ok(text) => Ok(text),
        Err(why) => Err((at, why)),
    };
    texts.iter().enumerate().map(one).collect()
}

/// PORT or HOST:PORT as HOST:PORT.
fn address(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("127.0.0.1", text));
    match port.parse::<u16>() {
        Ok(1..) if !host.is_empty() => Ok(format!("{host}:{port}")),
        _ => Err(format!("{text:?} is neither PORT nor HOST:PORT, with a port of 1 to 65535")),
    }
}

impl Template {
    /// A short stable name for it, the health check left out: FNV-1a, 64 bits, of its JSON. Stable across versions of this program, as the
    /// standard library's hashes are not.
    pub(crate) fn hash(&self) -> String {
        let json = serde_json::to_vec(&Self { health: None, ..self.clone() }).unwrap_or_default();
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        format!("{:016x}", json.iter().fold(0xcbf2_9ce4_8422_2325, step))
    }

    /// The same for one member.
    pub(crate) fn launch(&self, service: &str, index: u32, root: &Path) -> Result<Launch, Wrong> {
        let member = member_name(service, index);
        let port = match self.port.map(|from| u32::from(from) + index).map(u16::try_from) {
            None => None,
            Some(Ok(port)) => Some(port),
            Some(Err(_)) => return Err(("port.from".to_owned(), format!("leaves no port to {member}"))),
        };
        let naming = Places { service, member: &member, index, port, dir: None };
        let own_dir = self.dir == "auto";
        let dir = if own_dir {
            member_dir(root, service, index).join("work")
        } else {
            let dir = PathBuf::from(naming.fill(&self.dir).map_err(|why| ("dir".to_owned(), why))?);
            if !dir.is_absolute() || self.dir.contains('\0') {
                let why = format!("{:?} is neither auto nor an absolute path", self.dir);
                return Err(("dir".to_owned(), why));
            }
            dir
        };
        let places = Places { dir: Some(&dir), ..naming };
        let command = filled(&places, &self.command).map_err(|(at, why)| (format!("command[{at}]"), why))?;
        let mut env = BTreeMap::new();
        for (name, value) in &self.env {
            let value = places.fill(value).map_err(|why| (format!("env.{name}"), why))?;
            if value.contains('\0') {
                return Err((format!("env.{name}"), "holds a NUL".to_owned()));
            }
            env.insert(name.clone(), value);
        }
        env.insert(gate::SERVICE.to_owned(), service.to_owned());
        env.insert(gate::MEMBER.to_owned(), member);
        Ok(Launch { order: Order { command, env, dir }, port, own_dir })
    }

    /// How the health of a member is checked; `None`: not at all.
    pub(crate) fn probe(&self, service: &str, index: u32, root: &Path) -> Result<Option<Probe>, Wrong> {
        let Some(health) = &self.health else { return Ok(None) };
        let wrong = |field: &str, message: &str| (format!("health{field}"), message.to_owned());
        if health.interval.0.is_zero() {
            return Err(wrong(".interval", "must be longer than 0"));
        }
        if health.timeout.0.is_zero() {
            return Err(wrong(".timeout", "must be longer than 0"));
        }
        if health.failures == 0 {
            return Err(wrong(".failures", "must be 1 or more"));
        }
        let member = member_name(service, index);
        let launch = self.launch(service, index, root)?;
        let dir = launch.order.dir.as_path();
        let places = Places { service, member: &member, index, port: launch.port, dir: Some(dir) };
        let fill = |field: &str, text: &str| places.fill(text).map_err(|why| wrong(field, &why));
        match (&health.tcp, &health.http, &health.command) {
            (Some(port), None, None) => {
                let to = address(&fill(".tcp", &port.0)?).map_err(|why| wrong(".tcp", &why))?;
                Ok(Some(Probe::Tcp(to)))
            }
            (None, Some(http), None) => {
                let to =
                    address(&fill(".http.port", &http.port.0)?).map_err(|why| wrong(".http.port", &why))?;
                let path = fill(".http.path", &http.path)?;
                if !path.starts_with('/') || path.contains(|c: char| c.is_whitespace() || c.is_control()) {
                    return Err(wrong(".http.path", "must begin with / and hold no blanks"));
                }
                Ok(Some(Probe::Http(to, path)))
            }
            (None, None, Some(command)) => {
                if command.first().is_none_or(|program| program.trim().is_empty()) {
                    return Err(wrong(".command", "name a program"));
                }
                let command =
                    filled(&places, command).map_err(|(at, why)| wrong(&format!(".command[{at}]"), &why))?;
                Ok(Some(Probe::Command(Order { command, ..launch.order })))
            }
            _ => Err(wrong("", "say exactly one of tcp, http and command")),
        }
    }

    /// Which parts differ, for people.
    pub(crate) fn differences(&self, other: &Self) -> Vec<&'static str> {
        let parts = [
            ("command", self.command != other.command),
            ("environment", self.env != other.env),
            ("directory", self.dir != other.dir),
            ("port", self.port != other.port),
        ];
        parts.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::read as spec;

    #[test]
    fn a_hash_follows_what_members_are_started_with_and_nothing_else() {
        let read = |json: &str| spec("web", json.as_bytes()).unwrap().template();
        let one = read(r#"{"command": ["a"]}"#);
        assert_eq!(one.hash(), read(r#"{"command": ["a"], "members": 4, "stop": {"signal": "INT"}}"#).hash());
        let two = read(r#"{"command": ["b"], "env": {"X": 1}}"#);
        assert_ne!(one.hash(), two.hash());
        assert_eq!(one.differences(&two), ["command", "environment"]);
        // Remembered by managers: must never change.
        assert_eq!(one.hash(), "ac5b9f279a621409");
    }
}

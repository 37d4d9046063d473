//! What the plugin must remember about a service: which processes are its members, by what they run, and how they
//! fared. The manager keeps it; it is JSON, so that a person can read it in an emergency.

use std::collections::BTreeMap;

use om_plugin_sdk::Failed;
use serde::{Deserialize, Serialize};

use crate::template::Template;

const VERSION: u32 = 1;

/// Templates of former specs are kept so that a member that has yet to be replaced can be started again as it was; but
/// the whole state must fit into the manager's limit, and 1000 records take their part.
const ROOM_FOR_TEMPLATES: usize = 40 * 1024;

/// The state of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    version: u32,
    /// The service.
    pub(crate) service: String,
    /// The host that the members run on.
    pub(crate) host: String,
    /// The boot, and pid namespace, that the pids belong to.
    pub(crate) boot: String,
    /// What members in here run by, by hash; some may be left out for their size.
    #[serde(default)]
    templates: BTreeMap<String, Template>,
    /// By index.
    #[serde(default)]
    pub(crate) members: BTreeMap<u32, Record>,
}

/// One member: the newest process that was announced for it, dead or alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Its pid, which is its session and process group too.
    pub(crate) pid: i32,
    /// Its start time in clock ticks since boot.
    pub(crate) start: u64,
    /// The mark in the environment of it and of all that it starts.
    pub(crate) run: String,
    /// Hash of the template that it runs by.
    pub(crate) spec: String,
    /// Its port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u16>,
    /// Wall time of its start, for people.
    pub(crate) since: i64,
    /// How often a process of this member ended unasked.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) restarts: u32,
    /// How often in a row, without running for long: the back-off.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) failures: u32,
    /// It is being stopped: whoever finds it so goes on with that.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) stopping: bool,
    /// It is to be replaced, though its template is the declared one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) restart: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl State {
    /// No members yet.
    pub(crate) fn new(service: &str, host: &str, boot: &str) -> Self {
        let [service, host, boot] = [service, host, boot].map(str::to_owned);
        Self { version: VERSION, service, host, boot, templates: BTreeMap::new(), members: BTreeMap::new() }
    }

    /// Reads what was saved; `None` if nothing ever was.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<Self>, Failed> {
        if bytes.is_empty() {
            return Ok(None);
        }
        // The version first: a newer state may not even fit the type.
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let unreadable =
            |cause| Failed(format!("the saved state cannot be read, and is left as it is: {cause}"));
        let Version { version } = serde_json::from_slice(bytes).map_err(unreadable)?;
        if version != VERSION {
            return Err(Failed(format!(
                "the saved state has format {version}, this program knows {VERSION}: use the version that wrote it"
            )));
        }
        serde_json::from_slice(bytes).map(Some).map_err(unreadable)
    }

    /// As it is saved.
    pub(crate) fn write(&self) -> Result<Vec<u8>, Failed> {
        serde_json::to_vec(self).map_err(|cause| Failed(format!("cannot write down the state: {cause}")))
    }

    /// Keeps a template under its hash, and forgets those by which no member runs.
    pub(crate) fn keep(&mut self, hash: &str, template: &Template) {
        let Self { templates, members, .. } = self;
        templates.retain(|known, _| known == hash || members.values().any(|record| record.spec == *known));
        let size = |template: &Template| serde_json::to_vec(template).map_or(usize::MAX, |json| json.len());
        // Replaced, for its health check may be another.
        templates.remove(hash);
        let used: usize = templates.values().map(size).sum();
        if used.saturating_add(size(template)) <= ROOM_FOR_TEMPLATES {
            templates.insert(hash.to_owned(), template.clone());
        }
    }

    /// The template of this hash, if it was small enough to be kept.
    pub(crate) fn template(&self, hash: &str) -> Option<&Template> {
        self.templates.get(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_saved_is_not_an_error_but_garbage_and_the_future_are() {
        assert_eq!(State::read(b"").unwrap(), None);
        assert!(State::read(b"{").is_err());
        let newer = State::read(br#"{"version": 2, "pods": []}"#).unwrap_err();
        assert!(newer.0.contains("format 2"), "{newer}");
    }

    #[test]
    fn a_thousand_members_fit_into_what_a_manager_stores() {
        let mut state = State::new("web", &"h".repeat(64), &"b".repeat(64));
        let template: Template =
            serde_json::from_value(serde_json::json!({"command": ["x".repeat(30_000)], "dir": "auto"}))
                .unwrap();
        for index in 0..crate::spec::MOST_MEMBERS {
            let record = Record {
                pid: 4_194_304,
                start: 9_999_999_999,
                run: "0123456789abcdef".to_owned(),
                spec: "0123456789abcdef".to_owned(),
                port: Some(65_535),
                since: 1_800_000_000_000,
                restarts: 1_000_000,
                failures: 1_000_000,
                stopping: true,
                restart: true,
            };
            state.members.insert(index, record);
        }
        state.keep("0123456789abcdef", &template);
        state.keep("fedcba9876543210", &template);
        assert!(state.template("0123456789abcdef").is_some() && state.template("fedcba9876543210").is_none());
        let bytes = state.write().unwrap();
        assert!(bytes.len() <= om_api::MAX_STATE_BYTES, "{} bytes", bytes.len());
        assert_eq!(State::read(&bytes).unwrap(), Some(state));
    }
}

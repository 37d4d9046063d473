//! The objects that are printed. Fields may be added, never renamed: scripts read them.

use std::collections::BTreeMap;

use om_api::v1;
use serde::Serialize;

use super::text;
use crate::document::Node;
use crate::failure::Failure;

/// An error, on standard error.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorObject {
    error: ErrorBody,
}

#[derive(Debug, Serialize)]
struct ErrorBody {
    reason: String,
    message: String,
    hint: String,
}

impl From<&Failure> for ErrorObject {
    fn from(failure: &Failure) -> Self {
        let Failure { reason, message, hint, .. } = failure.clone();
        Self { error: ErrorBody { reason: reason.into_owned(), message, hint } }
    }
}

/// One service of `om ls`.
#[derive(Debug, Serialize)]
pub(crate) struct ServiceRow {
    /// Its name.
    pub(crate) name: String,
    /// Its kind.
    pub(crate) kind: String,
    /// The revision of its declaration.
    pub(crate) revision: u64,
    /// How it is.
    pub(crate) phase: &'static str,
    /// Why.
    pub(crate) message: String,
    /// The user's own marks.
    pub(crate) labels: BTreeMap<String, String>,
}

impl From<v1::Summary> for ServiceRow {
    fn from(summary: v1::Summary) -> Self {
        let phase = text::phase(summary.phase());
        let v1::Summary { name, kind, revision, message, labels, .. } = summary;
        Self { name, kind, revision, phase, message, labels: labels.into_iter().collect() }
    }
}

/// `om describe`.
#[derive(Debug, Serialize)]
pub(crate) struct Described {
    /// As in `om ls`.
    #[serde(flatten)]
    pub(crate) row: ServiceRow,
    /// What it consists of.
    pub(crate) members: Vec<MemberRow>,
    /// The declared spec.
    pub(crate) spec: Node,
}

/// One member.
#[derive(Debug, Serialize)]
pub(crate) struct MemberRow {
    /// Its name.
    pub(crate) name: String,
    /// A word of the plugin's.
    pub(crate) phase: String,
    /// Where it can be reached.
    pub(crate) address: String,
    /// The host it runs on.
    pub(crate) host: String,
    /// Why it is in this phase.
    pub(crate) message: String,
    /// More of the plugin's.
    pub(crate) details: BTreeMap<String, String>,
}

impl From<v1::Member> for MemberRow {
    fn from(member: v1::Member) -> Self {
        let v1::Member { name, phase, address, host, message, details } = member;
        Self { name, phase, address, host, message, details: details.into_iter().collect() }
    }
}

/// One document of `om commit`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Committed {
    /// The service's name.
    pub(crate) name: String,
    /// Its kind.
    pub(crate) kind: String,
    /// The revision it stands at.
    pub(crate) revision: u64,
    /// Whether the declaration differed from the stored one.
    pub(crate) changed: bool,
    /// What is done, or would be.
    pub(crate) plan: Vec<String>,
    /// How it is.
    pub(crate) phase: &'static str,
    /// Why.
    pub(crate) message: String,
    /// Whether nothing was done: `--pretend`.
    pub(crate) pretend: bool,
}

/// One service of `om free` or `om destroy`.
#[derive(Debug, Serialize)]
pub(crate) struct Removed {
    /// The service's name.
    pub(crate) name: String,
    /// The revision at which it was decided.
    pub(crate) revision: u64,
    /// Whether all of it is done.
    pub(crate) done: bool,
}

/// One event of `om watch` or `om history`.
#[derive(Debug, Serialize)]
pub(crate) struct EventLine {
    /// The store's revision.
    pub(crate) revision: u64,
    /// When.
    pub(crate) time: String,
    /// What.
    #[serde(rename = "type")]
    pub(crate) what: &'static str,
    /// Which service; null for leadership.
    pub(crate) service: Option<String>,
    /// Its kind, where known.
    pub(crate) kind: Option<String>,
    /// For status: its phase.
    pub(crate) phase: Option<&'static str>,
    /// For people.
    pub(crate) message: String,
    /// The term it happened in.
    pub(crate) term: u64,
    /// For leadership: who leads.
    pub(crate) leader: Option<String>,
    #[serde(skip)]
    unix_ms: i64,
}

impl From<v1::Event> for EventLine {
    fn from(event: v1::Event) -> Self {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let phase = Some(event.phase()).filter(|phase| *phase != v1::Phase::Unspecified);
        Self {
            revision: event.revision,
            time: text::time(event.time_unix_ms),
            what: text::event(event.r#type()),
            service: some(&event.service),
            kind: some(&event.kind),
            phase: phase.map(text::phase),
            message: event.message.clone(),
            term: event.term,
            leader: some(&event.leader),
            unix_ms: event.time_unix_ms,
        }
    }
}

impl EventLine {
    /// When, for people.
    pub(crate) fn short_time(&self) -> String {
        text::short_time(self.unix_ms)
    }

    /// What happened, for people.
    pub(crate) fn describe(&self) -> String {
        let leader = self.leader.as_ref().map(|leader| format!("{leader} leads, term {}", self.term));
        let parts = [leader.as_deref(), Some(self.message.as_str()).filter(|text| !text.is_empty())];
        text::one_line(&parts.into_iter().flatten().collect::<Vec<_>>().join(": "))
    }
}

/// `om status`.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    /// The replica's name.
    pub(crate) name: String,
    /// How it detects the leader.
    pub(crate) mode: String,
    /// What it takes itself for.
    pub(crate) leadership: &'static str,
    /// The newest term that it knows of.
    pub(crate) term: u64,
    /// Who leads.
    pub(crate) leader: Option<Leader>,
    /// The store's newest revision that it knows of.
    pub(crate) revision: u64,
    /// Number of declared services.
    pub(crate) services: u64,
    /// The plugins that it found.
    pub(crate) plugins: Vec<StatusPlugin>,
    /// Why leadership is unknown, or why it cannot lead.
    pub(crate) message: String,
    /// Its program's version.
    pub(crate) version: String,
    /// Identity of the store.
    pub(crate) cluster: String,
    /// Where the state is kept.
    pub(crate) store: String,
}

/// Who leads.
#[derive(Debug, Serialize)]
pub(crate) struct Leader {
    /// Its name.
    pub(crate) name: String,
    /// Where it serves.
    pub(crate) endpoint: String,
}

/// `om handover`.
#[derive(Debug, Serialize)]
pub(crate) struct Handover {
    /// Who leads now.
    pub(crate) leader: Leader,
    /// Its term.
    pub(crate) term: u64,
}

/// A plugin in `om status`.
#[derive(Debug, Serialize)]
pub(crate) struct StatusPlugin {
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// The names of its kinds.
    pub(crate) kinds: Vec<String>,
    /// Whether the session with it stands.
    pub(crate) attended: bool,
    /// Why it does not.
    pub(crate) message: String,
}

impl From<v1::StatusResponse> for Status {
    fn from(status: v1::StatusResponse) -> Self {
        let leadership = text::leadership(status.leadership());
        let leader = status.leader.map(|leader| Leader { name: leader.name, endpoint: leader.endpoint });
        let plugin = |plugin: v1::PluginStatus| StatusPlugin {
            name: plugin.name,
            version: plugin.version,
            kinds: plugin.kinds.into_iter().map(|kind| kind.name).collect(),
            attended: plugin.attended,
            message: plugin.message,
        };
        Self {
            name: status.name,
            mode: status.mode,
            leadership,
            term: status.term,
            leader: leader.filter(|leader| !leader.name.is_empty()),
            revision: status.revision,
            services: status.services,
            plugins: status.plugins.into_iter().map(plugin).collect(),
            message: status.message,
            version: status.version,
            cluster: status.cluster,
            store: status.store,
        }
    }
}

/// A plugin in `om plugins`.
#[derive(Debug, Serialize)]
pub(crate) struct PluginRow {
    /// As in `om status`.
    #[serde(flatten)]
    pub(crate) plugin: StatusPlugin,
    /// What its kinds can do beside commit, free and destroy.
    pub(crate) actions: Vec<ActionRow>,
}

/// An action.
#[derive(Debug, Serialize)]
pub(crate) struct ActionRow {
    /// The kind it belongs to.
    pub(crate) kind: String,
    /// Its name.
    pub(crate) name: String,
    /// One line for people.
    pub(crate) summary: String,
    /// `read` or `change`.
    pub(crate) effect: &'static str,
    /// JSON Schema of its arguments.
    pub(crate) args_schema: Node,
}

/// One run of a changing action.
#[derive(Debug, Serialize)]
pub(crate) struct OperationRow {
    /// Its id.
    pub(crate) id: String,
    /// The service.
    pub(crate) service: String,
    /// The action.
    pub(crate) action: String,
    /// Its arguments.
    pub(crate) args: BTreeMap<String, String>,
    /// How it stands.
    pub(crate) state: &'static str,
    /// Last progress, or the error.
    pub(crate) message: String,
    /// When it began.
    pub(crate) started: String,
    /// When it ended; null while it runs.
    pub(crate) ended: Option<String>,
    /// The term it was started in.
    pub(crate) term: u64,
    #[serde(skip)]
    pub(crate) started_unix_ms: i64,
    #[serde(skip)]
    pub(crate) ended_unix_ms: i64,
}

impl From<v1::Operation> for OperationRow {
    fn from(operation: v1::Operation) -> Self {
        let state = text::operation(operation.state());
        Self {
            id: operation.id,
            service: operation.service,
            action: operation.action,
            args: operation.args.into_iter().collect(),
            state,
            message: operation.message,
            started: text::time(operation.started_unix_ms),
            ended: Some(text::time(operation.ended_unix_ms)).filter(|time| !time.is_empty()),
            term: operation.term,
            started_unix_ms: operation.started_unix_ms,
            ended_unix_ms: operation.ended_unix_ms,
        }
    }
}

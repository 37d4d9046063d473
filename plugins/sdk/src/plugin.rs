//! What a plugin's author fills in.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use om_api::v1;

use crate::{Output, Service};

/// A program that makes services of some kinds real.
#[async_trait]
pub trait Plugin: Send + Sync + 'static {
    /// The kinds, with the schemas of specs and of the actions' arguments.
    fn kinds(&self) -> Vec<v1::Kind>;

    /// Checks a declaration and says what committing it would do, a step a line. Has no effects; must be quick.
    ///
    /// # Errors
    /// [`Rejected`], shown to the user; the declaration is not stored.
    async fn plan(&self, wanted: &Declared, current: Option<&Declared>) -> Result<Vec<String>, Rejected>;

    /// Looks after one service until it is dropped: makes it as [`Service::declared`] says, now and whenever that
    /// changes, and [reports](Service::report) how it is. Called anew after a takeover or a restart, with what was
    /// [saved](Service::save). Does not return while all is well.
    ///
    /// # Errors
    /// Reported as phase `failed`, and tried again with back-off.
    async fn look_after(&self, service: Service) -> Result<(), Failed>;

    /// Tears the service down; nothing looks after it meanwhile. Idempotent: may be called again after a crash, with
    /// what was saved last. Dropped when the authority ends.
    ///
    /// # Errors
    /// Reported, and tried again with back-off.
    async fn destroy(&self, service: Service) -> Result<(), Failed>;

    /// Runs an action, known by [`Plugin::kinds`], with arguments that fit its schema. A reading action may be asked of
    /// a service at any time; a changing one runs beside `look_after` and is dropped with it.
    ///
    /// # Errors
    /// Shown to the user.
    async fn run(
        &self,
        service: Service,
        action: &str,
        args: serde_json::Value,
        output: Output,
    ) -> Result<(), Failed>;

    /// Members to show for a service that is looked after by nobody here just now. The default shows none.
    fn members_at_rest(&self, _state: &Bytes) -> Vec<v1::Member> {
        Vec::new()
    }
}

/// What a user declared, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// The service's name.
    pub name: Arc<str>,
    /// Its kind.
    pub kind: Arc<str>,
    /// The revision that it was stored at; 0 in a plan.
    pub revision: u64,
    /// The user's own marks.
    pub labels: BTreeMap<String, String>,
    /// The plugin's own part: JSON. Read it with [`crate::spec::parse`].
    pub spec: Bytes,
}

/// Why a declaration is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejected {
    /// Path of the field to blame: `spec.health.port`; empty if it is none in particular.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Rejected {
    /// A rejection that blames a field.
    #[must_use]
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl From<Rejected> for om_api::Error {
    /// People are told the field too, unless the message names it already.
    fn from(Rejected { field, message }: Rejected) -> Self {
        let message = if message.contains(&field) { message } else { format!("{field}: {message}") };
        let error = Self::new(om_api::Reason::InvalidSpec, message);
        if field.is_empty() { error } else { error.with("field", field) }
    }
}

/// Why something could not be done. Text for people, with its causes.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failed(pub String);

impl From<std::io::Error> for Failed {
    fn from(cause: std::io::Error) -> Self {
        Self(cause.to_string())
    }
}

impl From<Lapsed> for Failed {
    fn from(lapsed: Lapsed) -> Self {
        Self(lapsed.to_string())
    }
}

/// The authority to act is gone: its deadline passed, or its session ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no authority to act any more: {0}")]
pub struct Lapsed(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_told_of_a_rejection_is_told_the_field() {
        let told = |field: &str, message: &str| om_api::Error::from(Rejected::field(field, message));
        assert_eq!(told("spec.members", "200 are too many").message, "spec.members: 200 are too many");
        assert_eq!(told("spec.members", "spec.members: no number").message, "spec.members: no number");
        assert_eq!(told("spec.members", "x").metadata["field"], "spec.members");
        let of_nothing = told("", "not today");
        assert_eq!((of_nothing.message.as_str(), of_nothing.metadata.len()), ("not today", 0));
    }
}

//! The port to whatever says who leads.

use async_trait::async_trait;
use tokio::sync::watch;

/// What a detector sees. Advice: whoever follows it still needs a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// This replica is the one that is named.
    Leading,
    /// It is not: somebody else is named, or plainly nobody.
    Following {
        /// Who is named, if anybody.
        leader: Option<String>,
    },
    /// It cannot be seen just now. Whoever leads goes on until the deadline.
    Unknown {
        /// Why, for people.
        why: String,
    },
}

/// Says who seems to lead, and keeps saying it.
///
/// Promises: the receiver always holds the newest observation; the same observation is not sent twice in a row; a
/// slow reader never delays detection; dropping the detector ends its work and closes the receiver.
#[async_trait]
pub trait Detector: Send + Sync + 'static {
    /// What is seen now, and every change of it. Starts as `Unknown` until the first look is done.
    fn leadership(&self) -> watch::Receiver<Leadership>;

    /// What this detector looks at, for people: `file /run/leader`.
    fn describe(&self) -> String;

    /// Gives the leadership up where the backend can be told so. After it the detector no longer says `Leading`
    /// because of anything this replica did before. Idempotent.
    async fn resign(&self);
}

impl Leadership {
    /// Why it is unknown before the first look.
    pub const NOT_LOOKED: &str = "not looked yet";

    /// What is seen before the first look.
    #[must_use]
    pub fn not_looked() -> Self {
        Self::Unknown { why: Self::NOT_LOOKED.to_owned() }
    }

    /// Logs one check as every detector does: `leader: true` or `leader: false`, with what was checked. What could not
    /// be seen is not logged here: the campaign tells it once.
    pub(crate) fn log_check(&self, checked: &str) {
        match self {
            Self::Leading => tracing::debug!(checked, "leader: true"),
            Self::Following { leader } => {
                tracing::debug!(checked, named = leader.as_deref().unwrap_or("nobody"), "leader: false");
            }
            Self::Unknown { .. } => {}
        }
    }
}

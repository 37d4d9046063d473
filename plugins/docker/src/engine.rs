//! The engine, asked with patience that ends: a frozen engine accepts connections and answers nothing.

use std::error::Error as _;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::LocalNodeState;
use futures_util::{Stream, StreamExt};
use om_plugin_sdk::{Failed, Lapsed};

use crate::connect::DockerHost;

/// An answer takes no longer, of whatever that does not wait for containers.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// A pull that brings nothing for so long hangs.
const PULL_PATIENCE: Duration = Duration::from_secs(60);

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The engine cannot be asked, or does not answer: what it does is not known.
    #[error("{0}")]
    Away(String),
    /// There is no such thing.
    #[error("{0}")]
    Missing(String),
    /// There is such a thing already, or something is in the way.
    #[error("{0}")]
    Conflict(String),
    /// The engine answered, and does not do it.
    #[error("{0}")]
    Refused(String),
    /// Something of this name is there and is not ours.
    #[error("{0}")]
    Taken(String),
    /// A newer leader has been here.
    #[error("{0}")]
    Fenced(String),
    /// What was made is where this engine is not.
    #[error("{0}")]
    Elsewhere(String),
    /// The authority is gone.
    #[error(transparent)]
    Lapsed(#[from] Lapsed),
    /// Anything else.
    #[error(transparent)]
    Failed(#[from] Failed),
}

impl From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Self {
        Self(trouble.to_string())
    }
}

/// What an engine is at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// In no Swarm.
    Alone,
    /// A manager of the Swarm of this identity.
    Manager(String),
    /// In a Swarm, which it cannot be asked about; why, and what to do.
    Other(String),
}

/// The way to an engine.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    pub(crate) host: DockerHost,
}

impl Engine {
    /// Asks, with [`PATIENCE`]; `what` is being done, for messages.
    pub(crate) async fn call<T, F>(&self, what: &str, ask: impl FnOnce(Docker) -> F) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.call_within(PATIENCE, what, ask).await
    }

    /// The same, for what takes longer.
    pub(crate) async fn call_within<T, F>(
        &self,
        patience: Duration,
        what: &str,
        ask: impl FnOnce(Docker) -> F,
    ) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let client = self.client(patience)?;
        let answer = tokio::time::timeout(patience, Box::pin(ask(client))).await;
        answer.map_err(|_| self.silent(patience))?.map_err(|error| self.judge(what, &error))
    }

    /// The same, where nothing of the name is an answer too.
    pub(crate) async fn find<T, F>(
        &self,
        what: &str,
        ask: impl FnOnce(Docker) -> F,
    ) -> Result<Option<T>, Trouble>
    where
        F: Future<Output = Result<T, Error>>,
    {
        match self.call(what, ask).await {
            Ok(found) => Ok(Some(found)),
            Err(Trouble::Missing(_)) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// The next piece of a stream; an end that is none of ours is `None`.
    pub(crate) async fn next<T>(
        &self,
        patience: Duration,
        what: &str,
        stream: &mut (impl Stream<Item = Result<T, Error>> + Unpin),
    ) -> Result<Option<T>, Trouble> {
        match tokio::time::timeout(patience, stream.next()).await {
            Err(_) => Err(self.silent(patience)),
            Ok(None) => Ok(None),
            Ok(Some(piece)) => piece.map(Some).map_err(|error| self.judge(what, &error)),
        }
    }

    /// A client for what is not one question and one answer.
    pub(crate) fn client(&self, patience: Duration) -> Result<Docker, Trouble> {
        let client = self.host.client(patience.as_secs().saturating_add(1));
        client.map_err(|error| self.judge("connect", &error))
    }

    /// What the engine is.
    pub(crate) async fn role(&self) -> Result<Role, Trouble> {
        let info =
            self.call("ask the engine for its state", |docker| async move { docker.info().await }).await?;
        let at = self.host.url();
        let Some(swarm) = info.swarm else { return Ok(Role::Alone) };
        let node = swarm.node_id.unwrap_or_default();
        let error = swarm.error.filter(|error| !error.is_empty());
        Ok(match swarm.local_node_state {
            None | Some(LocalNodeState::EMPTY | LocalNodeState::INACTIVE) => Role::Alone,
            Some(LocalNodeState::LOCKED) => {
                Role::Other(format!("the Swarm of the engine at {at} is locked: docker swarm unlock"))
            }
            Some(LocalNodeState::ACTIVE) if swarm.control_available != Some(true) => Role::Other(format!(
                "the engine at {at} is a worker of its Swarm: let the plugin speak to a manager, or docker node promote {node}"
            )),
            Some(LocalNodeState::ACTIVE) => match swarm.cluster.and_then(|cluster| cluster.id) {
                Some(id) => Role::Manager(id),
                None => Role::Other(format!(
                    "the Swarm of the engine at {at} has no leader: {}",
                    error.unwrap_or_else(|| "a majority of its managers is away".to_owned())
                )),
            },
            Some(state) => Role::Other(format!(
                "the Swarm of the engine at {at} is in the state {state}{}",
                error.map(|error| format!(": {error}")).unwrap_or_default()
            )),
        })
    }

    /// Brings an image if the engine does not have it.
    pub(crate) async fn ensure_image(&self, image: &str) -> Result<(), Trouble> {
        let has = self.find("look for the image", |docker| async move { docker.inspect_image(image).await });
        if has.await?.is_some() {
            return Ok(());
        }
        let (name, tag) = match image.rsplit_once(':') {
            _ if image.contains('@') => (image, ""),
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (image, "latest"),
        };
        let options =
            bollard::query_parameters::CreateImageOptionsBuilder::default().from_image(name).tag(tag);
        let client = self.client(PULL_PATIENCE)?;
        let mut pull = Box::pin(client.create_image(Some(options.build()), None, None));
        let what = format!("pull the image {image}, which is not there");
        while self.next(PULL_PATIENCE, &what, &mut pull).await?.is_some() {}
        Ok(())
    }

    fn silent(&self, patience: Duration) -> Trouble {
        Trouble::Away(format!("the engine at {} does not answer within {patience:?}", self.host.url()))
    }

    fn judge(&self, what: &str, error: &Error) -> Trouble {
        match error {
            Error::DockerResponseServerError { status_code, message } => {
                let said = format!("cannot {what}: {}", message.trim());
                match status_code {
                    404 => Trouble::Missing(said),
                    409 => Trouble::Conflict(said),
                    _ => Trouble::Refused(said),
                }
            }
            Error::RequestTimeoutError => self.silent(PATIENCE),
            Error::DockerStreamError { error } => Trouble::Refused(format!("cannot {what}: {error}")),
            error => {
                Trouble::Away(format!("the engine at {} cannot be asked: {}", self.host.url(), chain(error)))
            }
        }
    }
}

/// An error with its causes, each said once.
fn chain(error: &Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        cause = error.source();
    }
    said
}

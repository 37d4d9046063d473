//! Who keeps looking.

use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{NodeState, Role, Sight, sight};
use crate::engine::{Engine, Events, Trouble, insist};

/// How a [`NodeWatch`] goes about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeOptions {
    /// How often the engine is asked where no event tells of a change. Ten times as often while its node is being made a worker: no
    /// event tells when that is done.
    pub poll: Duration,
    /// How long it may take for an answer.
    pub attempt: Duration,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self { poll: Duration::from_millis(250), attempt: Duration::from_secs(1) }
    }
}

/// What an engine says of its node and its Swarm, kept fresh until this is dropped.
#[derive(Debug)]
pub struct NodeWatch {
    sight: watch::Receiver<Sight>,
    _task: JoinSet<()>,
}

impl NodeWatch {
    /// Begins to look. Must be called within a runtime.
    #[must_use]
    pub fn new(engine: Engine, options: NodeOptions) -> Self {
        let (sender, sight) = watch::channel(Sight::none());
        let mut task = JoinSet::new();
        task.spawn(Watcher { engine, options, sender, events: None }.run());
        Self { sight, _task: task }
    }

    /// What is seen now, and from now on.
    #[must_use]
    pub fn sight(&self) -> watch::Receiver<Sight> {
        self.sight.clone()
    }
}

struct Watcher {
    engine: Engine,
    options: NodeOptions,
    sender: watch::Sender<Sight>,
    /// The events, and since when they have come.
    events: Option<(Events, Instant)>,
}

/// Of what `docker info` says, the node's part.
#[derive(Deserialize)]
struct Info {
    #[serde(rename = "Swarm", default)]
    swarm: Option<SwarmInfo>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SwarmInfo {
    #[serde(rename = "NodeID")]
    node: String,
    #[serde(rename = "LocalNodeState")]
    state: String,
    #[serde(rename = "ControlAvailable")]
    manager: bool,
    #[serde(rename = "Error")]
    error: String,
}

impl Watcher {
    async fn run(mut self) {
        loop {
            let begun = Instant::now();
            let seen = self.look().await;
            let passing = seen.state == NodeState::Active && seen.wanted == Role::Worker;
            let next = begun + if passing { self.options.poll / 10 } else { self.options.poll };
            self.sender.send_if_modified(|sight| {
                let moves = *sight != seen;
                if moves {
                    tracing::debug!(state = %seen.state, leader = seen.leader, "what is seen of the Swarm");
                    *sight = seen;
                }
                moves
            });
            if self.events.is_none() {
                let events = self.engine.events(&["node"], self.options.attempt).await.ok();
                self.events = events.map(|events| (events, Instant::now()));
            }
            tokio::select! {
                () = sleep_until(next) => {}
                heard = heard(&mut self.events) => if !heard {
                    let since = self.events.take().map_or(next, |(_, since)| since);
                    // Why is seen at once; but an engine that ends them again and again is asked no more often than else.
                    sleep_until(since + self.options.poll).await;
                }
            }
        }
    }

    async fn look(&self) -> Sight {
        let before = self.sender.borrow().clone();
        let ask = |time| self.engine.get::<Vec<sight::Node>>("/nodes", time);
        let nodes = insist(self.options.attempt / 10, self.options.attempt, ask).await;
        let trouble = match nodes {
            Ok(nodes) => match Sight::of(&before.node, &nodes) {
                Some(sight) => return sight,
                None => return self.look_anew(before, &nodes).await,
            },
            Err(trouble) => trouble,
        };
        if matches!(trouble, Trouble::Silent(_)) && self.engine.ping(self.options.attempt).await.is_ok() {
            // What needs the Swarm's leader is not answered, all else is.
            return before.blind(NodeState::NoQuorum);
        }
        let state = blinding(&trouble);
        if matches!(state, NodeState::NotInSwarm) { self.out(before).await } else { before.blind(state) }
    }

    /// Which of the nodes it is.
    async fn look_anew(&self, before: Sight, nodes: &[sight::Node]) -> Sight {
        match self.info().await {
            Ok(info) => Sight::of(&info.node, nodes).unwrap_or_else(|| before.blind(NodeState::NotInSwarm)),
            Err(trouble) => before.blind(blinding(&trouble)),
        }
    }

    /// An engine that is in no Swarm may be about to be in one.
    async fn out(&self, before: Sight) -> Sight {
        let Ok(info) = self.info().await else { return before.blind(NodeState::NotInSwarm) };
        let before = if info.node.is_empty() { before } else { Sight { node: info.node, ..before } };
        match info.state.as_str() {
            "pending" | "error" => {
                let why = if info.error.is_empty() { info.state } else { info.error };
                before.blind(NodeState::Pending(why))
            }
            "locked" => before.blind(NodeState::Locked),
            "active" if !info.manager => before.blind(NodeState::Worker),
            _ => before.blind(NodeState::NotInSwarm),
        }
    }

    async fn info(&self) -> Result<SwarmInfo, Trouble> {
        let info = self.engine.get::<Info>("/info", self.options.attempt).await?;
        Ok(info.swarm.unwrap_or_default())
    }
}

/// What an engine is of which nothing is seen.
fn blinding(trouble: &Trouble) -> NodeState {
    NodeState::told_by(trouble).unwrap_or_else(|| NodeState::Unreachable(trouble.to_string()))
}

/// Waits for an event; whether there was one. For ever where none come.
async fn heard(events: &mut Option<(Events, Instant)>) -> bool {
    match events {
        Some((events, _)) => events.next().await.is_some(),
        None => std::future::pending().await,
    }
}

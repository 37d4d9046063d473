//! Whether somebody else leads by now, while an answer is waited for.
//!
//! A leader that is frozen, or whose host is lost, says nothing: its connections stand for seconds. The other replicas know
//! of its successor long before. To go there is harmless if the leader was only slow, for the request id is the same.

use std::time::Duration;

use om_api::socket::{self, Address, Security};
use om_api::v1::StatusRequest;
use tokio::task::JoinSet;
use tonic::Request;
use tonic::transport::Channel;

use crate::manager;

/// When to look for the first time, and how seldom in the end.
const FIRST: Duration = Duration::from_millis(250);
const SELDOM: Duration = Duration::from_secs(2);
/// How long a look may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// Waits until one of the others names a leader of a higher term than `known`, other than the one who is being asked.
pub(crate) async fn another_leads(
    others: Vec<Address>,
    current: Address,
    security: Security,
    known: Option<u64>,
) -> (Address, u64) {
    if others.is_empty() {
        std::future::pending::<()>().await;
    }
    let mut pause = FIRST;
    // Made once the first pause is over: most calls are answered by then.
    let mut channels: Vec<Channel> = Vec::new();
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(SELDOM);
        if channels.is_empty() {
            channels = others.iter().map(|other| socket::channel(other, &security)).collect();
        }
        let mut asking = JoinSet::new();
        for channel in &channels {
            asking.spawn(tokio::time::timeout(PATIENCE, leader_by(channel.clone())));
        }
        while let Some(answer) = asking.join_next().await {
            if let Ok(Ok(Some((leader, term)))) = answer
                && leader != current
                && known.is_none_or(|known| term > known)
            {
                return (leader, term);
            }
        }
    }
}

/// Whom a replica takes for the leader.
async fn leader_by(channel: Channel) -> Option<(Address, u64)> {
    let status = manager(channel).status(Request::new(StatusRequest {})).await.ok()?.into_inner();
    let leader = status.leader?.endpoint.parse().ok()?;
    Some((leader, status.term))
}

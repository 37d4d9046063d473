//! Handing the leadership over: no new call, those under way finished, every plugin stopped, then another replica.

use std::sync::Arc;
use std::time::Duration;

use om_api::clock::Clock;
use om_api::{Error, Reason, v1};
use om_leadership::Campaign;
use om_leadership::election::ElectionDetector;

use crate::reign::Reign;
use crate::replica::Replica;

/// How long the calls under way may take to end before they are cut.
const CALLS_PATIENCE: Duration = Duration::from_secs(2);
/// The same where the leader's node is about to take no more writes: a commit takes a few milliseconds.
const HASTE: Duration = Duration::from_millis(30);
/// How long it may take until another leads.
const SUCCESSION_PATIENCE: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(2);

/// What a handover needs of the replica, where replicas elect among themselves.
#[derive(Clone)]
pub(crate) struct Handover {
    pub(crate) election: Arc<ElectionDetector>,
    pub(crate) campaign: Arc<Campaign>,
    pub(crate) clock: Clock,
}

impl Handover {
    /// The replica that is to follow: the one that was named, or any that lives.
    ///
    /// # Errors
    /// There is none, or not that one.
    fn successor(&self, own: &str, to: &str) -> Result<String, Error> {
        let others: Vec<String> = self.election.others().into_iter().map(|replica| replica.name).collect();
        let refuse = |text: String| Error::new(Reason::Refused, text);
        if to == own {
            return Err(refuse(format!("{own} leads already")));
        }
        if !to.is_empty() && !others.iter().any(|name| name == to) {
            let known = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
            return Err(
                refuse(format!("no replica {to:?} lives")).hint(format!("other replicas that live: {known}"))
            );
        }
        if !to.is_empty() {
            return Ok(to.to_owned());
        }
        others.into_iter().next().ok_or_else(|| {
            refuse("no other replica lives, so there is nobody to hand over to".to_owned())
                .hint("start one, or see whether it reaches what keeps the election")
        })
    }

    /// Hands over, and waits until another leads.
    pub(crate) async fn run(&self, replica: &Replica, to: &str) -> Result<v1::HandoverResponse, Error> {
        let reign = replica.leader()?;
        let successor = self.successor(&replica.name, to)?;
        self.hand_over(replica, &reign, Some(successor), CALLS_PATIENCE).await
    }

    /// The same before nothing can be written from here any more, which may be in a moment: for whoever is the first, and calls under
    /// way have no more than that moment.
    pub(crate) async fn flee(&self, replica: &Replica) -> Result<v1::HandoverResponse, Error> {
        let reign = replica.leader()?;
        self.hand_over(replica, &reign, None, HASTE).await
    }

    async fn hand_over(
        &self,
        replica: &Replica,
        reign: &Reign,
        successor: Option<String>,
        calls: Duration,
    ) -> Result<v1::HandoverResponse, Error> {
        let term = reign.term();
        tracing::info!(term, to = successor, "handing over");
        reign.close(successor, calls).await;
        self.campaign.resign().await;
        let end = (self.clock)() + SUCCESSION_PATIENCE;
        loop {
            if let Some((leader, term)) = self.follower(replica, term) {
                return Ok(v1::HandoverResponse { leader: Some(leader), term });
            }
            if (self.clock)() > end {
                let text = format!(
                    "term {term} was given up, and nobody has taken over within {SUCCESSION_PATIENCE:?}"
                );
                return Err(Error::new(Reason::NoLeader, text)
                    .hint("om status at each replica says why it does not lead"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Who leads under a newer term than this.
    fn follower(&self, replica: &Replica, term: u64) -> Option<(v1::Leader, u64)> {
        if let Ok(leader) = replica.elsewhere()
            && leader.term > term
        {
            return Some((v1::Leader { name: leader.name, endpoint: leader.endpoint }, leader.term));
        }
        // Where what keeps the election tells nothing any more, the leader itself is heard.
        let (newer, leader) = self.election.heard().filter(|(newer, _)| *newer > term)?;
        Some((v1::Leader { name: leader.name, endpoint: leader.endpoint }, newer))
    }

    /// Before the program stops: as far as there is a reign and somebody to follow, the same without waiting for it.
    pub(crate) async fn leave(&self, replica: &Replica) {
        if let Ok(reign) = replica.leader() {
            reign.close(self.successor(&replica.name, "").ok(), CALLS_PATIENCE).await;
        }
        self.campaign.resign().await;
        self.election.stand_back(Duration::MAX).await;
    }
}

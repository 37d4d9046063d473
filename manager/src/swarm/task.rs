//! The task that looks at the engine's word on its node, tells the election where this replica stands, and keeps the leader
//! where it had best be.

use std::time::Duration;

use om_api::clock::since_boot;
use om_api::{Error, v1};
use om_kv::layout::ReplicaRecord;
use om_leadership::Standing;
use om_leadership::election::Places;
use om_swarm::Engine;
use om_swarm::node::{NodeOptions, NodeWatch, Sight};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::follow::Follow;
use super::stand::{Duty, Stand, can_lead};
use crate::handover::Handover;
use crate::replica::Replica;

/// While something may come of time alone, and otherwise: replicas come and go unseen.
const SOON: Duration = Duration::from_millis(50);
const LATER: Duration = Duration::from_millis(500);
/// A reign that is given up ends with the word that everything has stopped. Where plugins take longer than this to say so, the
/// others hear before that nobody leads.
const PLUGINS_PATIENCE: Duration = Duration::from_millis(100);

/// Keeps the leader beside the Swarm's own, and away from nodes that cannot have it.
pub(crate) struct Attendant {
    node: NodeWatch,
    places: watch::Sender<Places>,
    follow: Follow,
    /// The handover under way.
    handing: JoinSet<()>,
}

impl Attendant {
    /// For the node of this engine; and where it stands, told from when it attends.
    pub(crate) fn new(engine: Engine) -> (Self, watch::Receiver<Places>) {
        let (places, told) = watch::channel(Places::default());
        let node = NodeWatch::new(engine, NodeOptions::default());
        (Self { node, places, follow: Follow::default(), handing: JoinSet::new() }, told)
    }

    /// Never ends.
    pub(crate) async fn attend(mut self, replica: Replica, handover: Handover) {
        let mut sight = self.node.sight();
        let mut standing = replica.standing.clone();
        // Nothing was seen before.
        if sight.changed().await.is_err() {
            return;
        }
        loop {
            let seen = sight.borrow_and_update().clone();
            standing.borrow_and_update();
            while self.handing.try_join_next().is_some() {}
            let urgent = self.look(&seen, &replica, &handover).await;
            tokio::select! {
                changed = sight.changed() => if changed.is_err() { return },
                changed = standing.changed() => if changed.is_err() { return },
                Some(_) = self.handing.join_next(), if !self.handing.is_empty() => {}
                () = tokio::time::sleep(if urgent { SOON } else { LATER }) => {}
            }
        }
    }

    /// Does what follows from what is seen; whether to look again soon.
    async fn look(&mut self, seen: &Sight, replica: &Replica, handover: &Handover) -> bool {
        let joined = handover.election.joined();
        let others: Vec<String> = joined.iter().map(|other| other.place.clone()).collect();
        let stand = Stand::of(seen, &others);
        let duty = stand.duty;
        let here = (!seen.node.is_empty()).then(|| seen.node.clone());
        self.tell(stand.places(here), seen);
        let term = match &*replica.standing.borrow() {
            Standing::Leading(mandate) => Some(mandate.term()),
            Standing::Following { .. } | Standing::Unknown { .. } => None,
        };
        let places = self.places.borrow().clone();
        let (leads, named) = (term.is_some(), handover.election.was_named());
        let now = since_boot();
        let (here, preferred) = (places.here.as_ref(), places.preferred.as_ref());
        let others = handover.election.others().into_iter();
        let beside =
            others.filter(|other| preferred == Some(&other.place)).map(|other| other.instance).collect();
        let follows = self.follow.step(now, leads, named, here, preferred, &beside);
        let Some(term) = term else { return false };
        let why = places.unfit.unwrap_or_default();
        match duty {
            Duty::GiveUp => {
                warn!(term, why, "cannot lead from here: giving the term up");
                handover.campaign.resign().await;
                let election = handover.election.clone();
                self.handing.spawn(async move {
                    tokio::time::sleep(PLUGINS_PATIENCE).await;
                    election.farewell(term).await;
                });
            }
            Duty::HandOver => {
                let fit = joined.iter().find(|other| can_lead(seen, &other.place));
                self.hand_over(fit, why, replica, handover);
            }
            Duty::Flee => {
                if self.handing.is_empty() && joined.iter().any(|other| can_lead(seen, &other.place)) {
                    self.follow.tried(now);
                    info!(why, "handing over");
                    // Whose engine is the first to get on with the Swarm's next leader is not known yet.
                    let (replica, handover) = (replica.clone(), handover.clone());
                    self.handing.spawn(async move { told(handover.flee(&replica).await) });
                }
            }
            Duty::Stay => {
                if let Some(place) = follows {
                    let there = joined.iter().find(|other| other.place == place);
                    self.hand_over(there, "the Swarm's leader is there".to_owned(), replica, handover);
                }
            }
        }
        self.follow.waits() || matches!(duty, Duty::HandOver | Duty::Flee)
    }

    /// Tells the election where this replica stands, and the log what is new about it.
    fn tell(&self, mut places: Places, seen: &Sight) {
        self.places.send_if_modified(|told| {
            // What was known of it stays true while the engine says nothing.
            places.here = places.here.take().or(told.here.take());
            if told.unfit != places.unfit {
                match &places.unfit {
                    Some(why) => warn!(why, "this node cannot have the leader"),
                    None => info!(node = seen.node, "this node can have the leader"),
                }
            }
            let news = *told != places;
            *told = places;
            news
        });
    }

    /// Hands over, unless that is going on, or was tried a moment ago.
    fn hand_over(&mut self, to: Option<&ReplicaRecord>, why: String, replica: &Replica, handover: &Handover) {
        let now = since_boot();
        let Some(to) =
            to.map(|to| to.name.clone()).filter(|_| self.handing.is_empty() && self.follow.may_try(now))
        else {
            return;
        };
        self.follow.tried(now);
        info!(to, why, "handing over");
        let (replica, handover) = (replica.clone(), handover.clone());
        self.handing.spawn(async move { told(handover.run(&replica, &to).await) });
    }
}

/// Tells the log what became of a handover.
fn told(handed: Result<v1::HandoverResponse, Error>) {
    match handed {
        Ok(done) => info!(term = done.term, "handed over"),
        Err(error) => warn!(error = error.message, "the handover failed"),
    }
}

//! The election through a keyspace (etcd, a Swarm): the leader is whoever holds the claim, and followers take over from
//! one that is lost.
//!
//! The claim is a key; its mod-revision is the term. It lies under no lease: a lease runs out too slowly. Replicas
//! hold lines to each other instead. The leader asks for promises many times a second ("take nothing over for so long from
//! your receiving this"), and acts only as long as enough of the *electorate* have promised. The end of its line comes
//! milliseconds after its death, silence tells of a freeze or a lost host. Then followers vote against it, which is to
//! promise it nothing more, and one of those that have enough votes claims by one guarded transaction.
//!
//! What must hold:
//!
//! * Authority under an older term is over before anybody acts under a newer one: see [`Warrant::old_until`]. A wrong
//!   guess about who is lost costs a change of leader and nothing else.
//! * Where too few answer, the leader writes a heartbeat there, guarded by its claim, and a takeover is refused
//!   if that has moved. Where nobody else is left to vote, the old leader's lease, under which its record lies, is the
//!   last resort.
//! * While the keyspace does not answer, nobody can take over, and the leader goes on by promises alone, but no longer than the
//!   time of the lease.
//!
//! Everything is decided purely (`seat`, with `voter`, `candidacy`, `rule`, `reigning` and `bequest`); one task, the `station`,
//! does it. The way to the other replicas is a port, [`Network`].

mod bequest;
mod candidacy;
mod io;
mod line;
mod lines;
mod pace;
mod places;
mod records;
mod register;
mod reigning;
mod rule;
mod seat;
mod sight;
mod station;
#[cfg(test)]
mod tests;
mod voter;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use om_kv::Keyspace;
use om_kv::layout::{Layout, ReplicaRecord};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

pub use io::{Guard, Warrant};
pub use line::{Answer, Coming, Incoming, Network, Outgoing, Request};
pub use places::Places;
pub use records::{At, Election};

use self::lines::Lines;
use self::register::Register;
use self::seat::{Seat, Settings};
use self::sight::Sighting;
use self::station::{Aside, Command, Parts};
use crate::{Clock, Detector, Leadership, OfficeError};

/// What an [`ElectionDetector`] is made of.
pub struct ElectionOptions {
    /// Where the election's records are kept.
    pub kv: Arc<dyn Keyspace>,
    /// The keys.
    pub layout: Layout,
    /// This replica.
    pub replica: ReplicaRecord,
    /// The time of its lease, and how long a leader goes on by promises alone while the keyspace does not
    /// answer.
    pub lease_ttl: Duration,
    /// The shortest renewal of the leader's authority. Longer ones follow from the delays that are seen.
    pub floor: Duration,
    /// The longest.
    pub most: Duration,
    /// The way to the other replicas.
    pub network: Arc<dyn Network>,
    /// For deadlines.
    pub clock: Clock,
    /// Where this replica stands, where that matters; it is recorded only once that is known.
    pub places: Option<watch::Receiver<Places>>,
}

/// Says who leads by the election, and takes part in it. Beside a detector it is half of an office: it says by
/// what right to claim, and confirms terms.
pub struct ElectionDetector {
    commands: mpsc::Sender<Command>,
    said: watch::Receiver<Leadership>,
    sight: watch::Receiver<Option<Sighting>>,
    known: watch::Receiver<Arc<Election>>,
    term: watch::Receiver<u64>,
    aside: watch::Receiver<Aside>,
    places: Option<watch::Receiver<Places>>,
    instance: String,
    description: String,
    clock: Clock,
    _tasks: JoinSet<()>,
}

impl ElectionDetector {
    /// Takes part from now on. To be called within a tokio runtime with time enabled.
    #[must_use]
    pub fn start(options: ElectionOptions) -> Self {
        let ElectionOptions { kv, layout, replica, lease_ttl, floor, most, network, clock, places } = options;
        let description = format!("{kv}, {}", layout.election());
        let settings = Settings { floor, most, hold: lease_ttl, kept_in: kv.name() };
        let instance = replica.instance.clone();
        let ends = station::start(Parts {
            seat: Seat::new(&replica.instance, &replica.name, settings),
            lines: Lines::new(replica.instance.clone(), network),
            register: Register::new(kv, layout),
            clock: Arc::clone(&clock),
            replica,
            lease_ttl,
            places: places.clone(),
        });
        let station::Ends { commands, said, sight, known, term, aside, tasks } = ends;
        Self {
            commands,
            said,
            sight,
            known,
            term,
            aside,
            places,
            instance,
            description,
            clock,
            _tasks: tasks,
        }
    }

    /// Takes a line that another replica opened to this one.
    pub async fn take(&self, line: Incoming) {
        // Nobody to take it: it is closed by being dropped.
        let _ = self.commands.send(Command::Line(line)).await;
    }

    /// By what right to claim now; `None`: by none.
    pub async fn bid(&self) -> Option<Bid> {
        let asked_at = (self.clock)();
        let (answer, warrant) = oneshot::channel();
        self.commands.send(Command::Claiming(answer)).await.ok()?;
        let warrant = warrant.await.ok()??;
        Some(Bid { warrant, asked_at, commands: Some(self.commands.clone()) })
    }

    /// Asks for promises, and where they are too few writes a heartbeat: for how long from now nobody else acts.
    ///
    /// # Errors
    /// [`OfficeError::Fenced`] for good, [`OfficeError::Unavailable`] for now.
    pub async fn confirm(&self, term: u64) -> Result<Duration, OfficeError> {
        let asked_at = (self.clock)();
        let (answer, result) = oneshot::channel();
        let gone = || OfficeError::Unavailable("the election has ended".to_owned());
        self.commands.send(Command::Confirm { term, asked_at, answer }).await.map_err(|_| gone())?;
        result.await.unwrap_or_else(|_| Err(gone()))
    }

    /// The other replicas that live, as far as this one has seen. Those that a line joins with this one come first, and of
    /// those the ones at the preferred place.
    #[must_use]
    pub fn others(&self) -> Vec<ReplicaRecord> {
        let preferred = self.places.as_ref().and_then(|places| places.borrow().preferred.clone());
        let known = self.known.borrow().clone();
        let others = known.replicas.values().filter(|replica| replica.instance != self.instance);
        let mut others: Vec<ReplicaRecord> = others.cloned().collect();
        let aside = self.aside.borrow();
        let away = |replica: &ReplicaRecord| preferred.as_ref() != Some(&replica.place);
        others.sort_by_key(|replica| (!aside.joined.contains(&replica.instance), away(replica)));
        others
    }

    /// The other replicas that a line joins with this one: those that answered a moment ago.
    #[must_use]
    pub fn joined(&self) -> Vec<ReplicaRecord> {
        let mut others = self.others();
        let aside = self.aside.borrow();
        others.retain(|replica| aside.joined.contains(&replica.instance));
        others
    }

    /// Whether this replica's last claim followed one whose holder had named it.
    #[must_use]
    pub fn was_named(&self) -> bool {
        self.aside.borrow().named
    }

    /// The newest term that is recorded, and every change of it; 0: none.
    #[must_use]
    pub fn term(&self) -> watch::Receiver<u64> {
        self.term.clone()
    }

    /// Returns when the election has been seen for the first time.
    pub async fn seen(&self) {
        let mut sight = self.sight.clone();
        // An error means that the detector has ended, and nothing will be seen.
        let _ = sight.wait_for(|sight| matches!(sight, Some(Sighting::Seen { .. }))).await;
    }

    /// Tells the others that the leader of `term` leads no more, though not everything done under it is known to have
    /// stopped.
    pub async fn farewell(&self, term: u64) {
        let _ = self.commands.send(Command::Farewell { term }).await;
    }

    /// Tells the others that the reign of `term` is over, with everything that was done under it, and waits until another
    /// leads: whether one does by now. Without a line to who is to follow that is not waited for. From now on nothing may be
    /// done under the term.
    pub async fn bequeath(&self, term: u64, successor: Option<&str>) -> bool {
        let follows = |heir: &ReplicaRecord| successor.is_none_or(|name| heir.name == name);
        let told = self.joined().iter().any(follows);
        let mut aside = self.aside.clone();
        let successor = successor.map(str::to_owned);
        let said = self.commands.send(Command::Bequeath { term, successor }).await;
        if said.is_err() || !told {
            return false;
        }
        let followed = aside.wait_for(|aside| aside.newest > term);
        matches!(tokio::time::timeout(SUCCESSION, followed).await, Ok(Ok(_)))
    }

    /// The leader of another term than this replica's own that was heard last, and its term.
    #[must_use]
    pub fn heard(&self) -> Option<(u64, ReplicaRecord)> {
        let (term, instance) = self.aside.borrow().heard.clone()?;
        let leader = self.others().into_iter().find(|replica| replica.instance == instance)?;
        Some((term, leader))
    }

    /// Does not run for the leadership before `pause` is over, or somebody else has led.
    pub async fn stand_back(&self, pause: Duration) {
        let (done, stood) = oneshot::channel();
        let until = (self.clock)().saturating_add(pause);
        if self.commands.send(Command::Resign { until, done }).await.is_ok() {
            let _ = stood.await;
        }
    }
}

/// A claim that is being made. Dropped without [`Bid::won`], it was not made, for all that is known.
pub struct Bid {
    warrant: Warrant,
    asked_at: Duration,
    commands: Option<mpsc::Sender<Command>>,
}

impl Bid {
    /// What the claim rests on.
    #[must_use]
    pub fn warrant(&self) -> &Warrant {
        &self.warrant
    }

    /// The claim was made, and `term` is its own. Gives until when the leaders before may still act, if nothing proves that
    /// they have stopped; `None`: they have.
    pub async fn won(mut self, term: u64) -> Option<Duration> {
        let commands = self.commands.take()?;
        let (answer, until) = oneshot::channel();
        let asked_at = self.asked_at;
        commands.send(Command::Claimed { term, asked_at, old_until: answer }).await.ok()?;
        until.await.ok()?
    }
}

impl Drop for Bid {
    fn drop(&mut self) {
        if let Some(commands) = self.commands.take() {
            // A station that is so busy is asked anew before it claims again.
            let _ = commands.try_send(Command::NotClaimed);
        }
    }
}

#[async_trait]
impl Detector for ElectionDetector {
    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.said.clone()
    }

    fn describe(&self) -> String {
        self.description.clone()
    }

    async fn resign(&self) {
        self.stand_back(RESIGNED).await;
    }
}

/// A successor that was told over the line takes over within so long, or the end of the reign is recorded, too. Before that
/// the record would only get into the way of its claim; who does not follow for longer is passed over by the others.
const SUCCESSION: Duration = Duration::from_millis(700);

/// Who has resigned lets the others go first for so long.
const RESIGNED: Duration = Duration::from_secs(5);

//! Elections on a real etcd, with real campaigns; the lines are channels.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use om_etcd::Etcd;
use om_etcd::testing::{Cluster, etcd_is_here, eventually};
use om_kv::layout::{Layout, LeaderRecord, ReplicaRecord};
use om_kv::{Guard as Condition, Op, Range, Txn};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::super::register::json;
use super::super::*;
use crate::testing::TestClock;
use crate::{Alarm, Campaign, Office, Standing, Timing};

const FLOOR: Duration = Duration::from_millis(200);
const LEASE: Duration = Duration::from_secs(3);

/// Joins replicas of one process: by instance, where their lines are taken.
#[derive(Clone, Default)]
struct Switchboard(Arc<Mutex<BTreeMap<String, mpsc::Sender<Incoming>>>>);

/// One replica's plug in it.
struct Plug {
    board: Switchboard,
    me: String,
}

#[async_trait]
impl Network for Plug {
    async fn dial(&self, to: &ReplicaRecord) -> Result<Outgoing, String> {
        let taker = self.board.0.lock().unwrap().get(&to.instance).cloned();
        let taker = taker.ok_or("nobody is there")?;
        let (ask, requests) = mpsc::channel(16);
        let (tell, answers) = mpsc::channel(16);
        let (requests, answers) = (ReceiverStream::new(requests), ReceiverStream::new(answers));
        let line = Incoming { instance: self.me.clone(), requests: Box::pin(requests), answers: tell };
        taker.send(line).await.map_err(|_| "nobody is there")?;
        Ok(Outgoing { requests: ask, answers: Box::pin(answers) })
    }
}

/// Claims by a transaction of its own.
struct Bare {
    etcd: Etcd,
    layout: Layout,
    me: ReplicaRecord,
    detector: Arc<ElectionDetector>,
    rests: Rests,
}

/// Until when the leaders before may act, by the last claim that was made.
type Rests = Arc<Mutex<Option<Option<Duration>>>>;

#[async_trait]
impl Office for Bare {
    async fn claim(&self) -> Result<u64, OfficeError> {
        let unavailable = |why: &str| OfficeError::Unavailable(why.to_owned());
        let bid = self.detector.bid().await.ok_or_else(|| unavailable("no right"))?;
        let record = LeaderRecord {
            name: self.me.name.clone(),
            instance: self.me.instance.clone(),
            endpoint: String::new(),
            authority_ms: 2000,
            time_unix_ms: 0,
            nonce: String::new(),
            released: None,
        };
        let key = |guard: &Guard| match guard {
            Guard::Electorate => self.layout.electorate(),
            Guard::Beat => self.layout.beat(),
            Guard::Replica(instance) => self.layout.replica(instance),
        };
        let mut txn = Txn::new().when(Condition::modified(self.layout.leader(), bid.warrant().leader));
        for (guard, revision) in &bid.warrant().guards {
            txn = txn.when(Condition::modified(key(guard), *revision));
        }
        let txn = txn
            .then(Op::put(self.layout.leader(), json(&record)))
            .then(Op::put(self.layout.electorate(), json(&bid.warrant().electorate())));
        match self.etcd.txn(&txn, Duration::from_secs(2)).await {
            Ok(answer) if answer.succeeded => {
                let term = answer.header.revision.unsigned_abs();
                let until = bid.won(term).await;
                *self.rests.lock().unwrap() = Some(until);
                Ok(term)
            }
            Ok(_) => Err(OfficeError::Fenced("outrun".to_owned())),
            Err(error) => Err(unavailable(&error.to_string())),
        }
    }

    async fn confirm(&self, term: u64) -> Result<Duration, OfficeError> {
        self.detector.confirm(term).await
    }
}

struct Replica {
    name: String,
    detector: Arc<ElectionDetector>,
    campaign: Campaign,
    rests: Rests,
    _taking: tokio::task::JoinSet<()>,
}

impl Replica {
    fn start(cluster: &Cluster, board: &Switchboard, name: &str) -> Self {
        let (etcd, layout) = (cluster.etcd(), Layout::of("test"));
        let instance = format!("{name}-{}", board.0.lock().unwrap().len());
        let me = ReplicaRecord {
            name: name.to_owned(),
            instance: instance.clone(),
            host: "here".to_owned(),
            endpoint: String::new(),
            socket: String::new(),
            place: String::new(),
        };
        let clock = TestClock::new().clock();
        let detector = Arc::new(ElectionDetector::start(ElectionOptions {
            kv: Arc::new(etcd.clone()),
            layout: layout.clone(),
            replica: me.clone(),
            lease_ttl: LEASE,
            floor: FLOOR,
            most: FLOOR * 10,
            network: Arc::new(Plug { board: board.clone(), me: instance.clone() }),
            clock: clock.clone(),
            places: None,
        }));
        let (taker, mut lines) = mpsc::channel(16);
        board.0.lock().unwrap().insert(instance, taker);
        let taking = detector.clone();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            while let Some(line) = lines.recv().await {
                taking.take(line).await;
            }
        });
        let rests = Rests::default();
        let office = Arc::new(Bare { etcd, layout, me, detector: detector.clone(), rests: rests.clone() });
        let timing = Timing::from_ttl(FLOOR).unwrap();
        let campaign = Campaign::start(detector.clone(), office, timing, (clock.clone(), Alarm::runtime()));
        Self { name: name.to_owned(), detector, campaign, rests, _taking: tasks }
    }

    /// The term, if it leads at this moment.
    fn leads(&self) -> Option<u64> {
        match &*self.campaign.standing().borrow() {
            Standing::Leading(mandate) => mandate.remaining().map(|_| mandate.term()),
            _ => None,
        }
    }
}

async fn leader(replicas: &[Replica], above: u64) -> (usize, u64) {
    eventually("somebody leads", async || {
        let found = replicas.iter().enumerate().find_map(|(at, replica)| Some((at, replica.leads()?)));
        found.filter(|(_, term)| *term > above)
    })
    .await
}

/// The electorate as etcd has it, once it has so many members.
async fn settled(cluster: &Cluster, members: usize) {
    let (etcd, layout) = (cluster.etcd(), Layout::of("test"));
    eventually("the electorate is whole", async || {
        let found = etcd.range(&Range::key(layout.electorate()), LEASE).await.ok()?;
        let record: om_kv::layout::ElectorateRecord = serde_json::from_slice(&found.one()?.value).ok()?;
        (record.members.len() == members).then_some(())
    })
    .await;
}

fn three(cluster: &Cluster, board: &Switchboard) -> Vec<Replica> {
    ["a", "b", "c"].map(|name| Replica::start(cluster, board, name)).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_leads_and_when_its_process_is_gone_another_does() {
    if !etcd_is_here() {
        return;
    }
    let cluster = Cluster::start(3, &[]);
    let board = Switchboard::default();
    let mut replicas = three(&cluster, &board);
    let mut newest = 0;
    for _ in 0..2 {
        let (at, term) = leader(&replicas, newest).await;
        settled(&cluster, 3).await;
        assert_eq!(replicas.iter().filter(|replica| replica.leads().is_some()).count(), 1);
        newest = term;
        // Its lines end with it, as those of a killed process do.
        let gone = replicas.remove(at);
        let name = gone.name.clone();
        drop(gone);
        let (_, next) = leader(&replicas, newest).await;
        assert!(next > newest);
        replicas.push(Replica::start(&cluster, &board, &name));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_leader_that_dies_changes_no_leader_here() {
    if !etcd_is_here() {
        return;
    }
    let mut cluster = Cluster::start(3, &["--heartbeat-interval=20", "--election-timeout=200"]);
    let board = Switchboard::default();
    let replicas = three(&cluster, &board);
    let (at, term) = leader(&replicas, 0).await;
    settled(&cluster, 3).await;
    let dead = cluster.leader().expect("etcd has a leader");
    cluster.kill(dead);
    let key = Layout::of("test").leader();
    let etcd = cluster.etcd();
    eventually("etcd answers again", async || etcd.range(&Range::key(&key), LEASE).await.ok()).await;
    assert_eq!(replicas[at].leads(), Some(term));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alone_it_leads_by_itself_and_while_etcd_is_frozen_no_longer_than_the_hold() {
    if !etcd_is_here() {
        return;
    }
    let mut cluster = Cluster::start(1, &[]);
    let board = Switchboard::default();
    let replicas = vec![Replica::start(&cluster, &board, "a")];
    let (_, term) = leader(&replicas, 0).await;
    cluster.freeze(0);
    eventually("it steps down", async || replicas[0].leads().is_none().then_some(())).await;
    cluster.thaw(0);
    let (_, again) = leader(&replicas, 0).await;
    assert!(again > term, "a new term, not the old one again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stands_back_lets_another_lead() {
    if !etcd_is_here() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    let board = Switchboard::default();
    let replicas = three(&cluster, &board);
    let (at, term) = leader(&replicas, 0).await;
    settled(&cluster, 3).await;
    replicas[at].campaign.resign().await;
    replicas[at].detector.farewell(term).await;
    let (next, newer) = leader(&replicas, term).await;
    assert!(next != at && newer > term);
    eventually("the first follows", async || match &*replicas[at].campaign.standing().borrow() {
        Standing::Following { leader } => (leader.as_deref() == Some(&*replicas[next].name)).then_some(()),
        _ => None,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_bequeaths_is_followed_by_the_one_that_it_named_and_that_waits_for_nothing() {
    if !etcd_is_here() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    let board = Switchboard::default();
    let replicas = three(&cluster, &board);
    let (at, term) = leader(&replicas, 0).await;
    settled(&cluster, 3).await;
    let named = (at + 1) % replicas.len();
    replicas[at].campaign.resign().await;
    // Whether that was soon is no matter: there is no release.
    let _ = replicas[at].detector.bequeath(term, Some(&replicas[named].name)).await;
    let (next, newer) = leader(&replicas, term).await;
    assert!(next == named && newer > term, "{next} follows");
    assert!(replicas[next].detector.was_named());
    assert!(*replicas[next].rests.lock().unwrap() == Some(None), "everything has stopped before");
    let (heard, leader) = eventually("its leader is heard", async || replicas[at].detector.heard()).await;
    assert_eq!((heard, leader.name), (newer, replicas[next].name.clone()));
    assert!(!replicas[at].detector.bequeath(newer, Some("nobody")).await, "nobody of that name hears it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_an_etcd_that_went_back_nobody_leads() {
    if !etcd_is_here() {
        return;
    }
    let mut cluster = Cluster::start(1, &[]);
    let board = Switchboard::default();
    let backup = cluster.save("before");
    let replicas = three(&cluster, &board);
    let (_, term) = leader(&replicas, 0).await;
    settled(&cluster, 3).await;
    cluster.restore(&backup);
    eventually("everybody knows", async || {
        let all = replicas.iter().all(|replica| match &*replica.campaign.standing().borrow() {
            Standing::Unknown { why } => why.contains("older backup"),
            _ => false,
        });
        all.then_some(())
    })
    .await;
    assert!(replicas.iter().all(|replica| replica.leads().is_none()), "term {term} is nobody's any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_record_is_gone_is_recorded_anew() {
    if !etcd_is_here() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    let board = Switchboard::default();
    let replicas = three(&cluster, &board);
    leader(&replicas, 0).await;
    let (etcd, key) = (cluster.etcd(), Layout::of("test").replica("a-0"));
    let recorded = async || {
        let found = etcd.range(&Range::key(&key), LEASE).await.ok()?;
        found.one().map(|kv| kv.modified)
    };
    let before = eventually("it is recorded", recorded).await;
    // Its lease lives: by that alone it would not come back.
    etcd.txn(&Txn::new().then(Op::Delete(Range::key(&key))), LEASE).await.expect("it is deleted");
    let after = eventually("it is recorded again", async || recorded().await.filter(|at| *at > before)).await;
    assert!(after > before);
}

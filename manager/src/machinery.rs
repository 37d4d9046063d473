//! What each mode is made of: who says who leads, who keeps the state, who judges.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use om_api::socket::{Address, Credentials};
use om_api::{places, v1};
use om_etcd::Etcd;
use om_kv::Keyspace;
use om_kv::layout::{Layout, ReplicaRecord};
use om_leadership::election::{ElectionDetector, ElectionOptions, Places};
use om_leadership::{Detector, FileDetector, FileOptions, Solo};
use om_store::file::FileStore;
use om_store::kv::KvStore;
use om_store::{Candidate, Head, Store};
use om_swarm::{Engine, SwarmKeyspace, SwarmOptions};
use tokio::sync::watch;

use crate::config::{Config, Mode};
use crate::ground::{Ground, Kept};
use crate::office::{Bench, ElectionOffice, StoreOffice, Writes};
use crate::peers::{GrpcNetwork, PeerFront};
use crate::swarm::Attendant;
use crate::wills::{FindHeirs, Heirs, Wills};

/// The parts that the modes differ in.
pub(crate) struct Machinery {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) detector: Arc<dyn Detector>,
    pub(crate) office: Arc<dyn Bench>,
    /// What the office judges the store's writes by.
    pub(crate) writes: Writes,
    /// Where replicas elect among themselves.
    pub(crate) election: Option<Election>,
    /// In a Swarm: what keeps the leader beside the Swarm's own.
    pub(crate) attendant: Option<Attendant>,
}

/// An election among replicas.
#[derive(Clone)]
pub(crate) struct Election {
    pub(crate) detector: Arc<ElectionDetector>,
    me: v1::Hello,
    kv: Arc<dyn Keyspace>,
    /// Where this replica stands, where that matters.
    pub(crate) places: Option<watch::Receiver<Places>>,
}

impl Machinery {
    /// Puts the parts together. Nothing is connected to yet.
    ///
    /// # Errors
    /// What of the configuration cannot be used.
    pub(crate) fn build(config: &Config, ground: &Ground) -> anyhow::Result<Self> {
        match &config.mode {
            Mode::Etcd(mode) => {
                let kv: Arc<dyn Keyspace> = match &ground.kept {
                    Kept::Keys(kv) => kv.clone(),
                    _ => Arc::new(Etcd::new(&mode.etcd).context("cannot use etcd")?),
                };
                return Ok(Self::elected(config, ground, kv, &mode.cluster, mode.lease_ttl, None));
            }
            Mode::Swarm(mode) => {
                let engine = Engine::new(&mode.engine).context("cannot use the engine")?;
                let options = SwarmOptions { poll: mode.poll, ..SwarmOptions::default() };
                let kv = SwarmKeyspace::new(engine.clone(), &mode.cluster, options);
                let (attendant, places) = Attendant::new(engine);
                let places = Some(places);
                let elected =
                    Self::elected(config, ground, Arc::new(kv), &mode.cluster, mode.lease_ttl, places);
                return Ok(Self { attendant: Some(attendant), ..elected });
            }
            Mode::Os { .. } | Mode::Dev { .. } => {}
        }
        let (store, detector): (Arc<dyn Store>, Arc<dyn Detector>) = match (&ground.kept, &config.mode) {
            (Kept::Shared(store, detector), _) => (store.clone(), detector.clone()),
            (_, Mode::Os { leader_file, poll }) => {
                let options = FileOptions { poll: *poll, ..FileOptions::default() };
                let detector = FileDetector::start(leader_file, &config.name, options);
                (Arc::new(FileStore::open(&config.state_dir)), Arc::new(detector))
            }
            _ => (Arc::new(FileStore::open(&config.state_dir)), Arc::new(Solo::new())),
        };
        let writes = Writes::new(ground.clock.clone());
        let office = Arc::new(StoreOffice::new(store.clone(), candidate(config), writes.clone()));
        Ok(Self { store, detector, office, writes, election: None, attendant: None })
    }

    /// Replicas elect among themselves, and the state is kept where the election is.
    fn elected(
        config: &Config,
        ground: &Ground,
        kv: Arc<dyn Keyspace>,
        cluster: &str,
        lease_ttl: Duration,
        places: Option<watch::Receiver<Places>>,
    ) -> Self {
        let layout = Layout::of(cluster);
        let instance = uuid::Uuid::now_v7().to_string();
        let me =
            v1::Hello { instance: instance.clone(), name: config.name.clone(), cluster: cluster.to_owned() };
        let replica = ReplicaRecord {
            name: config.name.clone(),
            instance: instance.clone(),
            host: config.host.clone(),
            endpoint: config.advertise.clone(),
            socket: Address::Unix(places::socket(&config.plugins_dir, &config.name)).to_string(),
            place: String::new(),
        };
        let network = config.network.clone();
        let network = GrpcNetwork::new(me.clone(), config.host.clone(), ground.dialer.clone(), move || {
            network.security()
        });
        let detector = Arc::new(ElectionDetector::start(ElectionOptions {
            kv: kv.clone(),
            layout: layout.clone(),
            replica,
            lease_ttl,
            floor: config.timing.ttl(),
            most: config.longest_authority(),
            network: Arc::new(network),
            clock: ground.clock.clone(),
            places: places.clone(),
        }));
        let store = Arc::new(KvStore::new(kv.clone(), &layout));
        let writes = Writes::new(ground.clock.clone());
        let office = ElectionOffice::new(
            store.clone(),
            detector.clone(),
            layout,
            candidate(config),
            instance,
            writes.clone(),
        );
        let election = Some(Election { detector: detector.clone(), me, kv, places });
        Self { store, detector, office: Arc::new(office), writes, election, attendant: None }
    }
}

impl Election {
    /// Connects to everything that keeps the election, so that going on at another one costs nothing when it matters.
    pub(crate) fn warm_up(&self) -> impl Future<Output = ()> + Send + 'static {
        let kv = self.kv.clone();
        async move { kv.warm(WARMING).await }
    }

    /// What keeps the election, for messages.
    pub(crate) fn kept_in(&self) -> &'static str {
        self.kv.name()
    }

    /// What other replicas and orphaned plugins talk to.
    pub(crate) fn front(&self, wills: Arc<Wills>, head: watch::Receiver<Option<Head>>) -> PeerFront {
        PeerFront { me: self.me.clone(), election: self.detector.clone(), wills, head }
    }

    /// Whom plugins tell if this replica dies: the replicas that live then.
    pub(crate) fn heirs(&self, config: &Config) -> FindHeirs {
        let (detector, host, network) = (self.detector.clone(), config.host.clone(), config.network.clone());
        Arc::new(move || {
            let url =
                |replica: ReplicaRecord| if replica.host == host { replica.socket } else { replica.endpoint };
            let ca_pem = network.credentials().map(Credentials::ca_pem).unwrap_or_default();
            Heirs { endpoints: detector.others().into_iter().map(url).collect(), ca_pem }
        })
    }
}

fn candidate(config: &Config) -> Candidate {
    Candidate {
        name: config.name.clone(),
        endpoint: config.advertise.clone(),
        authority_ms: u64::try_from(config.longest_authority().as_millis()).unwrap_or(u64::MAX),
    }
}

impl Config {
    /// The longest that a plugin acts without hearing that its leader still leads.
    pub(crate) fn longest_authority(&self) -> Duration {
        match &self.mode {
            Mode::Etcd(_) | Mode::Swarm(_) => self.timing.ttl().max(LONGEST),
            Mode::Os { .. } | Mode::Dev { .. } => self.timing.ttl(),
        }
    }
}

/// How long a member of a cluster may take to be connected to beforehand.
const WARMING: Duration = Duration::from_secs(2);

/// Where renewals follow the delays that are seen, they last so long at most.
const LONGEST: Duration = Duration::from_secs(2);

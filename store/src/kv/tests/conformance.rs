//! The conformance suite, on a real etcd, and on what an engine of a test keeps of its Swarm.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use om_etcd::testing::Cluster;
use om_kv::layout::Layout;
use om_swarm::testing::FakeEngine;
use om_swarm::{SwarmKeyspace, SwarmOptions};

use crate::Store;
use crate::kv::KvStore;
use crate::testing::Site;

/// A prefix of its own in a cluster that the tests which run at the same time share.
struct Prefix {
    cluster: Arc<Cluster>,
    layout: Layout,
}

impl Site for Prefix {
    fn handle(&self) -> Box<dyn Store> {
        Box::new(KvStore::new(Arc::new(self.cluster.etcd()), &self.layout))
    }
}

fn shared(members: usize, running: &Mutex<Weak<Cluster>>) -> Prefix {
    let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = running.upgrade().unwrap_or_else(|| Arc::new(Cluster::start(members, &[])));
    *running = Arc::downgrade(&cluster);
    let name = uuid::Uuid::new_v4().simple().to_string();
    Prefix { cluster, layout: Layout::of(&name) }
}

mod one_member {
    use super::*;

    static RUNNING: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

    fn site() -> Prefix {
        shared(1, &RUNNING)
    }

    crate::conformance_tests!(site, if Cluster::available());
}

mod three_members {
    use super::*;

    static RUNNING: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

    fn site() -> Prefix {
        shared(3, &RUNNING)
    }

    crate::conformance_tests!(site, if Cluster::available());
}

mod swarm {
    use super::*;

    impl Site for FakeEngine {
        fn handle(&self) -> Box<dyn Store> {
            let keyspace = SwarmKeyspace::new(self.engine(), "test", SwarmOptions::default());
            Box::new(KvStore::new(Arc::new(keyspace), &Layout::of("test")))
        }
    }

    crate::conformance_tests!(FakeEngine::start);
}

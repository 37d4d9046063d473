//! What engines say of their nodes and their Swarm, whatever happens to these.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::time::Duration;

use om_api::clock::since_boot;
use om_kv::{Error, Keyspace, Op, Txn};
use om_swarm::node::{Availability, NodeOptions, NodeState, NodeWatch, Role, Sight};
use om_swarm::{Engine, EngineOptions, SwarmKeyspace, SwarmOptions};
use om_system_tests::{ELECTION, Swarm, measured, part};
use tokio::runtime::Runtime;

const PARTS: &str = "dockerd, docker, busybox and network namespaces (root)";

/// Three managers, and what is seen from each.
struct Seen {
    swarm: Swarm,
    runtime: Runtime,
    watches: Vec<NodeWatch>,
}

impl Seen {
    fn new() -> Option<Self> {
        if !part(PARTS, Swarm::possible()) {
            return None;
        }
        let (swarm, runtime) = (Swarm::new(3), Runtime::new().unwrap());
        let guard = runtime.enter();
        let watches =
            (0..3).map(|number| NodeWatch::new(engine(&swarm, number), NodeOptions::default())).collect();
        drop(guard);
        let seen = Self { swarm, runtime, watches };
        (0..3).for_each(|number| drop(seen.wait(number, "all", |sight| sight.managers.len() == 3)));
        Some(seen)
    }

    /// Waits until this is seen from a node.
    #[track_caller]
    fn wait(&self, number: usize, what: &str, holds: impl Fn(&Sight) -> bool) -> Sight {
        let mut sight = self.watches[number].sight();
        let waited = self.runtime.block_on(async {
            tokio::time::timeout(ELECTION, sight.wait_for(|sight| holds(sight)))
                .await
                .map(|sight| sight.unwrap().clone())
        });
        let now = self.watches[number].sight().borrow().clone();
        waited.unwrap_or_else(|_| panic!("{what} is not seen from node {number}, but {now:?}"))
    }

    #[track_caller]
    fn wait_state(&self, number: usize, state: &NodeState) -> Sight {
        self.wait(number, &state.to_string(), |sight| sight.state == *state)
    }

    /// What a write is told by a node's engine.
    #[track_caller]
    fn refuses(&self, number: usize, hint: &str) {
        let keyspace = SwarmKeyspace::new(engine(&self.swarm, number), "test", SwarmOptions::default());
        let txn = Txn::new().then(Op::put("a", "1"));
        let guard = self.runtime.enter();
        let error = self.runtime.block_on(keyspace.txn(&txn, Duration::from_secs(3))).unwrap_err();
        drop(guard);
        assert!(matches!(error, Error::Unavailable(_) | Error::Unclear(_)), "{error}");
        assert!(error.to_string().contains(hint), "{hint} is not in: {error}");
    }
}

fn engine(swarm: &Swarm, number: usize) -> Engine {
    let host = swarm.engine(number).url();
    Engine::new(&EngineOptions { host, ..EngineOptions::default() }).unwrap()
}

#[test]
fn a_leader_that_is_killed_is_missed_and_its_heir_is_seen() {
    let Some(seen) = Seen::new() else { return };
    let first = seen.wait(1, "a leader", |sight| sight.leader.is_some());
    let node = seen.watches[0].sight().borrow().node.clone();
    assert_eq!(first.leader, Some(node.clone()));
    let killed = seen.swarm.engine(0).kill();
    seen.wait(0, "a dead engine", |sight| matches!(sight.state, NodeState::Unreachable(_)));
    let heir = seen.wait(1, "an heir", |sight| sight.leader.as_ref().is_some_and(|leader| *leader != node));
    measured(&format!("the Swarm's next leader is seen after {:?}", since_boot() - killed));
    assert_eq!(heir.state, NodeState::Active);
    seen.wait(1, "it to be missed", |sight| sight.managers.iter().any(|it| it.node == node && !it.reachable));
    // Of three managers one cannot decide.
    seen.swarm.engine(2).kill();
    seen.wait_state(1, &NodeState::NoQuorum);
    seen.refuses(1, "more than half of the managers");
    seen.swarm.engine(0).restart();
    seen.wait_state(1, &NodeState::Active);
}

#[test]
fn a_node_that_is_drained_demoted_or_leaves_says_so() {
    let Some(seen) = Seen::new() else { return };
    seen.swarm.drain(2);
    seen.wait(2, "it to be drained", |sight| sight.availability == Availability::Drain);
    seen.swarm.activate(2);
    seen.wait(2, "it to be active", |sight| sight.availability == Availability::Active);
    seen.swarm.demote(2);
    seen.wait(2, "its demotion", |sight| sight.wanted == Role::Worker);
    seen.wait_state(2, &NodeState::Worker);
    seen.refuses(2, "docker node promote");
    seen.wait(1, "two managers", |sight| sight.managers.len() == 2);
    seen.swarm.promote(2);
    let back = seen.wait_state(2, &NodeState::Active);
    assert_eq!(back.wanted, Role::Manager);
    seen.swarm.demote(2);
    seen.wait_state(2, &NodeState::Worker);
    seen.swarm.leave(2);
    seen.wait_state(2, &NodeState::NotInSwarm);
    seen.refuses(2, "docker swarm init");
}

#[test]
fn an_engine_that_is_frozen_or_locked_says_so() {
    let Some(seen) = Seen::new() else { return };
    seen.swarm.engine(2).freeze();
    seen.wait(2, "a frozen engine", |sight| matches!(sight.state, NodeState::Unreachable(_)));
    seen.refuses(2, "is the engine running");
    seen.swarm.engine(2).thaw();
    seen.wait_state(2, &NodeState::Active);
    let key = seen.swarm.lock();
    let has_key = || seen.swarm.engine(2).docker(&["swarm", "unlock-key", "--quiet"]) == key;
    om_system_tests::wait_until("all to have the key", om_system_tests::SOON, has_key);
    seen.swarm.engine(2).kill();
    seen.swarm.engine(2).restart();
    seen.wait_state(2, &NodeState::Locked);
    seen.refuses(2, "docker swarm unlock");
    seen.swarm.unlock(2, &key);
    seen.wait_state(2, &NodeState::Active);
}

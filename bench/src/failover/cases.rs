//! What is measured, each with the fault that it makes.

use std::time::Duration;

use om_api::clock::since_boot;
use om_system_tests::{NAMES, SOON, wait_until};

use super::round::fail_over;
use super::{Place, Results, World, gap, swarm};
use crate::election::contest;

pub(super) struct Case {
    /// As `--only` has it.
    pub(super) name: &'static str,
    /// As the table has it.
    pub(super) what: &'static str,
    pub(super) place: Place,
    /// One round.
    pub(super) measure: fn(&mut World<'_>, &str, &mut Results),
}

const fn case(
    name: &'static str,
    place: Place,
    what: &'static str,
    measure: fn(&mut World<'_>, &str, &mut Results),
) -> Case {
    Case { name, what, place, measure }
}

pub(super) const CASES: &[Case] = &[
    case("etcd-resign", Place::OneHost, "etcd's own election, clean resign", |world, what, results| {
        elect(world, 5, false, what, results);
    }),
    case(
        "etcd-kill-ttl2",
        Place::OneHost,
        "etcd's own election, kill -9, TTL 2 s",
        |world, what, results| {
            elect(world, 2, true, what, results);
        },
    ),
    case(
        "etcd-kill-ttl5",
        Place::OneHost,
        "etcd's own election, kill -9, TTL 5 s",
        |world, what, results| {
            elect(world, 5, true, what, results);
        },
    ),
    case("handover-call", Place::OneHost, "clean handover, asked for", handover),
    case("handover-sigterm", Place::OneHost, "clean handover, SIGTERM", sigterm),
    case("kill-one-host", Place::OneHost, "kill -9 of the manager, replicas on one host", kill),
    case("kill-hosts", Place::Hosts, "kill -9 of the manager, replicas on three hosts", kill),
    case("sigstop", Place::Hosts, "SIGSTOP of the manager", sigstop),
    case("lost-host", Place::Hosts, "lost host", |world, what, results| {
        lost_host(world, 1, what, results);
    }),
    case(
        "lost-host-etcd-fast",
        Place::Hosts,
        "lost host, etcd's leader on it, etcd 20/200",
        |world, what, results| {
            lost_host(world, 0, what, results);
        },
    ),
    case(
        "lost-host-etcd-slow",
        Place::HostsSlowEtcd,
        "lost host, etcd's leader on it, etcd 100/1000",
        |world, what, results| {
            lost_host(world, 0, what, results);
        },
    ),
    case(
        "etcd-leader",
        Place::OneHost,
        "etcd's leader dies alone: longest gap between commits",
        gap::measure,
    ),
    case("swarm-kill", Place::Swarm, "Swarm: kill -9 of the manager, dockerd alive", kill),
    case("swarm-demote", Place::Swarm, "Swarm: `docker node demote` of the leader's node", swarm::demoted),
    case("swarm-dockerd", Place::Swarm, "Swarm: dockerd of the Swarm's leader killed", swarm::killed),
];

fn elect(world: &mut World<'_>, ttl: i64, kill: bool, what: &str, results: &mut Results) {
    let took = contest(world.bed, world.group.etcd(), ttl, kill);
    results.of(what).rounds.push(took);
}

fn handover(world: &mut World<'_>, what: &str, results: &mut Results) {
    let fault = |world: &World<'_>, leader: usize| {
        let client = world.group.bed(leader).client(NAMES[leader]);
        client.handshake().expect("a connection");
        let before = since_boot();
        client.handover("").unwrap_or_else(|failure| panic!("the handover was refused: {failure:?}"));
        before
    };
    with_users(world, what, results, |world, results| fail_over(world, what, results, fault, |_, _| {}));
}

// Calls by the client library go on all the while: of these, too, none may fail.
fn with_users(
    world: &mut World<'_>,
    what: &str,
    results: &mut Results,
    measure: impl FnOnce(&mut World<'_>, &mut Results),
) {
    world.group.settle();
    let users = world.group.users(1);
    wait_until("users' calls", SOON, || users.done() > 2);
    measure(world, results);
    let done = users.done();
    wait_until("users' calls again", SOON, || users.done() > done + 2);
    let met = users.stop();
    let figures = results.of(what);
    figures.failed_calls += met.failed.len();
    met.failed.iter().for_each(|error| eprintln!("a call by the client library failed: {error}"));
    results.of(&format!("{what}: longest call of a user")).rounds.push(met.longest());
}

fn sigterm(world: &mut World<'_>, what: &str, results: &mut Results) {
    let fault = |world: &World<'_>, leader: usize| {
        let before = since_boot();
        world.group.manager(leader).terminate();
        before
    };
    let mend = |world: &World<'_>, leader: usize| {
        assert!(world.group.manager(leader).wait_exit(SOON).success(), "{} drains", NAMES[leader]);
        world.group.restart(leader);
    };
    with_users(world, what, results, |world, results| fail_over(world, what, results, fault, mend));
}

fn kill(world: &mut World<'_>, what: &str, results: &mut Results) {
    let fault = |world: &World<'_>, leader: usize| world.group.manager(leader).kill();
    fail_over(world, what, results, fault, |world, leader| world.group.restart(leader));
}

fn sigstop(world: &mut World<'_>, what: &str, results: &mut Results) {
    let fault = |world: &World<'_>, leader: usize| -> Duration {
        let before = since_boot();
        world.group.manager(leader).freeze();
        before
    };
    fail_over(world, what, results, fault, |world, leader| world.group.manager(leader).thaw());
}

// The leader of etcd is on the host that is so many after the manager's.
fn lost_host(world: &mut World<'_>, after: usize, what: &str, results: &mut Results) {
    let (leader, _) = world.group.settle();
    world.group.etcd().move_leader((leader + after) % NAMES.len());
    let fault = |world: &World<'_>, leader: usize| {
        let etcd = world.group.etcd().leader();
        assert_eq!(etcd, Some((leader + after) % NAMES.len()), "etcd's leader has moved by itself");
        world.group.net().cut_off(leader)
    };
    fail_over(world, what, results, fault, |world, _| {
        world.group.net().heal();
        world.group.etcd().wait_leader();
    });
}

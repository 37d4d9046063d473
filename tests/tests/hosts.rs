//! The harness for several hosts: what it would not do, no test of an election could tell from what it does.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Arc;

use om_system_tests::{
    Bed, EtcdCluster, Hammer, Net, Pace, Program, SOON, measured, part, record, recorded, wait_until,
};

const LISTEN: &str = "import socket, sys
listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listener.bind((sys.argv[1], 7000))
print('listening', flush=True)
while True: print('heard', listener.recv(100).decode(), flush=True)";
const SEND: &str = "import socket, sys
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.sendto(sys.argv[2].encode(), (sys.argv[1], 7000))";

struct Ears<'a> {
    net: &'a Net,
    bed: &'a Bed,
    listeners: Vec<Arc<Program>>,
}

impl<'a> Ears<'a> {
    fn new(bed: &'a Bed, net: &'a Net) -> Self {
        let listeners: Vec<_> = net
            .hosts()
            .iter()
            .map(|host| {
                let mut command = bed.placed(Some(host), "python3".as_ref());
                command.args(["-c", LISTEN, &host.address().to_string()]);
                bed.start(&format!("ear-{}", host.number()), command)
            })
            .collect();
        for listener in &listeners {
            listener.wait_log(0, &["listening"], SOON);
        }
        Self { net, bed, listeners }
    }

    fn send(&self, from: usize, to: usize, what: &str) {
        let mut command = self.bed.placed(Some(&self.net.host(from)), "python3".as_ref());
        command.args(["-c", SEND, &self.net.host(to).address().to_string(), what]);
        self.bed.run(command, "").done();
    }

    #[track_caller]
    fn passes(&self, from: usize, to: usize, what: &str) {
        self.send(from, to, what);
        self.listeners[to].wait_log(0, &["heard", what], SOON);
    }

    // Nothing tells of a packet that is lost: one sent after it, by a way that is open, has arrived.
    #[track_caller]
    fn is_lost(&self, from: usize, to: usize, what: &str, open: impl FnOnce()) {
        self.send(from, to, what);
        open();
        assert_eq!(self.listeners[to].find(0, &["heard", what]), None, "{from} to {to}");
    }
}

fn namespaces() -> String {
    let output = Command::new("ip").args(["netns", "list"]).output().expect("ip");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_fault_loses_what_it_says_and_nothing_else_and_a_healed_net_carries_the_very_next_packet() {
    if !part("network namespaces (root)", Net::possible()) {
        return;
    }
    let (bed, net) = (Bed::new(), Net::new(3));
    let ears = Ears::new(&bed, &net);
    ears.passes(0, 1, "before");

    net.cut_one_way(0, 1);
    ears.passes(0, 2, "beside");
    ears.is_lost(0, 1, "one-way", || ears.passes(1, 0, "back"));
    net.heal();
    ears.passes(0, 1, "after-one-way");

    net.cut(0, 1);
    ears.is_lost(0, 1, "there", || ears.passes(0, 2, "third"));
    ears.is_lost(1, 0, "and-back", || ears.passes(1, 2, "third-again"));
    net.heal();
    ears.passes(0, 1, "after-pair");
    ears.passes(1, 0, "after-pair-back");

    net.cut_off(0);
    ears.is_lost(0, 1, "off", || ears.passes(2, 1, "others"));
    ears.is_lost(1, 0, "off-back", || ears.passes(1, 2, "others-too"));
    let healed = net.heal();
    ears.passes(0, 1, "after-all");
    ears.passes(1, 0, "after-all-back");
    measured(&format!("heard both ways {:?} after a heal", om_api::clock::since_boot() - healed));
}

#[test]
fn nets_stand_side_by_side_with_the_same_addresses_and_go_also_when_a_test_panics() {
    if !part("network namespaces (root)", Net::possible()) {
        return;
    }
    let (bed, other_bed) = (Bed::new(), Bed::new());
    let mut left = String::new();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let (one, other) = (Net::new(2), Net::new(2));
        let (ears, others) = (Ears::new(&bed, &one), Ears::new(&other_bed, &other));
        ears.passes(0, 1, "here");
        others.passes(0, 1, "there");
        assert_eq!(ears.listeners[1].find(0, &["heard", "there"]), None);
        let command = format!("{:?}", one.host(0).command("true"));
        left = command.split("/run/netns/").nth(1).unwrap().split('"').next().unwrap().to_owned();
        assert!(namespaces().contains(&left), "{left}");
        panic!("as a failing test does");
    }));
    assert!(panicked.is_err());
    assert!(!left.is_empty() && !namespaces().contains(&left), "left behind: {left}");
}

#[test]
fn what_a_killed_test_process_left_behind_is_swept() {
    if !part("network namespaces (root)", Net::possible()) {
        return;
    }
    // A process of this pid cannot have started then: it is over.
    let name = format!("omtest-{}-1-0-0", std::process::id());
    let run = |args: &[&str]| assert!(Command::new("ip").args(args).status().unwrap().success());
    run(&["netns", "add", &name]);
    let bed = Bed::new();
    let mut stray = bed.placed(None, "nsenter".as_ref());
    stray.arg(format!("--net=/run/netns/{name}")).args(["sleep", "100000"]);
    let stray = bed.start("stray", stray);
    wait_until("the stray to be in it", SOON, || {
        let pids = Command::new("ip").args(["netns", "pids", &name]).output().unwrap().stdout;
        String::from_utf8_lossy(&pids).contains(&stray.pid().to_string())
    });
    let own = Net::new(1);
    assert!(!namespaces().contains(&name), "{}", namespaces());
    wait_until("the stray to be gone", SOON, || !stray.is_alive());
    drop(own);
}

#[test]
fn programs_of_a_bed_in_a_host_are_reached_by_their_sockets_and_have_their_own_network() {
    if !part("network namespaces (root)", Net::possible()) {
        return;
    }
    let (bed, net) = (Bed::new(), Net::new(2));
    let hosts = [bed.in_host(&net, 0), bed.in_host(&net, 1)];
    let plugin = hosts[0].recording_plugin("record");
    hosts[1].recording_plugin("record");
    let here = std::fs::read_link("/proc/self/ns/net").unwrap();
    let there = std::fs::read_link(format!("/proc/{}/ns/net", plugin.pid())).unwrap();
    assert_ne!(here, there, "the pid is the program's own, and it is in the host");
    assert_ne!(hosts[0].host(), hosts[1].host());
    assert_eq!(hosts[0].steering_record(), hosts[1].steering_record());

    let a = hosts[0].manager("a", &[]);
    hosts[1].manager("b", &[]);
    bed.name_leader("a");
    hosts[0].wait_leading("a");
    net.cut_off(0);
    hosts[0].commit("a", &recorded(&bed, "steered"), &["--wait"]).done();
    bed.name_leader("b");
    hosts[1].wait_leading("b");
    assert!(a.is_alive());
}

#[test]
fn etcd_over_hosts_elects_without_the_host_that_is_cut_off_and_takes_it_back() {
    if !part("network namespaces (root)", Net::possible())
        || !part("etcd and etcdctl", EtcdCluster::possible())
    {
        return;
    }
    let (bed, net) = (Bed::new(), Net::new(3));
    let etcd = EtcdCluster::on(&bed, &net, 0..3, Pace::FAST, &[]);
    etcd.move_leader(0);
    etcd.ctl(&["put", "before", "1"]).done();
    net.cut_off(0);
    wait_until("the other two to elect", SOON, || {
        etcd.ctl_at(1, &["put", "during", "2"]).code == 0 && etcd.ctl_at(2, &["get", "during"]).code == 0
    });
    assert_ne!(etcd.ctl_at(0, &["put", "lost", "3"]).code, 0, "cut off, it has no majority");
    net.heal();
    wait_until("it to know what was put meanwhile", SOON, || {
        etcd.ctl_at(0, &["get", "--print-value-only", "during"]).stdout.trim() == "2"
    });
    assert_eq!(etcd.get("lost"), None);
}

#[test]
fn etcd_is_killed_backed_up_wiped_and_restored() {
    if !part("etcd and etcdctl", EtcdCluster::possible()) {
        return;
    }
    let bed = Bed::new();
    let etcd = EtcdCluster::local(&bed, 3, Pace::FAST);
    etcd.ctl(&["put", "kept", "1"]).done();
    let backup = bed.path("backup");
    etcd.backup(&backup);
    etcd.ctl(&["put", "later", "2"]).done();
    let before = etcd.revision();

    let old = etcd.leader().expect("a leader");
    etcd.kill(old);
    assert_ne!(etcd.wait_leader(), old);
    etcd.restart(old);
    etcd.wait_leader();
    etcd.move_leader(old);
    assert_eq!(etcd.get("later").as_deref(), Some("2"));

    etcd.stop_all();
    etcd.wipe();
    etcd.restore(&backup);
    etcd.start_all();
    assert_eq!((etcd.get("kept").as_deref(), etcd.get("later")), (Some("1"), None));
    assert!(etcd.revision() < before, "the revision went back");
    etcd.stop_all();
    etcd.wipe();
    etcd.start_all();
    assert!(etcd.keys("").is_empty());
}

#[test]
fn etcd_is_filled_emptied_and_locked() {
    if !part("etcd and etcdctl", EtcdCluster::possible()) {
        return;
    }
    let bed = Bed::new();
    let etcd = EtcdCluster::planned(&bed, 1, Pace::FAST, &["--quota-backend-bytes", "16777216"]);
    etcd.start_all();
    etcd.fill();
    assert_ne!(etcd.ctl(&["put", "more", "1"]).code, 0);
    etcd.make_space();
    etcd.ctl(&["put", "more", "1"]).done();

    etcd.ctl(&["user", "add", "root:right"]).done();
    etcd.ctl(&["user", "grant-role", "root", "root"]);
    etcd.ctl(&["auth", "enable"]).done();
    assert_eq!(etcd.get("more"), None, "nobody may read without a name");
    etcd.log_in("root:wrong");
    assert_eq!(etcd.get("more"), None);
    etcd.log_in("root:right");
    assert_eq!(etcd.get("more").as_deref(), Some("1"));
}

#[test]
fn callers_go_on_with_the_next_leader_and_are_told_the_truth() {
    let bed = Bed::new();
    bed.recording_plugin("record");
    let a = bed.manager("a", &[]);
    bed.manager("b", &[]);
    bed.name_leader("a");
    bed.wait_leading("a");
    let hammer = Hammer::start(vec![bed.socket("a"), bed.socket("b")], &recorded(&bed, "hammered"), 2, SOON);
    wait_until("commits at a", SOON, || hammer.accepted() > 20);
    let killed = a.kill();
    wait_until("b to be asked, and not to lead", SOON, || hammer.refused() > 0);
    bed.name_leader("b");
    let new = bed.wait_leading("b");
    let already = hammer.accepted();
    wait_until("commits at b", SOON, || hammer.accepted() > already + 20);
    let told = hammer.stop();
    assert!(told.failed.is_empty(), "{:?}", told.failed);
    assert!(!told.refused.is_empty(), "b was asked before it led");
    let last = told.last();
    assert_eq!(last.len(), 2, "each caller has its own service");
    let stored = bed.client("b").list().expect("a list");
    for (name, accepted) in last {
        let found = stored.iter().find(|service| service.name == name).expect("what was acknowledged");
        assert_eq!(found.labels["number"], accepted.number.to_string());
        assert_eq!(found.revision, accepted.revision);
    }
    assert!(record::reigns(&bed.steering_record()).contains_key(&new), "accepted, and forwarded");
    let end = told.accepted.last().expect("commits").at;
    measured(&format!("killed, renamed: commits paused for {:?}", told.longest_gap(killed, end)));
}

//! Troubles of etcd itself: each is told clearly, and none of them makes two terms steer, or a state be taken for
//! another.
//!
//! Of clocks: what a replica reads, and authority is counted by, is CLOCK_BOOTTIME. It cannot jump under a running
//! process but by the process's not running, which `etcd_freeze.rs` has; here replicas have clocks that are days apart.
//! The wall clock is only shown to people.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::sync::Arc;
use std::thread;

use om_api::clock::since_boot;
use om_api::{Reason, v1};
use om_system_tests::{
    Bed, ETCD_AUTHORITY, EtcdCluster, Failure, Pace, Program, SOON, clocks_possible, part, record, recorded,
    shifted, wait_for, wait_until,
};

// What is said, in any of these words, where the state in etcd is not the one that a replica has known.
const ANOTHER_STATE: &[&str] =
    &["wiped", "went back", "older", "restored", "another store", "another cluster", "is gone", "lost"];

fn etcd() -> bool {
    part("etcd and etcdctl", EtcdCluster::possible())
}

fn alone<'a>(bed: &'a Bed, more: &[&str]) -> EtcdCluster<'a> {
    let etcd = EtcdCluster::planned(bed, 1, Pace::FAST, more);
    etcd.start_all();
    etcd
}

fn replica(bed: &Bed, name: &str, etcd: &EtcdCluster<'_>, more: &[&str]) -> Arc<Program> {
    let authority = format!("{}ms", ETCD_AUTHORITY.as_millis());
    bed.etcd_manager(name, etcd, &[&["--authority", &authority], more].concat())
}

// Two replicas of which one leads: its name first.
fn pair(bed: &Bed, etcd: &EtcdCluster<'_>) -> (&'static str, &'static str, u64) {
    bed.recording_plugin("record");
    replica(bed, "a", etcd, &[]);
    let term = bed.wait_leading("a");
    replica(bed, "b", etcd, &[]);
    bed.commit("a", &recorded(bed, "steered"), &["--wait"]).done();
    ("a", "b", term)
}

fn leads(status: &v1::StatusResponse) -> bool {
    status.leadership() == v1::Leadership::Leading
}

// Waits until a replica says, in its status, one of these words, and does not lead.
#[track_caller]
fn wait_refuses(bed: &Bed, name: &str, words: &[&str]) -> String {
    let client = bed.client(name);
    let mut last = None;
    let said = || {
        let status = client.status().ok()?;
        let message = status.message.to_lowercase();
        let refuses = !leads(&status) && words.iter().any(|word| message.contains(word));
        last = Some(status);
        refuses.then_some(message)
    };
    let what = format!("{name} not to lead, and to say why in one of the words {words:?}");
    let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| wait_for(&what, SOON, said)));
    said.unwrap_or_else(|_| panic!("{what}; it says {last:?}"))
}

// From the end of the authority on, nothing is steered.
#[track_caller]
fn check_nothing_steers(bed: &Bed) {
    let over = since_boot() + ETCD_AUTHORITY;
    // sleeps: the authority has to run out, and the plugin to have had the time for many more lines
    thread::sleep(3 * ETCD_AUTHORITY);
    assert_eq!(record::steering_since(&bed.steering_record(), "steered", over), None);
}

#[test]
fn a_full_etcd_is_told_and_what_was_declared_stays_looked_after() {
    if !etcd() {
        return;
    }
    let bed = Bed::new();
    let etcd = alone(&bed, &["--quota-backend-bytes", "16777216"]);
    let (leader, _, term) = pair(&bed, &etcd);
    etcd.fill();
    let failure = wait_for("a commit to be refused", SOON, || {
        bed.client(leader).commit(recorded(&bed, "more").with("every_ms", 0).commit()).err()
    });
    assert_eq!(failure.reason, Some(Reason::StoreUnavailable), "{failure:?}");
    assert!(failure.message.contains("space"), "{failure:?}");
    let refusal = bed.commit(leader, &recorded(&bed, "more"), &["--timeout", "2s"]);
    assert_ne!(refusal.code, 0, "{refusal:#?}");
    assert!(refusal.stderr.contains("space"), "{refusal:#?}");

    let full = since_boot();
    wait_until("what was declared to be steered on", SOON, || {
        record::steering_since(&bed.steering_record(), "steered", full).is_some()
    });
    assert_eq!(bed.client(leader).names(), ["steered"]);
    etcd.make_space();
    wait_until("commits to be accepted again", SOON, || {
        bed.client(leader).commit(recorded(&bed, "again").with("every_ms", 0).commit()).is_ok()
    });
    assert!(bed.client(leader).status().expect("a status").term >= term);
    record::check_one_term_steers(&bed.steering_record());
}

#[test]
fn a_follower_under_whose_watch_etcd_was_compacted_knows_everything_when_it_takes_over() {
    if !etcd() {
        return;
    }
    let bed = Bed::new();
    let etcd = alone(&bed, &[]);
    let (leader, follower, old) = pair(&bed, &etcd);
    let frozen = bed.program(follower);
    frozen.freeze();
    for number in 0..20 {
        let spec = recorded(&bed, &format!("s-{number:02}")).with("every_ms", 0);
        wait_until("a commit", SOON, || bed.client(leader).commit(spec.commit()).is_ok());
    }
    etcd.ctl(&["compact", "--physical", &etcd.revision().to_string()]).done();
    // Its watch breaks, and cannot be taken up where it was.
    etcd.kill(0);
    etcd.restart(0);
    frozen.thaw();
    // While etcd was away, too, the leader had nobody to confirm it: whoever leads now knows them all.
    let expected = wait_for("somebody to lead again", SOON, || {
        let listed = [leader, follower].into_iter().find_map(|name| bed.client(name).list().ok())?;
        Some(listed.into_iter().map(|service| service.name).collect::<Vec<_>>())
    });
    assert_eq!(expected.len(), 21);
    wait_until("the follower to be there again", SOON, || {
        bed.client(follower).status().is_ok_and(|status| status.leader.is_some() || leads(&status))
    });
    bed.program(leader).kill();
    let new = bed.wait_leading(follower);
    assert!(new > old);
    assert_eq!(bed.client(follower).names(), expected);
    bed.commit(follower, &recorded(&bed, "after"), &["--wait"]).done();
    record::check_one_term_steers(&bed.steering_record());
}

// Makes etcd another one under two replicas that live: nobody rules over it, nobody writes into it, and they say why.
fn check_refused_when_replaced(replace: impl FnOnce(&Bed, &EtcdCluster<'_>)) {
    let bed = Bed::new();
    let etcd = alone(&bed, &[]);
    let (leader, follower, _) = pair(&bed, &etcd);
    replace(&bed, &etcd);
    let keys = etcd.keys("/openmanage/test/");
    for name in [leader, follower] {
        let said = wait_refuses(&bed, name, ANOTHER_STATE);
        assert!(bed.program(name).is_alive(), "{name}, which said {said:?}");
    }
    check_nothing_steers(&bed);
    for name in [leader, follower] {
        let failure: Failure =
            bed.client(name).commit(recorded(&bed, "more").commit()).expect_err("a commit to nobody");
        assert!(
            matches!(failure.reason, Some(Reason::NoLeader | Reason::StoreUnavailable)),
            "{name}: {failure:?}"
        );
        assert!(!bed.client(name).is_healthy("om.v1.ServicePlugin"), "{name} is not ready");
    }
    let journal = |keys: &[String]| -> Vec<String> {
        keys.iter().filter(|key| !key.contains("/election/")).cloned().collect()
    };
    assert_eq!(journal(&etcd.keys("/openmanage/test/")), journal(&keys), "nothing was written into it");
    record::check_one_term_steers(&bed.steering_record());
}

#[test]
fn a_wiped_etcd_is_not_taken_for_a_fresh_start_by_replicas_that_knew_another_state() {
    if !etcd() {
        return;
    }
    check_refused_when_replaced(|_, etcd| {
        etcd.stop_all();
        etcd.wipe();
        etcd.start_all();
    });
}

#[test]
fn an_etcd_restored_from_an_older_backup_is_not_ruled_over_by_replicas_that_knew_a_newer_state() {
    if !etcd() {
        return;
    }
    check_refused_when_replaced(|bed, etcd| {
        let backup = bed.path("backup");
        etcd.backup(&backup);
        for number in 0..20 {
            let spec = recorded(bed, &format!("later-{number}")).with("every_ms", 0);
            bed.client("a").commit(spec.commit()).expect("a commit");
        }
        etcd.stop_all();
        etcd.wipe();
        etcd.restore(&backup);
        etcd.start_all();
    });
}

#[test]
fn wrong_credentials_are_told_and_right_ones_lead() {
    if !etcd() {
        return;
    }
    let bed = Bed::new();
    let etcd = alone(&bed, &[]);
    etcd.ctl(&["user", "add", "root:right"]).done();
    etcd.ctl(&["user", "grant-role", "root", "root"]);
    etcd.ctl(&["auth", "enable"]).done();
    etcd.log_in("root:right");
    let (wrong, right) = (bed.write("wrong", "wrong\n"), bed.write("right", "right\n"));
    let with = |file: &std::path::Path| -> Vec<String> {
        ["--user", "root", "--password-file", &file.to_string_lossy()].map(str::to_owned).to_vec()
    };
    let (wrong, right) = (with(&wrong), with(&right));
    let wrong: Vec<&str> = wrong.iter().map(String::as_str).collect();
    let right: Vec<&str> = right.iter().map(String::as_str).collect();

    replica(&bed, "locked-out", &etcd, &wrong);
    let said = wait_refuses(&bed, "locked-out", &["authentication", "password", "credentials"]);
    assert!(!said.contains("wrong\n"), "a password is told nobody: {said}");
    assert!(!bed.client("locked-out").is_healthy("om.v1.ServicePlugin"));
    // Without any credentials it is the same.
    replica(&bed, "nobody", &etcd, &[]);
    wait_refuses(&bed, "nobody", &["authentication", "user", "permission", "credentials"]);

    bed.recording_plugin("record");
    replica(&bed, "a", &etcd, &right);
    bed.wait_leading("a");
    bed.commit("a", &recorded(&bed, "steered"), &["--wait"]).done();
}

#[test]
fn endpoints_that_cannot_be_reached_at_the_start_are_waited_for_and_said() {
    if !etcd() {
        return;
    }
    let bed = Bed::new();
    let etcd = EtcdCluster::planned(&bed, 1, Pace::FAST, &[]);
    bed.recording_plugin("record");
    let a = replica(&bed, "a", &etcd, &[]);
    let port = etcd.endpoint(0).rsplit(':').next().expect("a port").to_owned();
    let said = wait_refuses(&bed, "a", &["etcd"]);
    assert!(said.contains(&port), "which endpoint: {said}");
    a.wait_log(0, &[&port], SOON);
    let client = bed.client("a");
    assert!(client.is_healthy(""), "it lives, and must not be started again");
    assert!(!client.is_healthy("om.v1.ServicePlugin"), "it is not ready");
    let failure = client.commit(recorded(&bed, "early").commit()).expect_err("a commit to nobody");
    assert!(matches!(failure.reason, Some(Reason::NoLeader | Reason::StoreUnavailable)), "{failure:?}");

    etcd.start_all();
    bed.wait_leading("a");
    wait_until("it to say that it is ready", SOON, || client.is_healthy("om.v1.ServicePlugin"));
    bed.commit("a", &recorded(&bed, "steered"), &["--wait"]).done();
}

#[test]
fn replicas_whose_clocks_are_days_apart_follow_one_another_and_never_steer_at_once() {
    if !etcd() || !part("time namespaces (root)", clocks_possible()) {
        return;
    }
    let bed = Bed::new();
    let etcd = alone(&bed, &[]);
    bed.recording_plugin("record");
    let authority = format!("{}ms", ETCD_AUTHORITY.as_millis());
    let start = |name: &str, seconds: u64| {
        let command = bed.etcd_manager_command(name, &etcd, &["--authority", &authority]);
        let program = bed.start(name, shifted(&command, seconds));
        bed.wait_serving(&program);
        program
    };
    start("now", 0);
    let mut term = bed.wait_leading("now");
    bed.commit("now", &recorded(&bed, "steered"), &["--wait"]).done();
    // Ahead by days, and behind again: the leader is killed, and frozen past its authority.
    for (round, (leader, next, ahead)) in
        [("now", "ahead", 864_000), ("ahead", "again", 0), ("again", "far", 8_640_000)].iter().enumerate()
    {
        let candidate = start(next, *ahead);
        wait_until("the candidate to follow", SOON, || {
            bed.client(next)
                .status()
                .is_ok_and(|status| status.leader.is_some_and(|named| named.name == *leader))
        });
        let old = bed.program(leader);
        if round == 1 {
            old.freeze()
        } else {
            old.kill()
        };
        let newer = bed.wait_leading(next);
        assert!(newer > term, "term {newer} after {term}");
        term = newer;
        wait_until("the new term to steer", SOON, || {
            record::reigns(&bed.steering_record()).contains_key(&term)
        });
        assert!(candidate.is_alive());
        if round == 1 {
            old.thaw();
            wait_until("who woke to follow", SOON, || {
                bed.client(leader)
                    .status()
                    .is_ok_and(|status| status.leader.is_some_and(|named| named.name == *next))
            });
            old.kill();
        }
    }
    record::check_one_term_steers(&bed.steering_record());
}

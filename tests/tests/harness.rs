//! The harness itself: what it would not notice, no test of this package could.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use om_system_tests::record::{self, MemberLine};
use om_system_tests::{Bed, Reason, SOON, free_ports, http, recorded, wait_until};

fn member<'a>(name: &'a str, port: &'a str) -> Vec<&'a str> {
    vec!["--name", name, "--record", "members.record", "--port", port, "--version", "v1"]
}

fn is_running(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}/exe")).exists()
}

#[test]
fn a_second_copy_of_a_member_writes_down_that_it_is_one() {
    let bed = Bed::new();
    let port = free_ports(2);
    let (first, second) = (port.to_string(), (port + 1).to_string());
    let original = bed.start("web-0", bed.command("om-test-member", &member("web-0", &first)));
    wait_until("the member to answer", SOON, || http(port) == Some(format!("web-0 v1 {}", original.pid())));
    record::check_no_second_copy(&bed.member_record());
    let copy = bed.run(bed.command("om-test-member", &member("web-0", &second)), "");
    assert_eq!(copy.code, 9);
    let checked = catch_unwind(|| record::check_no_second_copy(&bed.member_record()));
    assert!(checked.is_err(), "the check sees the copy");
    // Killed and started again it is the same member, and no copy.
    original.kill();
    std::fs::remove_file(bed.member_record()).unwrap();
    bed.start("web-0", bed.command("om-test-member", &member("web-0", &first)));
    wait_until("the next one to answer", SOON, || http(port).is_some());
    record::check_no_second_copy(&bed.member_record());
}

#[test]
fn a_bed_takes_everything_with_it_also_when_its_test_panics() {
    let mut seen = Vec::new();
    let mut place = None;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let bed = Bed::new();
        place = Some(bed.path(""));
        let plugin = bed.recording_plugin("record");
        let port = free_ports(1).to_string();
        let mut args = member("web-0", &port);
        args.extend(["--fork", "--stubborn"]);
        let parent = bed.start("parent", bed.command("om-test-member", &args));
        wait_until("its child", SOON, || bed.others().len() == 1);
        seen = vec![plugin.pid(), parent.pid(), bed.others()[0].0];
        plugin.freeze();
        assert!(seen.iter().all(|pid| is_running(*pid)));
        panic!("as a failing test does");
    }));
    assert!(panicked.is_err());
    assert!(seen.iter().all(|pid| !is_running(*pid)), "left behind: {seen:?}");
    assert!(!place.expect("its directory").exists());
}

#[test]
fn the_recording_plugin_without_a_manager_steers_nothing() {
    let bed = Bed::new();
    bed.recording_plugin("record");
    let client = bed.client("record");
    let kinds = client.handshake().expect("a handshake").kinds;
    assert_eq!(kinds[0].name, "record");
    // Nobody attends it: a commit of any term has no authority.
    let failure = client.commit_as(7, "store", recorded(&bed, "a").commit()).expect_err("refused");
    assert_eq!(failure.reason, Some(Reason::Fenced), "{failure:?}");
    assert!(record::reigns(&bed.steering_record()).is_empty());
    assert!(record::lines::<MemberLine>(&bed.member_record()).is_empty());
}

//! The two-replica walk, with the real programs: a plugin, a leader file, a manager that assumes
//! leadership step by step, and a second one that takes over when the file names it.

use std::time::Duration;

use om_api::clock::since_boot;
use om_system_tests::{
    Bed, Program, SOON, free_ports, measured, process, record, recorded, wait_for, wait_until,
};

// With a poll this slow, only inotify can explain that a manager sees the file change.
const NO_POLL: [&str; 4] = ["--poll", "1h", "--proxy-for", "service-stateless"];

/// The log says all this, in this order; gives the byte after the last.
#[track_caller]
fn in_order(program: &Program, mut from: usize, steps: &[&[&str]]) -> usize {
    for step in steps {
        from = program.wait_log(from, step, SOON).1;
    }
    from
}

#[test]
fn the_walk_of_the_documentation_works_step_by_step() {
    let bed = Bed::new();
    let port = free_ports(4);
    let plugin = bed.process_plugin("service-stateless");
    bed.name_leader("service");
    let first = bed.manager("service", &NO_POLL);
    let at = in_order(&first, 0, &[&["leader: true"], &["assuming leadership"], &["loaded snapshot"]]);
    bed.wait_leading("service");

    for (name, port) in [("managers", port), ("workers", port + 2)] {
        let spec = process(&bed, name, 2, port);
        // Without --name: the manager's default name is where `om` goes by itself.
        let mut command = bed.command("om", &["-o", "json", "commit", "-", "--wait"]);
        command.env("OM_TIMEOUT", "60s");
        let answer = bed.run(command, &spec.document()).json();
        assert_eq!(answer[0]["name"], name, "{answer}");
        assert_eq!(answer[0]["changed"], true, "{answer}");
        assert_eq!(answer[0]["phase"], "ready", "{answer}");
    }
    first.wait_log(at, &["committing service", "managers"], SOON);
    first.wait_log(at, &["committing service", "workers"], SOON);

    // The replica that is not named follows, and says who leads.
    let second = bed.manager("service2", &NO_POLL);
    second.wait_log(0, &["leader: false"], SOON);
    wait_until("service2 to know its leader", SOON, || {
        let status = bed.om("service2", &["status"]).json();
        status["leadership"] == "following" && status["leader"]["name"] == "service"
    });
    assert!(second.find(0, &["assuming leadership"]).is_none(), "service2 was never named");

    let (lost_from, assumed_from) = (first.log().len(), second.log().len());
    let changed = bed.name_leader("service2");
    let assumed = wait_for("service2 to assume leadership", SOON, || {
        second.find(assumed_from, &["assuming leadership"]).map(|_| since_boot())
    });
    let at = in_order(
        &second,
        assumed_from,
        &[&["leader: true"], &["assuming leadership"], &["loaded snapshot"], &["committing service"]],
    );
    assert!(at > 0);
    second.wait_log(assumed_from, &["committing service", "managers"], SOON);
    second.wait_log(assumed_from, &["committing service", "workers"], SOON);
    in_order(&first, lost_from, &[&["leader: false"], &["lost leadership"], &["freeing"]]);
    bed.wait_leading("service2");
    let leading = since_boot();
    measured(&format!(
        "file changed to \"assuming leadership\" {} ms, to leading by its status {} ms (looked at every 5 ms)",
        (assumed - changed).as_millis(),
        (leading - changed).as_millis()
    ));

    // What the first declared is looked after by the second, the same processes.
    wait_until("both services to be ready under service2", SOON, || {
        let services = bed.om("service2", &["ls"]).json();
        let ready = |service: &serde_json::Value| service["phase"] == "ready";
        services.as_array().is_some_and(|all| all.len() == 2 && all.iter().all(ready))
    });
    wait_until("service to follow service2", SOON, || {
        let status = bed.om("service", &["status"]).json();
        status["leadership"] == "following" && status["leader"]["name"] == "service2"
    });
    record::check_no_second_copy(&bed.member_record());
    assert_eq!(record::processes(&bed.member_record()), 4, "the handover started nothing anew");

    for program in [&first, &second, &plugin] {
        program.terminate();
        assert!(program.wait_exit(Duration::from_secs(10)).success(), "{} drains", program.name());
    }
}

#[test]
fn leadership_moves_by_inotify_alone_and_the_terms_follow_one_another() {
    let bed = Bed::new();
    bed.recording_plugin("record");
    let poll = ["--poll", "1h"];
    let replicas = [bed.manager("a", &poll), bed.manager("b", &poll)];
    bed.name_leader("a");
    let mut term = bed.wait_leading("a");
    bed.commit("a", &recorded(&bed, "kept"), &["--wait"]).done();

    let file = bed.steering_record();
    let mut took = Vec::new();
    for round in 0..10 {
        let leader = ["b", "a"][round % 2];
        // By turns as `echo` writes (in place) and as careful programs do (a new file, renamed over it).
        let changed = if round % 4 < 2 {
            bed.name_leader(leader)
        } else {
            let before = since_boot();
            std::fs::rename(bed.write("leader.new", leader), bed.leader_file()).expect("a rename");
            before
        };
        let newer = wait_for("the next term to steer", SOON, || {
            record::reigns(&file)
                .last_key_value()
                .filter(|(newest, _)| **newest > term)
                .map(|(t, r)| (*t, r.0))
        });
        assert!(newer.1 > changed, "term {} steered before {leader} was named", newer.0);
        took.push((newer.1 - changed).as_millis());
        term = bed.wait_leading(leader);
        wait_until("the leader's own term to steer", SOON, || {
            record::steering_since(&file, "kept", changed) == Some(term)
        });
    }
    took.sort_unstable();
    measured(&format!("file changed to first effect of the next term, ms, sorted: {took:?}"));
    record::check_one_term_steers(&file);
    assert_eq!(replicas.len(), 2);
}

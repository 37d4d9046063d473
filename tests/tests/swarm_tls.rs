//! `om-manager swarm` and an engine that is reached by TCP only with certificates both ways.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::fs;
use std::process::Command;

use om_api::testing::Ca;
use om_system_tests::{Bed, Engine, SOON, part, wait_until};

const PARTS: &str = "dockerd, docker, busybox and network namespaces (root)";

/// A manager in the engine's host that speaks to it by TCP, with these flags of its own.
fn command(bed: &Bed, engine: &Engine, more: &[&str]) -> Command {
    let mut command = bed.placed(Some(engine.host()), &bed.binary("om-manager"));
    command.args(["swarm", "--name", "a", "--docker-host", "tcp://127.0.0.1:2376", "--log", "5"]);
    command.arg("--plugins-dir").arg(bed.plugins()).args(more);
    command
}

#[test]
fn a_manager_speaks_to_its_engine_by_tls_and_says_what_is_wrong_where_it_cannot() {
    if !part(PARTS, Engine::possible()) {
        return;
    }
    let (bed, ca) = (Bed::new(), Ca::new());
    let server = ca.issue(&["127.0.0.1"]).write(&bed.path("server"));
    ca.issue(&["client"]).write(&bed.path("client"));
    // One that trusts the engine, which does not trust it; and one the other way round.
    Ca::new().issue(&["client"]).write(&bed.path("unknown"));
    fs::copy(bed.path("client/ca.pem"), bed.path("unknown/ca.pem")).unwrap();
    ca.issue(&["client"]).write(&bed.path("wary"));
    Ca::new().issue(&["client"]).write(&bed.path("other"));
    fs::copy(bed.path("other/ca.pem"), bed.path("wary/ca.pem")).unwrap();

    let file = |flag: &str, path: &std::path::Path| format!("--{flag}={}", path.display());
    let engine = Engine::alone_with(&[
        "--host=tcp://127.0.0.1:2376",
        "--tlsverify",
        &file("tlscacert", &server.ca),
        &file("tlscert", &server.cert),
        &file("tlskey", &server.key),
    ]);
    engine.docker(&["swarm", "init", "--advertise-addr", &engine.host().address().to_string()]);

    let by = |certificates: &str| {
        let dir = bed.path(certificates).display().to_string();
        vec!["--docker-tls-verify".to_owned(), "--docker-cert-path".to_owned(), dir]
    };
    for (flags, words) in [
        (by("unknown"), "it does not take our certificate"),
        (by("wary"), "its certificate does not count here"),
        (Vec::new(), "it wants TLS"),
    ] {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let program = bed.start("a", command(&bed, &engine, &flags));
        bed.wait_serving(&program);
        let mut said = String::new();
        let what = format!("{words:?} to be said");
        let hint = "--docker-cert-path";
        wait_until(&what, SOON, || {
            said = bed.client("a").status().map_or(String::new(), |status| status.message);
            said.contains(words) && said.contains(hint)
        });
        assert_eq!(bed.om("a", &["ls"]).code, 3, "{said}");
        program.kill();
    }

    let none = bed.run(command(&bed, &engine, &["--docker-tls-verify"]), "");
    assert!(none.code == 2 && none.stderr.contains(".docker/ca.pem"), "{none:?}");

    let flags = by("client");
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let program = bed.start("a", command(&bed, &engine, &flags));
    bed.wait_serving(&program);
    bed.wait_leading("a");
    assert_eq!(bed.om("a", &["ls"]).code, 0);
}

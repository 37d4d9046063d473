//! Managers on other hosts: TLS, certificates, and what is said when they do not fit.

use std::path::Path;

use om_api::Error;
use om_api::socket::CredentialFiles;
use om_api::testing::{Ca, Issued};

use crate::support::fake::directory;
use crate::support::{Ended, Fake, Om};

const HERE: &[&str] = &["127.0.0.1"];

fn flags(files: &CredentialFiles) -> Vec<String> {
    [("--tls-ca", &files.ca), ("--tls-cert", &files.cert), ("--tls-key", &files.key)]
        .iter()
        .flat_map(|(flag, path)| [(*flag).to_owned(), path.display().to_string()])
        .collect()
}

/// `om ls` at an endpoint, with the certificates in a directory.
fn ls(dir: &Path, issued: &Issued, endpoint: &str) -> Ended {
    Om::default().args(["-ojson", "--endpoint", endpoint, "ls"]).run(flags(&issued.write(dir)))
}

#[test]
fn a_manager_is_reached_by_tls_with_flags_environment_or_file() {
    let (dir, ca) = (directory(), Ca::new());
    let fake = Fake::serve_tcp(Some(ca.issue(HERE).server()));
    let own = ca.issue(&["me"]);
    ls(dir.path(), &own, &fake.endpoint()).fine();
    let files = own.write(dir.path());
    Om::default()
        .env("OM_ENDPOINT", fake.endpoint())
        .env("OM_TLS_CA", &files.ca)
        .env("OM_TLS_CERT", &files.cert)
        .env("OM_TLS_KEY", &files.key)
        .run(["ls", "-ojson"])
        .fine();
    let file = dir.path().join("om.toml");
    let text = format!(
        "endpoint = {:?}\ntls-ca = {:?}\ntls-cert = {:?}\ntls-key = {:?}\n",
        fake.endpoint(),
        files.ca,
        files.cert,
        files.key
    );
    std::fs::write(&file, text).unwrap();
    Om::default().run(["ls", "-ojson", "--config", file.to_str().unwrap()]).fine();
    assert_eq!(fake.calls("list").len(), 3);
}

#[test]
fn a_follower_at_a_socket_sends_to_a_leader_by_tls() {
    let (dir, ca) = (directory(), Ca::new());
    let follower = Fake::serve(dir.path(), "service");
    let leader = Fake::serve_tcp(Some(ca.issue(HERE).server()));
    follower.refuse_always("free", Error::not_leader("b", &leader.endpoint(), 7));
    let files = ca.issue(&["me"]).write(dir.path());
    Om::within(dir.path()).args(["free", "web"]).run(flags(&files)).fine();
    assert_eq!((follower.calls("free").len(), leader.calls("free").len()), (1, 1));
}

#[test]
fn certificates_that_do_not_fit_are_an_error_that_says_what_to_do() {
    let (dir, ca, other) = (directory(), Ca::new(), Ca::new());
    let fake = Fake::serve_tcp(Some(ca.issue(HERE).server()));
    let elsewhere = Fake::serve_tcp(Some(ca.issue(&["db.example"]).server()));
    let clear = Fake::serve_tcp(None);
    let own = ca.issue(&["me"]);
    let cases = [
        (&fake, other.issue(&["me"]), "not signed by the CA that this side trusts"),
        (&fake, Issued { ca: ca.pem(), ..other.issue(&["me"]) }, "refuses this side's certificate"),
        (&fake, ca.issue_expired(&["me"]), "has expired"),
        (&elsewhere, own.clone(), "not for 127.0.0.1, but for"),
        (&clear, own, "does not speak TLS"),
    ];
    for (fake, issued, why) in cases {
        let (reason, message, _) = ls(dir.path(), &issued, &fake.endpoint()).code(6).error();
        assert_eq!(reason, "CANNOT_CONNECT");
        assert!(message.contains(why), "{why}: {message}");
        assert!(fake.calls("list").is_empty());
    }
}

#[test]
fn who_shows_no_certificate_or_speaks_in_the_clear_is_told() {
    let (dir, ca) = (directory(), Ca::new());
    let fake = Fake::serve_tcp(Some(ca.issue(HERE).server()));
    let files = ca.issue(&["me"]).write(dir.path());
    let nameless = ["ls", "-ojson", "--endpoint", &fake.endpoint(), "--tls-ca", files.ca.to_str().unwrap()];
    let (reason, _, hint) = Om::default().run(nameless).code(6).error();
    assert_eq!(reason, "UNAUTHENTICATED");
    assert!(hint.contains("--tls-cert"), "{hint}");
    let (_, message, _) = Om::default().run(["ls", "-ojson", "--endpoint", &fake.endpoint()]).code(6).error();
    assert!(message.contains("speaks TLS"), "{message}");
    assert!(fake.calls("list").is_empty());
}

#[test]
fn another_host_is_asked_in_the_clear_only_if_somebody_said_so() {
    let fake = Fake::serve_tcp(None);
    // Not one of the loopback by its looks, though the kernel goes there.
    let far = fake.endpoint().replace("127.0.0.1", "0.0.0.0");
    let (_, message, _) = Om::default().run(["ls", "-ojson", "--endpoint", &far]).code(6).error();
    assert!(message.contains("--insecure") && message.contains("--tls-ca"), "{message}");
    Om::default().run(["ls", "-ojson", "--endpoint", &far, "--insecure"]).fine();
    Om::default().env("OM_INSECURE", "1").run(["ls", "-ojson", "--endpoint", &far]).fine();
    assert_eq!(fake.calls("list").len(), 2);
}

#[test]
fn what_is_said_about_certificates_must_make_sense() {
    let dir = directory();
    let files = Ca::new().issue(&["me"]).write(dir.path());
    let [ca, cert, key] = [&files.ca, &files.cert, &files.key].map(|path| path.to_str().unwrap());
    for (words, blamed) in [
        (&["--tls-cert", cert, "--tls-key", key][..], "--tls-ca"),
        (&["--tls-ca", ca, "--tls-cert", cert], "--tls-key"),
        (&["--tls-ca", ca, "--insecure"], "--insecure"),
        (&["--tls-ca", "/does/not/exist"], "/does/not/exist"),
        (&["--tls-ca", key], "no certificate in it"),
    ] {
        let ended = Om::within(dir.path()).args(["ls", "-ojson"]).run(words).code(2);
        assert!(ended.stderr.contains(blamed), "{words:?}: {ended:?}");
    }
    // The stronger place says whether it is TLS at all.
    let fake = Fake::serve(dir.path(), "service");
    Om::within(dir.path()).env("OM_TLS_CA", "/nowhere").run(["ls", "-ojson", "--insecure"]).fine();
    Om::within(dir.path()).env("OM_INSECURE", "1").args(["ls", "-ojson"]).run(["--tls-ca", ca]).fine();
    assert_eq!(fake.calls("list").len(), 2);
}

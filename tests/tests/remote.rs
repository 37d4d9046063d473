//! Replicas and clients over TCP, by mutual TLS, as between hosts. Each replica has an address of the loopback of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::process::Command;
use std::sync::Arc;

use om_api::socket::CredentialFiles;
use om_api::testing::{Ca, Issued};
use om_system_tests::{Bed, Output, Program, SOON, Spec, free_ports, part, recorded, wait_until};

fn flags(files: &CredentialFiles) -> Vec<String> {
    [("--tls-ca", &files.ca), ("--tls-cert", &files.cert), ("--tls-key", &files.key)]
        .iter()
        .flat_map(|(flag, path)| [(*flag).to_owned(), path.display().to_string()])
        .collect()
}

/// Two replicas, `a` at 127.0.0.2 and `b` at 127.0.0.3, and a client with a certificate of its own.
struct Hosts {
    bed: Bed,
    ca: Ca,
    port: u16,
    client: Vec<String>,
}

impl Hosts {
    fn new() -> Self {
        let (bed, ca) = (Bed::new(), Ca::new());
        let client = flags(&ca.issue(&["me"]).write(&bed.path("client")));
        let hosts = Self { bed, ca, port: free_ports(1), client };
        hosts.bed.recording_plugin("record");
        hosts
    }

    fn endpoint(&self, name: &str) -> String {
        let host = if name == "a" { "127.0.0.2" } else { "127.0.0.3" };
        format!("tcp://{host}:{}", self.port)
    }

    /// Certificates for a replica, where it looks for them.
    fn issue(&self, ca: &Ca, name: &str) -> CredentialFiles {
        ca.issue(&["127.0.0.2", "127.0.0.3"]).write(&self.bed.path(&format!("{name}.tls")))
    }

    fn start(&self, name: &str) -> Arc<Program> {
        let mut more = vec!["--listen".to_owned(), self.endpoint(name)];
        more.extend(flags(&self.issue(&self.ca, name)));
        self.bed.manager(name, &more.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// `om` at these endpoints, from a host where no socket is.
    fn om_by(&self, by: &[String], endpoints: &str, args: &[&str], input: &str) -> Output {
        let mut command = self.bed.command("om", &["-o", "json", "--endpoint", endpoints]);
        command.args(by).args(args);
        self.bed.run(command, input)
    }

    fn om(&self, endpoints: &str, args: &[&str]) -> Output {
        self.om_by(&self.client, endpoints, args, "")
    }

    fn commit(&self, endpoints: &str, spec: &Spec) -> Output {
        self.om_by(&self.client, endpoints, &["commit", "-"], &spec.document())
    }
}

#[test]
fn a_client_gets_to_a_leader_on_another_host_by_a_followers_refusal() {
    let hosts = Hosts::new();
    hosts.start("a");
    hosts.start("b");
    hosts.bed.name_leader("a");
    hosts.bed.wait_leading("a");
    let (a, b) = (hosts.endpoint("a"), hosts.endpoint("b"));
    wait_until("b to know where a serves", SOON, || {
        hosts.om(&b, &["status"]).json()["leader"]["endpoint"] == *a
    });

    let refusal = hosts.om(&b, &["--no-redirect", "ls"]).refused(3);
    assert!(refusal.reason == "NOT_LEADER" && refusal.hint.contains(&a), "{refusal:?}");
    let done = hosts.commit(&b, &recorded(&hosts.bed, "web"));
    assert_eq!(done.json()[0]["name"], "web", "{done:?}");
    assert_eq!(hosts.om(&b, &["ls"]).json()[0]["name"], "web");

    // A file names the leader here, so it is not a replica's to hand over.
    let refusal = hosts.om(&b, &["handover", "b"]).refused(1);
    assert_eq!(refusal.reason, "REFUSED", "{refusal:?}");
}

#[test]
fn who_has_no_certificate_of_the_ca_gets_nothing() {
    let hosts = Hosts::new();
    let a = hosts.start("a");
    hosts.bed.name_leader("a");
    hosts.bed.wait_leading("a");
    let endpoint = hosts.endpoint("a");
    let web = recorded(&hosts.bed, "web").document();
    let by = |issued: &Issued| {
        let flags = flags(&issued.write(&hosts.bed.path("stranger")));
        hosts.om_by(&flags, &endpoint, &["commit", "-"], &web).refused(6)
    };
    let ours = hosts.ca.pem();
    by(&Issued { ca: ours.clone(), ..Ca::new().issue(&["me"]) });
    by(&hosts.ca.issue_expired(&["me"]));
    by(&Ca::new().issue(&["me"]));
    let refusal = hosts.om_by(&hosts.client[..2], &endpoint, &["commit", "-"], &web).refused(6);
    assert_eq!(refusal.reason, "UNAUTHENTICATED", "{refusal:?}");
    let refusal = hosts.om_by(&[], &endpoint, &["commit", "-"], &web).refused(6);
    assert!(refusal.message.contains("TLS"), "{refusal:?}");
    assert_eq!(hosts.om(&endpoint, &["ls"]).json().as_array().map(Vec::len), Some(0));
    a.wait_log(0, &["TLS connection failed", "not signed by the CA"], SOON);
}

#[test]
fn renewed_certificates_are_served_and_shown_without_a_restart() {
    let hosts = Hosts::new();
    let a = hosts.start("a");
    let endpoint = hosts.endpoint("a");
    hosts.om(&endpoint, &["status"]).done();
    let renewed = Ca::new();
    let new_client = flags(&renewed.issue(&["me"]).write(&hosts.bed.path("new-client")));
    hosts.om_by(&new_client, &endpoint, &["status"], "").refused(6);
    hosts.issue(&renewed, "a");
    // Nobody says so: it looks by itself.
    wait_until("the new certificate to be served", SOON, || {
        hosts.om_by(&new_client, &endpoint, &["status"], "").code == 0
    });
    hosts.om(&endpoint, &["status"]).refused(6);

    let back = hosts.issue(&hosts.ca, "a");
    a.hang_up();
    wait_until("the old certificate to be served", SOON, || hosts.om(&endpoint, &["status"]).code == 0);
    // What cannot be used changes nothing.
    std::fs::write(&back.key, "nonsense").unwrap();
    a.hang_up();
    a.wait_log(0, &["cannot be renewed", "key.pem"], SOON);
    hosts.om(&endpoint, &["status"]).done();
}

#[test]
fn a_client_of_several_replicas_sees_a_pause_when_the_leader_dies_hangs_or_hands_over() {
    let hosts = Hosts::new();
    let both = format!("{},{}", hosts.endpoint("a"), hosts.endpoint("b"));
    let mut a = hosts.start("a");
    let b = hosts.start("b");
    hosts.bed.name_leader("a");
    hosts.bed.wait_leading("a");
    let mut round = 0;
    let mut commits = || {
        round += 1;
        let spec = recorded(&hosts.bed, "web").label("round", round);
        assert_eq!(hosts.commit(&both, &spec).json()[0]["changed"], true);
    };
    commits();
    hosts.bed.name_leader("b");
    commits();
    hosts.bed.name_leader("a");
    commits();
    a.kill();
    hosts.bed.name_leader("b");
    commits();
    a = hosts.start("a");
    hosts.bed.name_leader("a");
    hosts.bed.wait_leading("a");
    a.freeze();
    hosts.bed.name_leader("b");
    commits();
    assert!(b.is_alive());
    a.thaw();
    commits();
}

#[test]
fn certificates_made_as_the_documentation_says_work() {
    if !part("openssl", Command::new("openssl").arg("version").output().is_ok()) {
        return;
    }
    let bed = Bed::new();
    let page = include_str!("../../docs/tls.md");
    let commands = page.split("```shell\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", commands]).current_dir(bed.path(""));
    bed.run(shell, "").done();

    let endpoint = format!("tcp://127.0.0.2:{}", free_ports(1));
    let flags = |who: &str| {
        let [cert, key] = [format!("{who}.pem"), format!("{who}-key.pem")];
        ["--tls-ca", "ca.pem", "--tls-cert", &cert, "--tls-key", &key].map(str::to_owned)
    };
    let own = flags("a");
    let mut more = vec!["--listen", &endpoint];
    more.extend(own.iter().map(String::as_str));
    bed.manager("a", &more);
    let mut om = bed.command("om", &["-o", "json", "--endpoint", &endpoint, "status"]);
    om.args(flags("me"));
    assert_eq!(bed.run(om, "").json()["name"], "a");
}

#[test]
fn other_hosts_are_not_served_in_the_clear_unless_somebody_says_so() {
    let bed = Bed::new();
    let manager = |more: &[&str]| {
        let mut command = bed.manager_command("a", more);
        command.arg("--print-config");
        bed.run(command, "")
    };
    let output = manager(&["--listen", "tcp://192.0.2.1:7700"]);
    assert_eq!(output.code, 2, "{output:#?}");
    for word in ["tcp://192.0.2.1:7700", "--tls-cert", "--insecure"] {
        assert!(output.stderr.contains(word), "{output:#?}");
    }
    manager(&["--listen", "tcp://192.0.2.1:7700", "--insecure"]).done();
    let files = Ca::new().issue_expired(&["192.0.2.1"]).write(&bed.path("tls"));
    let flags = flags(&files);
    let output = manager(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(output.code, 2, "{output:#?}");
    assert!(output.stderr.contains("cert.pem cannot be used: it has expired"), "{output:#?}");
}

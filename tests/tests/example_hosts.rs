//! The files of `examples/etcd` for three hosts: the programs take every setting in them, with certificates as
//! `examples/etcd/certificates` makes them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use om_system_tests::{Bed, Settings, environment, moved, part};
use yaml_serde::Value;

fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("examples/etcd").join(file)
}

fn installed(tool: &str) -> bool {
    part(
        tool,
        Command::new(tool).arg(if tool == "openssl" { "version" } else { "--version" }).output().is_ok(),
    )
}

// Certificates of three hosts, in the bed.
fn certificates(bed: &Bed, hosts: &[&str]) -> PathBuf {
    let dir = bed.path("certs");
    let mut command = Command::new(example("certificates"));
    command.arg(&dir).args(hosts);
    bed.run(command, "").done();
    dir
}

#[track_caller]
fn check_plugin(bed: &Bed, settings: &Settings) {
    let help = bed.run(bed.command("om-plugin-process", &["--help"]), "").stdout;
    for variable in settings.keys() {
        assert!(help.contains(&format!("[env: {variable}=")), "{variable} is not known: {help}");
    }
}

#[test]
fn the_units_and_their_settings_are_what_systemd_and_the_programs_take() {
    if !installed("openssl") {
        return;
    }
    let bed = Bed::new();
    let certs = certificates(&bed, &["a=DNS:a.example,IP:10.0.0.1", "b=DNS:b.example", "c=DNS:c.example"]);
    let manager =
        moved(environment(&example("systemd/manager.env")), "/etc/openmanage/tls", &certs.join("a"));
    bed.check_settings("etcd", &manager);
    // Without certificates no other host is served.
    let clear = manager.into_iter().filter(|(name, _)| !name.starts_with("OM_TLS")).collect();
    let refused = bed.resolved("etcd", &clear);
    assert!(refused.code == 2 && refused.stderr.contains("--insecure"), "{refused:?}");
    check_plugin(&bed, &environment(&example("systemd/plugin.env")));

    if !installed("systemd-analyze") {
        return;
    }
    for unit in ["om-manager.service", "om-plugin-process.service"] {
        bed.check_unit(&example("systemd").join(unit));
    }
}

#[test]
fn etcd_starts_with_the_settings_for_a_host_and_takes_the_managers_certificate() {
    let etcd = part("etcd", Command::new("etcd").arg("--version").output().is_ok());
    if !etcd || !installed("openssl") {
        return;
    }
    let bed = Bed::new();
    let certs = certificates(&bed, &["a=IP:127.0.0.1"]);
    let port = om_system_tests::free_ports(2);
    let mut settings =
        moved(environment(&example("systemd/etcd.env")), "/etc/etcd/tls", &certs.join("a-etcd"));
    // One host of the three, on the loopback.
    let (client, peer) = (format!("https://127.0.0.1:{port}"), format!("https://127.0.0.1:{}", port + 1));
    for (name, value) in &mut settings {
        if name.contains("CLIENT_URLS") {
            value.clone_from(&client);
        } else if name.contains("PEER_URLS") {
            value.clone_from(&peer);
        }
    }
    settings.insert("ETCD_INITIAL_CLUSTER".to_owned(), format!("a={peer}"));
    settings.insert("ETCD_DATA_DIR".to_owned(), bed.path("etcd").display().to_string());
    let mut command = bed.command("om", &[]);
    let vars: Vec<_> =
        command.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
    command = Command::new("etcd");
    command
        .env_clear()
        .envs(vars.into_iter().filter_map(|(name, value)| Some((name, value?))))
        .envs(&settings);
    bed.start("etcd", command);

    let mut manager =
        moved(environment(&example("systemd/manager.env")), "/etc/openmanage/tls", &certs.join("a"));
    let listen = format!("tcp://127.0.0.1:{}", om_system_tests::free_ports(1));
    for (name, value) in [("OM_ENDPOINTS", &client), ("OM_LISTEN", &listen), ("OM_ADVERTISE", &listen)] {
        manager.insert(name.to_owned(), value.clone());
    }
    manager.insert("OM_PLUGINS_DIR".to_owned(), bed.plugins().display().to_string());
    let mut command = bed.command("om-manager", &["etcd"]);
    command.envs(&manager);
    let program = bed.start("a", command);
    bed.wait_serving(&program);
    bed.wait_leading("a");
    // A client by its own certificate, over TCP.
    let mut om = bed.command("om", &["-o", "json", "--endpoint", &listen, "status"]);
    for (variable, file) in [("OM_TLS_CA", "ca.pem"), ("OM_TLS_CERT", "cert.pem"), ("OM_TLS_KEY", "key.pem")]
    {
        om.env(variable, certs.join("me").join(file));
    }
    om.env_remove("OM_PLUGINS_DIR");
    assert_eq!(bed.run(om, "").json()["leadership"], "leading");
}

// What a key of a service comes to: what it says itself, over what it merges.
fn settings(service: &Value) -> Settings {
    let Some(environment) = service.get("environment").and_then(Value::as_mapping) else {
        return Settings::new();
    };
    environment
        .iter()
        .map(|(name, value)| (name.as_str().unwrap().to_owned(), value.as_str().unwrap().to_owned()))
        .collect()
}

#[test]
fn the_compose_file_is_whole_and_the_programs_take_its_settings() {
    if !installed("openssl") {
        return;
    }
    let bed = Bed::new();
    let certs = certificates(
        &bed,
        &["a=DNS:host-a,DNS:etcd-a", "b=DNS:host-b,DNS:etcd-b", "c=DNS:host-c,DNS:etcd-c"],
    );
    let text = fs::read_to_string(example("compose.yaml")).expect("the file");
    let mut compose: Value = yaml_serde::from_str(&text).expect("YAML");
    compose.apply_merge().expect("merges");
    let services = compose["services"].as_mapping().expect("services");
    let volumes = compose["volumes"].as_mapping().expect("volumes");
    assert_eq!(
        services.len(),
        10,
        "a member of etcd, a manager and a plugin on each of three hosts, and the client"
    );
    for (name, service) in services {
        let name = name.as_str().expect("a name");
        assert!(service["image"].is_string(), "{name} has an image");
        for volume in service["volumes"].as_sequence().expect(name) {
            let (from, _) = volume.as_str().unwrap().split_once(':').expect("a mount");
            let local = from.strip_prefix("./certs/").map(|from| certs.join(from));
            let there = local.map_or_else(|| volumes.contains_key(from), |dir| dir.join("key.pem").is_file());
            assert!(there, "{name}: {from}");
        }
        let host = name.split_once('-').map_or("me", |(_, host)| host);
        let own = moved(settings(service), "/certs", &certs.join(host));
        match name.split_once('-').map(|(what, _)| what) {
            Some("host") => bed.check_settings("etcd", &own),
            Some("plugin") => check_plugin(&bed, &own),
            Some("etcd") => {
                assert!(
                    own["ETCD_INITIAL_CLUSTER"]
                        .contains(&format!("{name}={}", own["ETCD_INITIAL_ADVERTISE_PEER_URLS"]))
                );
            }
            _ => {
                let help = bed.run(bed.command("om", &["--help"]), "").stdout;
                assert!(own.keys().all(|variable| help.contains(&**variable)), "{own:?}: {help}");
            }
        }
        // The parts of one host say the same of where they are.
        if let Some(id) = own.get("OM_HOST") {
            assert_eq!(*id, format!("host-{host}"));
        }
    }
}

//! Precedence, cross-checks and what is shown.

use clap::{CommandFactory, FromArgMatches};
use om_api::socket::Security;
use om_api::testing::Ca;

use super::*;

fn config(words: &[&str]) -> Result<Config, String> {
    let words = ["om-manager"].iter().chain(words);
    let matches = Args::command().try_get_matches_from(words).map_err(|error| error.to_string())?;
    let args = Args::from_arg_matches(&matches).map_err(|error| error.to_string())?;
    let (_, matches) = matches.subcommand().ok_or("a subcommand")?;
    resolve(args.command, matches)
}

fn os(words: &[&str]) -> Result<Config, String> {
    let common = ["os", "--leader-file", "/tmp/leader", "--plugins-dir", "/tmp/p", "--state-dir", "/tmp/s"];
    config(&[&common[..], words].concat())
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    file
}

#[test]
fn a_flag_beats_the_file_and_the_file_beats_the_default() {
    let file = file("name = \"filed\"\npoll = \"7s\"\n");
    let path = file.path().to_str().expect("text");
    let read = os(&["--config", path, "--name", "flagged", "--print-config"]).expect("fine");
    assert_eq!(read.name, "flagged");
    assert!(matches!(read.mode, Mode::Os { poll, .. } if poll == Duration::from_secs(7)));
    assert_eq!(read.timing.ttl(), Duration::from_secs(2));
    let shown = read.print.expect("asked for");
    assert!(shown.contains("name = \"flagged\"  # flag --name\n"), "{shown}");
    assert!(shown.contains(&format!("poll = \"7s\"  # file {path}\n")), "{shown}");
    assert!(shown.contains("authority = \"2s\"  # default\n"), "{shown}");
    assert!(toml::from_str::<toml::Table>(&shown).is_ok(), "what is shown can be used as a file: {shown}");
}

#[test]
fn an_unknown_key_is_refused_with_its_line() {
    let file = file("name = \"a\"\nnmae = \"b\"\n");
    let why = os(&["--config", file.path().to_str().expect("text")]).expect_err("unknown");
    assert!(why.contains("nmae") && why.contains("line 2"), "{why}");
}

#[test]
fn what_cannot_work_is_refused_with_the_flag_to_blame() {
    for (words, blamed) in [
        (&["--name", "a/b"][..], "--name"),
        (&["--poll", "5"][..], "--poll"),
        (&["--poll", "1ms"][..], "--poll"),
        (&["--authority", "1ms"][..], "--authority"),
        (&["--socket-mode", "999"][..], "--socket-mode"),
        (&["--listen", "tcp://0.0.0.0:1"][..], "--listen"),
        (&["--listen", "nonsense"][..], "--listen"),
        (&["--advertise", "nonsense"][..], "--advertise"),
        (&["--log", "9"][..], "--log"),
        (&["--log-format", "xml"][..], "--log-format"),
        (&["--proxy-for", "service"][..], "--proxy-for"),
        (&["--config", "/does/not/exist"][..], "/does/not/exist"),
    ] {
        let why = os(words).expect_err(blamed);
        assert!(why.contains(blamed), "{words:?}: {why}");
    }
    assert!(config(&["os"]).expect_err("no file").contains("--leader-file"));
}

#[test]
fn the_loopback_is_listened_at_in_the_clear_and_named_to_clients() {
    let read = os(&["--listen", "unix:///tmp/x", "--listen", "tcp://localhost:7700"]).expect("fine");
    let port = Listen::Tcp { host: "127.0.0.1".to_owned(), port: 7700 };
    assert_eq!(read.listen, [Listen::Unix("/tmp/x".into()), port]);
    assert!(matches!(read.network, Network::Clear));
    assert_eq!(read.advertise, "tcp://127.0.0.1:7700");
    assert_eq!(os(&["--listen", "unix:///tmp/x"]).expect("fine").advertise, "unix:///tmp/p/service");
}

/// Flags for certificates that were just made.
fn certificates(dir: &std::path::Path) -> Vec<String> {
    let files = Ca::new().issue(&["10.0.0.1"]).write(dir);
    let flags = [("--tls-cert", files.cert), ("--tls-key", files.key), ("--tls-ca", files.ca)];
    flags.iter().flat_map(|(flag, path)| [(*flag).to_owned(), path.display().to_string()]).collect()
}

#[test]
fn other_hosts_are_served_by_tls_or_because_somebody_said_insecure() {
    for listen in ["tcp://10.0.0.1:7700", "tcp://0.0.0.0:7700", "tcp://[::]:7700", "tcp://db.example:7700"] {
        let why = os(&["--listen", listen, "--advertise", "tcp://a:1"]).expect_err("in the clear");
        for word in ["--listen", listen, "--tls-cert", "--tls-key", "--tls-ca", "--insecure"] {
            assert!(why.contains(word), "{why}");
        }
    }
    let read = os(&["--listen", "tcp://10.0.0.1:7700", "--insecure"]).expect("said");
    assert!(matches!(read.network.security(), Security::Insecure));
    assert_eq!(read.advertise, "tcp://10.0.0.1:7700");

    let dir = tempfile::tempdir().expect("a directory");
    let flags = certificates(dir.path());
    let mut words: Vec<&str> = flags.iter().map(String::as_str).collect();
    words.extend(["--listen", "tcp://127.0.0.1:7700,tcp://10.0.0.1:7700", "--print-config"]);
    let read = os(&words).expect("by TLS");
    assert!(matches!(read.network.security(), Security::Tls(_)));
    assert_eq!(read.advertise, "tcp://10.0.0.1:7700", "where other hosts can reach it");
    let shown = read.print.expect("asked for");
    assert!(
        shown.contains("key.pem\"  # flag --tls-key\n") && shown.contains("insecure = false  # default\n")
    );
    assert!(toml::from_str::<toml::Table>(&shown).is_ok(), "what is shown can be used as a file: {shown}");
    let elsewhere = [&words[..], &["--advertise", "tcp://10.0.0.2:7700"]].concat();
    let why = os(&elsewhere).expect_err("of another host");
    assert!(why.contains("cert.pem") && why.contains("not for 10.0.0.2"), "{why}");
    words.push("--insecure");
    assert!(os(&words).expect_err("both").contains("--insecure"));
}

#[test]
fn certificates_that_cannot_be_used_are_named_at_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let flags = certificates(dir.path());
    let words: Vec<&str> = flags.iter().map(String::as_str).collect();
    let why = os(&words[..4]).expect_err("one is missing");
    assert!(why.ends_with("not given: --tls-ca"), "{why}");
    let expired = Ca::new().issue_expired(&["10.0.0.1"]).write(dir.path());
    let why = os(&words).expect_err("expired");
    assert!(why.contains(&expired.cert.display().to_string()) && why.contains("expired"), "{why}");
    std::fs::remove_file(&expired.key).expect("removed");
    let why = os(&words).expect_err("missing");
    assert!(why.contains(&expired.key.display().to_string()), "{why}");
}

#[test]
fn an_address_that_nobody_can_be_sent_to_is_not_named() {
    for listen in ["tcp://0.0.0.0:7700", "tcp://[::]:7700", "tcp://127.0.0.1:0"] {
        let why = os(&["--listen", listen, "--insecure"]).expect_err("cannot be advertised");
        assert!(why.contains("--advertise") && why.contains(listen), "{why}");
        let read = os(&["--listen", listen, "--insecure", "--advertise", "tcp://a.example:7"]).expect("said");
        assert_eq!(read.advertise, "tcp://a.example:7");
    }
}

#[test]
fn a_swarm_is_found_by_flags_and_file_and_what_cannot_work_is_refused() {
    let swarm = |words: &[&str]| {
        config(&[&["swarm", "--plugins-dir", "/tmp/p", "--state-dir", "/tmp/s"], words].concat())
    };
    let read = swarm(&["--docker-host", "unix:///tmp/s", "--print-config"]).expect("fine");
    let Mode::Swarm(mode) = &read.mode else { panic!("{:?}", read.mode) };
    assert_eq!((mode.engine.host.as_str(), mode.cluster.as_str()), ("unix:///tmp/s", "default"));
    assert_eq!((mode.poll, mode.lease_ttl), (Duration::from_secs(1), Duration::from_secs(10)));
    assert_eq!(read.timing.ttl(), Duration::from_millis(250));
    let shown = read.print.expect("asked for");
    assert!(shown.contains("docker-host = \"unix:///tmp/s\"  # flag --docker-host\n"), "{shown}");
    let file = file("docker-host = \"tcp://127.0.0.1:2375\"\nlease-ttl = \"20s\"\n");
    let read = swarm(&["--docker-host", "", "--config", file.path().to_str().expect("text")]).expect("fine");
    let Mode::Swarm(mode) = &read.mode else { panic!("{:?}", read.mode) };
    assert_eq!(
        (mode.engine.host.as_str(), mode.lease_ttl),
        ("tcp://127.0.0.1:2375", Duration::from_secs(20))
    );
    for (words, blamed) in [
        (&["--docker-host", "ssh://x"][..], "--docker-host"),
        (&["--poll", "10s"][..], "--poll"),
        (&["--lease-ttl", "1s"][..], "--lease-ttl"),
        (&["--cluster", "A B"][..], "--cluster"),
        (&["--authority", "6s"][..], "--authority"),
    ] {
        let why = swarm(words).expect_err(blamed);
        assert!(why.contains(blamed), "{words:?}: {why}");
    }
}

#[test]
fn a_duration_is_read_with_its_unit_or_not_at_all() {
    assert_eq!(duration("100ms"), Ok(Duration::from_millis(100)));
    assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
    assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
    for bad in ["", "5", "s", "5 s", "-1s", "5d", "1.5s", "99999999999999999999s", "18446744073709551615h"] {
        assert!(duration(bad).is_err(), "{bad}");
    }
}

//! Wrong use, help, versions, configuration.

use crate::support::fake::directory;
use crate::support::{Fake, Om};

#[test]
fn wrong_use_ends_with_2() {
    let om = Om::default();
    for args in [&["dance"][..], &[], &["commit"], &["ls", "--what"], &["run", "web"], &["ls", "-o", "xml"]] {
        let ended = om.run(args).code(2);
        assert!(!ended.stderr.is_empty() && ended.stdout.is_empty(), "{ended:#?}");
    }
    let ended = om.run(["ls", "--timeout", "soon"]).code(2);
    assert_eq!(
        ended.stderr,
        "error: the timeout \"soon\" is no duration above zero\n  hint: write it as 30s, 500ms or 2m\n"
    );
}

#[test]
fn wrong_use_is_told_to_programs_as_json() {
    let (reason, message, hint) = Om::default().run(["ls", "--what", "-o", "json"]).code(2).error();
    assert_eq!(reason, "USAGE");
    assert_eq!(message, "unexpected argument '--what' found");
    assert!(hint.contains("Usage: om ls"), "{hint}");
}

#[test]
fn help_and_versions_go_to_stdout() {
    let om = Om::default();
    let version = format!("om {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(om.run(["--version"]).fine().stdout, version);
    assert_eq!(om.run(["version"]).fine().stdout, version);
    assert_eq!(om.run(["version", "-o", "json"]).fine().json()["version"], env!("CARGO_PKG_VERSION"));
    let help = om.run(["--help"]).fine().stdout;
    for word in ["commit", "snapshot", "Exit codes", "OM_ENDPOINT"] {
        assert!(help.contains(word), "{help}");
    }
    assert!(om.run(["commit", "--help"]).fine().stdout.contains("--pretend"));
}

#[test]
fn completions_are_printed_for_shells() {
    let om = Om::default();
    for shell in ["bash", "zsh", "fish"] {
        assert!(om.run(["completions", shell]).fine().stdout.contains("om"), "{shell}");
    }
    om.run(["completions", "dos"]).code(2);
    // What asks no manager needs to know of none.
    om.env("OM_ENDPOINT", "nonsense").run(["completions", "bash"]).fine();
}

#[test]
fn a_file_gives_defaults_that_the_environment_and_flags_beat() {
    let dir = directory();
    let (a, b) = (Fake::serve(dir.path(), "a"), Fake::serve(dir.path(), "b"));
    let path = dir.path().join("om.toml");
    let text = format!("name = \"a\"\noutput = \"json\"\nplugins-dir = {:?}\ntimeout = \"9s\"\n", dir.path());
    std::fs::write(&path, text).unwrap();
    let om = Om::default().env("OM_CONFIG", &path);
    assert_eq!(om.run(["ls"]).fine().stdout, "[]\n");
    assert_eq!(om.clone().env("OM_NAME", "b").run(["ls"]).fine().stdout, "[]\n");
    assert_eq!(Om::default().run(["ls", "--config", path.to_str().unwrap()]).fine().stdout, "[]\n");
    om.env("OM_NAME", "b").run(["ls", "--name", "a"]).fine();
    assert_eq!((a.calls("list").len(), b.calls("list").len()), (3, 1));
}

#[test]
fn a_wrong_file_is_named_with_line_and_column() {
    let dir = directory();
    let path = dir.path().join("om.toml");
    std::fs::write(&path, "name = \"a\"\n  nam = \"b\"\n").unwrap();
    let config = path.to_str().unwrap();
    let ended = Om::default().run(["ls", "--config", config, "-o", "json"]).code(2);
    let (reason, message, hint) = ended.error();
    assert_eq!((reason, message), ("USAGE".to_owned(), format!("{config}: unknown key \"nam\"")));
    assert!(hint.contains("plugins-dir"), "{hint}");
    // The manager reads the variable too, and has keys of its own.
    Om::within(dir.path()).env("OM_CONFIG", config).run(["ls"]).code(6);
    std::fs::write(&path, "name = \"a\"\ntimeout = 5\n").unwrap();
    let ended = Om::default().env("OM_CONFIG", config).run(["ls"]).code(2);
    assert!(ended.stderr.contains("om.toml:"), "{ended:#?}");
    std::fs::write(&path, "name = \"a\"\n\n  endpoint \n").unwrap();
    let ended = Om::default().run(["ls", "--config", config]).code(2);
    assert!(ended.stderr.starts_with(&format!("error: {config}:3:12: ")), "{ended:#?}");
    Om::default().run(["ls", "--config", "/nowhere/om.toml"]).code(2);
    Om::default().env("OM_OUTPUT", "xml").run(["ls"]).code(2);
}

#[test]
fn a_reader_that_has_gone_away_is_no_error() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().services = (0..5000)
        .map(|index| crate::support::summary(&format!("s{index}"), 1, om_api::v1::Phase::Ready, "well"))
        .collect();
    for format in ["table", "json", "yaml"] {
        let mut child = Om::within(dir.path()).args(["ls", "-o", format]).spawn();
        drop(child.stdout.take());
        crate::support::program::end(child).fine();
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let dir = directory();
    let _fake = Fake::serve(dir.path(), "service");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Om::within(dir.path()).args(["ls", "-o", "json"]).command();
    let ended = command.stdout(full).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert!(
        stderr.contains("\"reason\":\"OUTPUT\"") && stderr.contains("No space left on device"),
        "{stderr}"
    );
}

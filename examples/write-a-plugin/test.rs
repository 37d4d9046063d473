//! The example as a real process, driven over its socket as a manager does it.

#![expect(clippy::expect_used, reason = "these are tests; the lint knows only the test functions themselves")]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use om_api::v1::Phase;
use om_api::{Error, Reason, clock};
use om_plugin_sdk::testing::{Attendance, Manager, PATIENCE};

const LONG: Duration = Duration::from_secs(60);

struct Bed {
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Bed {
    fn new() -> Self {
        let mut bed = Self { dir: tempfile::tempdir().expect("a directory"), child: None };
        bed.start();
        bed
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_write-a-plugin"));
        command.arg("--plugins-dir").arg(self.dir.path().join("plugins")).args(["--host", "here"]);
        command.stderr(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    fn start(&mut self) {
        self.child = Some(self.command().stderr(Stdio::inherit()).spawn().expect("starts"));
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().expect("runs").id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().expect("kill");
        assert!(sent.success());
    }

    /// `kill -9`.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("reaped");
        }
    }

    async fn exit(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("runs");
        let give_up = clock::since_boot() + PATIENCE;
        loop {
            match child.try_wait().expect("its child") {
                Some(status) => return status,
                None if clock::since_boot() > give_up => {
                    child.kill().expect("killed");
                    panic!("it did not exit within {PATIENCE:?}");
                }
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("plugins/file")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn spec(&self, name: &str, content: &str) -> String {
        serde_json::json!({ "path": self.file(name), "content": content }).to_string()
    }

    async fn attended(&self, term: u64, authority: Duration) -> (Manager, Attendance) {
        let manager = Manager::connect(&self.socket(), "store", term).await.expect("connects");
        let session = manager.attend(authority).await.expect("opened");
        (manager, session)
    }

    async fn until_content(&self, name: &str, content: &str) {
        let path = self.file(name);
        let waiting = async {
            while fs::read_to_string(&path).ok().as_deref() != Some(content) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.unwrap_or_else(|_| panic!("{path:?} is {:?}, not {content:?}", fs::read_to_string(&path)));
    }
}

#[tokio::test]
async fn a_file_is_made_kept_changed_moved_shown_and_removed() {
    let bed = Bed::new();
    let (manager, session) = bed.attended(1, LONG).await;
    let plan = manager.plan("file", "motd", &bed.spec("a", "one\ntwo\n")).await.expect("fine").plan;
    assert_eq!(plan, [format!("write {}", bed.file("a").display())]);
    manager.commit("file", "motd", &bed.spec("a", "one\ntwo\n"), 1, b"").await.expect("accepted");
    session.until_phase("motd", Phase::Ready).await.expect("made");
    bed.until_content("a", "one\ntwo\n").await;

    fs::write(bed.file("a"), "vandals").expect("written");
    bed.until_content("a", "one\ntwo\n").await;
    fs::remove_file(bed.file("a")).expect("removed");
    bed.until_content("a", "one\ntwo\n").await;
    assert_eq!(manager.run("motd", "show", &[("lines", "1")]).await.expect("shown"), "one\n");

    manager.commit("file", "motd", &bed.spec("b", "three"), 2, b"").await.expect("accepted");
    bed.until_content("b", "three").await;
    let at_two = |seen: &om_plugin_sdk::testing::Seen| {
        seen.statuses.get("motd").is_some_and(|s| s.revision == 2 && s.phase() == Phase::Ready)
    };
    session.until("ready at 2", at_two).await.expect("made");
    assert!(!bed.file("a").exists(), "the old file goes with the old path");
    let member = manager.describe("motd").await.expect("there").members.remove(0);
    assert_eq!((member.phase.as_str(), member.host.as_str()), ("in place", "here"));
    assert_eq!(member.address, bed.file("b").display().to_string());

    assert!(manager.destroy("file", "motd", &bed.spec("b", "three"), b"").await.expect("accepted").done);
    assert!(!bed.file("b").exists());
}

#[tokio::test]
async fn a_bad_spec_is_refused_with_the_field_to_blame() {
    let bed = Bed::new();
    let manager = Manager::connect(&bed.socket(), "store", 1).await.expect("connects");
    for (spec, field) in [
        (r#"{"path": "/a", "contents": ""}"#, "spec.contents"),
        (r#"{"path": "relative", "content": ""}"#, "spec.path"),
        (r#"{"path": "/a", "content": 7}"#, "spec.content"),
    ] {
        let status = manager.plan("file", "motd", spec).await.expect_err("refused");
        let error = Error::from_status(&status).expect("ours");
        assert_eq!((error.reason, error.metadata["field"].as_str()), (Reason::InvalidSpec, field));
    }
}

#[tokio::test]
async fn a_file_of_somebody_else_is_not_touched() {
    let bed = Bed::new();
    fs::write(bed.file("a"), "precious").expect("written");
    let (manager, session) = bed.attended(1, LONG).await;
    manager.commit("file", "motd", &bed.spec("a", "ours"), 1, b"").await.expect("accepted");
    let status = session.until_phase("motd", Phase::Failed).await.expect("said");
    assert!(status.message.contains("was not made by this service"), "{}", status.message);
    assert_eq!(fs::read_to_string(bed.file("a")).expect("there"), "precious");
    fs::remove_file(bed.file("a")).expect("moved away");
    session.until_phase("motd", Phase::Ready).await.expect("tried again");
}

#[tokio::test]
async fn a_paused_plugin_that_wakes_after_its_deadline_touches_nothing() {
    let authority = Duration::from_secs(3);
    let bed = Bed::new();
    let (manager, session) = bed.attended(1, authority).await;
    manager.commit("file", "motd", &bed.spec("a", "one"), 1, b"").await.expect("accepted");
    bed.until_content("a", "one").await;
    bed.signal("-STOP");
    let stopped = clock::since_boot();
    fs::write(bed.file("a"), "by the next leader").expect("written");
    while clock::since_boot() < stopped + authority {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bed.signal("-CONT");
    let end = session.until_ended().await.expect("ends").expect("with a reason");
    assert_eq!(Error::from_status(&end).expect("ours").reason, Reason::Fenced);
    assert_eq!(fs::read_to_string(bed.file("a")).expect("there"), "by the next leader");

    // A leader that attends it anew has its word.
    let saved = session.saved("motd").expect("saved");
    let (manager, _session) = bed.attended(2, LONG).await;
    manager.commit("file", "motd", &bed.spec("a", "one"), 1, &saved).await.expect("accepted");
    bed.until_content("a", "one").await;
}

#[tokio::test]
async fn a_killed_plugin_comes_back_and_knows_its_file_by_what_the_manager_kept() {
    let mut bed = Bed::new();
    let (manager, session) = bed.attended(1, LONG).await;
    manager.commit("file", "motd", &bed.spec("a", "one"), 1, b"").await.expect("accepted");
    bed.until_content("a", "one").await;
    let saved = session.saved("motd").expect("saved before the file was made");
    bed.kill();
    session.until_ended().await.expect("noticed");
    fs::write(bed.file("a"), "vandals").expect("written");
    bed.start();
    let (manager, session) = bed.attended(1, LONG).await;
    session.until("stopped", |seen| seen.stopped).await.expect("said: another process has nothing to stop");
    manager.commit("file", "motd", &bed.spec("a", "one"), 1, &saved).await.expect("accepted");
    bed.until_content("a", "one").await;
    manager.free("motd").await.expect("freed");
    fs::write(bed.file("a"), "free").expect("written");
    // Another service shows that the plugin goes on, past several looks.
    manager.commit("file", "other", &bed.spec("b", "x"), 2, b"").await.expect("accepted");
    for _ in 0..3 {
        bed.until_content("b", "x").await;
        fs::remove_file(bed.file("b")).expect("removed");
    }
    bed.until_content("b", "x").await;
    assert_eq!(fs::read_to_string(bed.file("a")).expect("left"), "free");
}

#[tokio::test]
async fn a_file_on_another_host_is_not_made_twice() {
    let bed = Bed::new();
    let (manager, session) = bed.attended(1, LONG).await;
    let state = serde_json::json!({ "host": "there", "paths": [bed.file("a")] }).to_string();
    manager.commit("file", "motd", &bed.spec("a", "one"), 1, state.as_bytes()).await.expect("accepted");
    let status = session.until_phase("motd", Phase::Degraded).await.expect("said");
    assert!(status.message.contains("there"), "{}", status.message);
    assert_eq!(manager.describe("motd").await.expect("there").members[0].phase, "elsewhere");
    assert!(!bed.file("a").exists());
}

#[tokio::test]
async fn sigterm_releases_and_ends_with_zero() {
    let mut bed = Bed::new();
    let (manager, session) = bed.attended(1, LONG).await;
    manager.commit("file", "motd", &bed.spec("a", "one"), 1, b"").await.expect("accepted");
    bed.until_content("a", "one").await;
    bed.signal("-TERM");
    session.until("released", |seen| seen.released).await.expect("said");
    drop((manager, session));
    assert!(bed.exit().await.success());
    assert!(!bed.socket().exists());
    assert_eq!(fs::read_to_string(bed.file("a")).expect("stays"), "one");
}

#[tokio::test]
async fn it_serves_until_it_is_told_to_stop_however_little_it_logs() {
    let mut bed = Bed::new();
    bed.kill();
    bed.child = Some(bed.command().args(["--log", "0"]).spawn().expect("starts"));
    let (manager, session) = bed.attended(1, LONG).await;
    manager.commit("file", "a", &bed.spec("a", "one"), 1, b"").await.expect("accepted");
    session.until_phase("a", Phase::Ready).await.expect("made");
    bed.signal("-TERM");
    session.until("released", |seen| seen.released).await.expect("said");
    drop((manager, session));
    assert!(bed.exit().await.success());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut bed = Bed::new();
    Manager::connect(&bed.socket(), "store", 1).await.expect("serves");
    // A caller that says nothing and does not hang up: the plugin waits for it some seconds.
    let _caller = std::os::unix::net::UnixStream::connect(bed.socket()).expect("connects");
    bed.signal("-TERM");
    bed.signal("-INT");
    assert_eq!(bed.exit().await.code(), Some(1));
}

#[tokio::test]
async fn wrong_use_has_its_exit_code_and_says_what_to_do() {
    let bed = Bed::new();
    Manager::connect(&bed.socket(), "store", 1).await.expect("serves");
    let run = |args: &[&str]| -> Output { bed.command().args(args).output().expect("runs") };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();

    let second = run(&[]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("already served"), "{}", text(&second.stderr));
    let wrong = run(&["--socket-mode", "rw"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("octal"), "{}", text(&wrong.stderr));
    assert_eq!(run(&["--log", "9"]).status.code(), Some(2));
    assert_eq!(run(&["--name", "a/b"]).status.code(), Some(2));
    let version = run(&["--version"]);
    assert_eq!(text(&version.stdout), format!("om-plugin-file {}\n", env!("CARGO_PKG_VERSION")));
    assert!(text(&run(&["--help"]).stdout).contains("--plugins-dir"));

    let mut completions = Command::new(env!("CARGO_BIN_EXE_write-a-plugin"));
    let script = completions.args(["completions", "bash"]).output().expect("runs");
    assert!(script.status.success());
    assert!(text(&script.stdout).contains("om-plugin-file"));
}

//! `examples/etcd/up`, as a user runs it: three members of etcd, three managers, a plugin; and nothing left at its end.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use om_system_tests::{Bed, Output, Program, SOON, free_ports, part, process, record, wait_for, wait_until};

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("examples/etcd/up")
}

// One run of it.
struct Up<'a> {
    bed: &'a Bed,
    program: Arc<Program>,
    port: u16,
}

impl<'a> Up<'a> {
    fn start(bed: &'a Bed, args: &[&str]) -> Self {
        Self::start_at(bed, free_ports(34), args)
    }

    fn start_at(bed: &'a Bed, port: u16, args: &[&str]) -> Self {
        let mut command = command(bed);
        command.args(["--port", &port.to_string()]).args(args);
        // A log of its own each time.
        let name = format!("up-{}", uuid::Uuid::new_v4().simple());
        let up = Self { bed, program: bed.start(&name, command), port };
        wait_until("it to say who leads", SOON * 2, || {
            assert!(up.program.is_alive(), "it ended:\n{}", up.program.log_tail());
            up.program.find(0, &["leads. in another terminal"]).is_some()
        });
        up
    }

    // Where it says that its data is.
    fn dir(&self) -> PathBuf {
        let (line, _) = self.program.find(0, &["/env"]).expect("what to read into a shell");
        PathBuf::from(line.trim().trim_start_matches(". ").trim_end_matches("/env"))
    }

    // A line of shell, in a terminal beside it.
    fn shell(&self, line: &str) -> Output {
        let mut command = clean(self.bed, Command::new("bash"));
        command.arg("-c").arg(format!(". {}/env; {line}", self.dir().display()));
        self.bed.run(command, "")
    }

    fn leader(&self) -> String {
        wait_for("somebody to lead", SOON, || {
            let name = self.shell("leader").stdout.trim().to_owned();
            ["a", "b", "c"].contains(&&*name).then_some(name)
        })
    }

    fn end(&self) {
        self.program.terminate();
        let status = self.program.wait_exit(SOON);
        assert!(status.success(), "{status}:\n{}", self.program.log_tail());
        self.bed.wait_no_stray();
        for port in self.port..self.port + 34 {
            assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "port {port} is still served");
        }
    }
}

fn clean(bed: &Bed, mut command: Command) -> Command {
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", bed.path("home"));
    command.env("TMPDIR", bed.path("tmp")).envs(bed.marking()).current_dir(bed.path("tmp"));
    command
}

fn command(bed: &Bed) -> Command {
    fs::create_dir_all(bed.path("tmp")).expect("a directory");
    let mut command = clean(bed, Command::new(script()));
    command.arg("--bin").arg(bed.binary("om-manager").parent().expect("a directory"));
    command
}

fn etcd() -> bool {
    part("etcd", Command::new("etcd").arg("--version").output().is_ok_and(|output| output.status.success()))
}

#[test]
fn one_command_starts_three_replicas_that_outlive_their_leader_and_ends_all_of_it() {
    if !etcd() {
        return;
    }
    let bed = Bed::new();
    let up = Up::start(&bed, &[]);
    let port = free_ports(2);
    bed.write("tmp/web.json", process(&bed, "web", 2, port).document());
    let committed = up.shell("om -o json commit --wait web.json").json();
    assert_eq!(committed[0]["phase"], "ready", "{committed}");

    let old = up.leader();
    up.shell("kill -9 $(pid_of $(leader))").done();
    let new = wait_for("another to lead", SOON, || Some(up.leader()).filter(|name| *name != old));
    wait_until("the service to be looked after", SOON, || {
        up.shell("om -o json ls").json()[0]["phase"] == "ready"
    });
    assert_eq!(record::processes(&bed.member_record()), 2, "the members were not started anew");
    let (_, at) = up.program.wait_log(0, &[&format!("{old} "), "ended by SIGKILL"], SOON);
    up.program.wait_log(at, &[&format!("{old} "), "is started again"], SOON);
    up.program.wait_log(0, &["leadership", &new], SOON);

    // Back at the first, in order, once it lives again. Who has only just begun may be forestalled by the third: nobody is
    // waited for for long.
    let handed = format!("om handover {old}");
    wait_until("a handover to who was killed", SOON, || {
        up.shell(&handed);
        up.leader() == old
    });

    up.end();
    assert_eq!(fs::read_dir(bed.path("tmp")).expect("a directory").count(), 1, "only the test's own file");
}

#[test]
fn with_a_directory_of_its_own_it_goes_on_where_it_was() {
    if !etcd() {
        return;
    }
    let bed = Bed::new();
    let dir = bed.path("kept");
    let kept = ["--dir", dir.to_str().expect("text")];
    let port = free_ports(1);
    bed.write("web.json", process(&bed, "web", 1, port).document());
    let up = Up::start(&bed, &kept);
    up.shell("om commit --wait ../web.json").done();

    // Another one beside it has neither its directory nor its ports.
    let mut same = command(&bed);
    same.args(kept);
    let refused = bed.run(same, "");
    assert!(refused.code == 1 && refused.stderr.contains("is taken"), "{refused:?}");
    let mut same = command(&bed);
    same.args(["--port", &up.port.to_string()]);
    let refused = bed.run(same, "");
    assert!(refused.code == 1 && refused.stderr.contains("is taken"), "{refused:?}");
    assert!(refused.stderr.contains("--port"), "{refused:?}");
    up.end();

    // Where else could its etcd be found?
    let mut other = command(&bed);
    other.args(kept).args(["--port", &free_ports(34).to_string()]);
    let refused = bed.run(other, "");
    let made = format!("was made with --port {}", up.port);
    assert!(refused.code == 1 && refused.stderr.contains(&made), "{refused:?}");

    let up = Up::start_at(&bed, up.port, &kept);
    wait_until("the service to be there again", SOON, || {
        up.shell("om -o json ls").json()[0]["phase"] == "ready"
    });
    up.end();
    assert!(dir.join("etcd").is_dir(), "it is kept");
}

#[test]
fn what_is_missing_is_told_with_how_to_get_it() {
    let bed = Bed::new();
    let mut command = command(&bed);
    command.args(["--bin", "/does/not/exist"]);
    let refused = bed.run(command, "");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("cargo build --bins") && refused.stderr.contains("--bin"), "{refused:?}");

    // A PATH with everything that the script itself needs, but etcd.
    let tools = bed.path("tools");
    fs::create_dir_all(&tools).expect("a directory");
    for tool in ["bash", "env", "dirname", "setsid", "setpriv"] {
        let found =
            ["/usr/bin", "/bin"].map(|dir| Path::new(dir).join(tool)).into_iter().find(|path| path.exists());
        std::os::unix::fs::symlink(found.expect(tool), tools.join(tool)).expect("a link");
    }
    let mut command = self::command(&bed);
    command.env("PATH", &tools);
    let refused = bed.run(command, "");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("apt-get install etcd-server"), "{refused:?}");

    let mut command = self::command(&bed);
    command.args(["--port", "80"]);
    let refused = bed.run(command, "");
    assert!(refused.code == 2 && refused.stderr.contains("usage:"), "{refused:?}");
    bed.wait_no_stray();
    assert!(!bed.path("tmp").read_dir().expect("a directory").any(|_| true), "nothing was made");
}

#[test]
fn it_leaves_nothing_when_it_is_killed_itself() {
    if !etcd() {
        return;
    }
    let bed = Bed::new();
    let up = Up::start(&bed, &[]);
    up.program.kill();
    // Its programs end with it: no leader steers what nobody started.
    bed.wait_no_stray();
}

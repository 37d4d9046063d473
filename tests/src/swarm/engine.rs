//! One Docker engine of its own, in a host of a net.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::leftovers;
use crate::{Host, Net, Output, Program, SOON, procfs, wait_until};

/// The image that every engine of the tests has, a busybox; [`IMAGE_2`] is the same under another name.
pub const IMAGE: &str = "om-test:1";
/// What to update to.
pub const IMAGE_2: &str = "om-test:2";

/// A `dockerd` with data, containers and a host name of its own. Beside it the node has a process that does nothing and
/// outlives it, as the machine outlives a daemon: it holds the mounts, so that containers and shims are found again when
/// the daemon was killed and is back. In the node all nodes are known by their names, and the engine has the usual socket,
/// too. When it is dropped, also by a panic, nothing of it is left.
pub struct Engine {
    name: String,
    host: Host,
    // Short: the path of a socket has at most 107 bytes.
    dir: tempfile::TempDir,
    holder: Program,
    more: Vec<String>,
    daemon: Mutex<Option<Arc<Program>>>,
}

impl Engine {
    /// Whether engines can be made here: by root, with `dockerd`, `docker` and `busybox`.
    #[must_use]
    pub fn possible() -> bool {
        let runs = |program: &str, arg: &str| {
            let mut command = Command::new(program);
            command.arg(arg).env("PATH", super::PATH);
            command.output().is_ok_and(|output| output.status.success())
        };
        Net::possible()
            && runs("dockerd", "--version")
            && runs("docker", "--version")
            && runs("busybox", "--list")
    }

    /// An engine without a Swarm, running, in a net of its own: with the default bridge, and ports published in its host.
    #[must_use]
    pub fn alone() -> Self {
        Self::alone_with(&[])
    }

    /// The same, with more arguments for `dockerd`.
    #[must_use]
    pub fn alone_with(more: &[&str]) -> Self {
        let engine = Self::plan(&Net::new(1).host(0), &[&["--bip=10.78.0.1/24"], more].concat());
        engine.start();
        engine.wait_answering();
        engine.load();
        engine
    }

    /// An engine that does not run yet.
    pub(super) fn plan(host: &Host, more: &[&str]) -> Self {
        leftovers::sweep();
        let dir = tempfile::Builder::new().prefix(&leftovers::prefix()).rand_bytes(4).tempdir();
        let dir = dir.expect("a directory");
        let name = name(host);
        fs::write(dir.path().join("hosts"), names(host)).expect("a file");
        let mut hold = host.command("unshare");
        hold.env_clear().env("PATH", super::PATH).args(["--mount", "--uts", "--", "sh", "-ec", HOLD, "sh"]);
        hold.arg(dir.path()).arg(&name);
        let holder = Program::start(&name, hold, dir.path().join("holder.log"));
        wait_until(&format!("{name} to be prepared"), SOON, || {
            assert!(holder.is_alive(), "{name}: {}", holder.log());
            holder.log().contains("ready")
        });
        let more = more.iter().map(|&arg| arg.to_owned()).collect();
        Self { name, host: host.clone(), dir, holder, more, daemon: Mutex::default() }
    }

    /// Its name as a node of a Swarm and as `docker info` says it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it runs.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    /// Its socket, as `DOCKER_HOST` has it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The daemon's process.
    ///
    /// # Panics
    /// If it was never started.
    #[must_use]
    pub fn daemon(&self) -> Arc<Program> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner).clone().expect("a daemon")
    }

    /// Starts the daemon, with the data that it has. It does not answer yet.
    pub fn start(&self) {
        let dir = self.dir.path();
        let mut command = self.host.command("nsenter");
        for namespace in ["mnt", "uts"] {
            let flag = if namespace == "mnt" { "mount" } else { namespace };
            command.arg(format!("--{flag}=/proc/{}/ns/{namespace}", self.holder.pid()));
        }
        command.args(["--", "dockerd", "--host", &self.url(), "--host", USUAL]);
        command.args(["--iptables=false", "--ip6tables=false"]);
        for (flag, name) in [("data-root", "d"), ("exec-root", "e"), ("pidfile", "pid")] {
            command.arg(format!("--{flag}")).arg(dir.join(name));
        }
        command.arg(format!("--cgroup-parent=/{}", self.mark())).args(&self.more);
        command
            .current_dir(dir)
            .env_clear()
            .env("PATH", super::PATH)
            .env("HOME", dir)
            .env(procfs::MARK, self.mark());
        let daemon = Program::start(&self.name, command, dir.join("log"));
        *self.daemon.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(daemon));
    }

    /// Waits until the daemon answers.
    #[track_caller]
    pub fn wait_answering(&self) {
        wait_until(&format!("the engine {} to answer", self.name), SOON, || {
            let daemon = self.daemon();
            assert!(daemon.is_alive(), "{} ended:\n{}", self.name, daemon.log_tail());
            self.ask(&["version"]).code == 0
        });
    }

    /// Kills the daemon (`kill -9`), and with it its containerd; containers go on. Gives the moment before.
    pub fn kill(&self) -> Duration {
        let before = self.daemon().kill();
        // The next daemon would take a containerd that nobody has reaped for one that runs, and wait for it.
        let file = self.dir.path().join("e/containerd/containerd.pid");
        if let Some(pid) = fs::read_to_string(&file).ok().and_then(|pid| pid.trim().parse().ok()) {
            wait_until(&format!("{}'s containerd to be dead", self.name), SOON, || !procfs::is_alive(pid));
            let _ = fs::remove_file(file);
        }
        before
    }

    /// Starts the daemon again after it was killed, and waits until it answers.
    #[track_caller]
    pub fn restart(&self) {
        self.start();
        self.wait_answering();
    }

    /// Stops the daemon where it stands (SIGSTOP): its socket accepts, and nobody answers. Gives the moment after.
    pub fn freeze(&self) -> Duration {
        self.daemon().freeze()
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.daemon().thaw();
    }

    /// What `docker` says, by this engine; given up after 20 s.
    #[must_use]
    pub fn ask(&self, args: &[&str]) -> Output {
        self.ask_within(20, args)
    }

    /// The same, given up after so many seconds.
    pub(super) fn ask_within(&self, seconds: u32, args: &[&str]) -> Output {
        let asked = format!("docker {args:?} at {}", self.name);
        let output = self.command(seconds, args).output().expect("docker");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let code = output.status.code().unwrap_or(128);
        Output { asked, code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// The same, where it has to succeed: what it printed.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn docker(&self, args: &[&str]) -> String {
        let output = self.ask(args);
        output.done();
        output.stdout
    }

    /// The same, a line each.
    #[track_caller]
    pub fn lines(&self, args: &[&str]) -> Vec<String> {
        self.docker(args).lines().map(str::to_owned).collect()
    }

    /// Loads the images.
    pub(super) fn load(&self) {
        let mut command = Command::new("sh");
        command.args(["-ec", LOAD, "sh"]).arg(self.dir.path().join("root")).args([IMAGE, IMAGE_2]);
        command
            .env_clear()
            .env("PATH", super::PATH)
            .env("HOME", self.dir.path())
            .env("DOCKER_HOST", self.url());
        let output = command.output().expect("sh");
        assert!(output.status.success(), "no image: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// `docker`, by this engine, killed after so many seconds.
    #[must_use]
    pub fn command(&self, seconds: u32, args: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--signal=KILL", &seconds.to_string(), "docker"]).args(args);
        command
            .env_clear()
            .env("PATH", super::PATH)
            .env("HOME", self.dir.path())
            .env("DOCKER_HOST", self.url());
        command
    }

    /// Living processes of the node: daemon, shims, containers.
    #[must_use]
    pub fn processes(&self) -> Vec<i32> {
        leftovers::processes(self.dir.path())
    }

    /// Its directory, by whose name its cgroups are known too.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn mark(&self) -> String {
        self.dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Where containers that are to use their node's engine expect it.
const USUAL: &str = "unix:///var/run/docker.sock";

fn name(host: &Host) -> String {
    format!("node-{}", host.number())
}

/// The names of all hosts of its net, as `/etc/hosts` has them.
fn names(host: &Host) -> String {
    let line = |host: &Host| format!("{} {}\n", host.address(), name(host));
    host.net().hosts().iter().fold("127.0.0.1 localhost\n".to_owned(), |all, host| all + &line(host))
}

/// The directory is seen as a mount by all that belongs to the node. `/run` of its own, for the sockets of the daemon and
/// its containerd.
const HOLD: &str = r#"
mount --bind "$1" "$1"
mount -t tmpfs none /run
mount --bind "$1/hosts" /etc/hosts
echo "$2" > /proc/sys/kernel/hostname
echo ready
exec sleep infinity"#;

/// No registry is asked: the root is a busybox and its names.
const LOAD: &str = r#"
mkdir -p "$1/bin" "$1/tmp" "$1/etc"
for name in $(busybox --list); do ln -sf busybox "$1/bin/$name"; done
cp --remove-destination "$(command -v busybox)" "$1/bin/busybox"
tar -C "$1" -c . | docker import - "$2"
docker tag "$2" "$3""#;

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(daemon) = self.daemon.get_mut().unwrap_or_else(PoisonError::into_inner) {
            if std::thread::panicking() {
                let log = daemon.log_tail();
                let lines: Vec<_> = log.lines().filter(|line| !line.contains("level=info")).collect();
                eprintln!("---- log of the engine {} (end)\n{}", self.name, lines.join("\n"));
            }
            daemon.kill();
        }
        leftovers::remove(self.dir.path());
        self.holder.kill();
    }
}

/// Whether anything of a node's directory is left on the machine: the directory, a process, a cgroup.
#[must_use]
pub fn left_of(dir: &Path) -> Vec<String> {
    let mut left: Vec<String> =
        leftovers::processes(dir).iter().map(|pid| format!("process {pid}")).collect();
    let name = Path::new(dir.file_name().unwrap_or_default());
    left.extend(leftovers::cgroups(name).iter().map(|at| at.display().to_string()));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    left.extend(mounts.lines().filter(|line| line.contains(&*dir.to_string_lossy())).map(str::to_owned));
    left.extend(dir.exists().then(|| dir.display().to_string()));
    left
}

//! A plugin process, a manager that remembers, and everything that members leave behind.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use om_api::v1::{Description, Member, Phase};
use om_api::{Error, clock};
use om_plugin_sdk::testing::{Attendance, Manager, PATIENCE};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// In the environment of all that a world's plugin starts.
const TRACE: &str = "WORLD_UNDER_TEST";
/// Longer than the machine is ever busy.
pub(crate) const AUTHORITY: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    trace: String,
    plugin: Option<Child>,
    pub(crate) host: String,
    pub(crate) term: u64,
    pub(crate) revision: u64,
    attended: Option<(Manager, Attendance)>,
    /// What the manager stores.
    pub(crate) states: HashMap<String, Bytes>,
}

impl World {
    /// A plugin that is attended.
    pub(crate) async fn new() -> Self {
        let mut world = Self {
            dir: tempfile::tempdir().unwrap(),
            trace: uuid::Uuid::new_v4().to_string(),
            plugin: None,
            host: "here".to_owned(),
            term: 0,
            revision: 0,
            attended: None,
            states: HashMap::new(),
        };
        world.start_plugin();
        world.attend().await;
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path("root")
    }

    pub(crate) fn start_plugin(&mut self) {
        let log = File::options().append(true).create(true).open(self.path("plugin.log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_om-plugin-process"))
            .arg("--plugins-dir")
            .arg(self.path("plugins"))
            .arg("--dir")
            .arg(self.root())
            .args(["--host", &self.host, "--log", "om=debug,info", "--log-bytes", "20000"])
            .env(TRACE, &self.trace)
            .env("OM_LOG_FORMAT", "text")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.plugin = Some(child);
    }

    /// As a power cut for the plugin alone.
    pub(crate) fn kill_plugin(&mut self) {
        let mut child = self.plugin.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        self.abandon();
    }

    /// Takes over what the session saved.
    pub(crate) fn remember(&mut self) {
        if let Some((_, attendance)) = &self.attended {
            for service in ["web", "api", "other"] {
                if let Some(state) = attendance.saved(service) {
                    self.states.insert(service.to_owned(), state);
                }
            }
        }
    }

    /// A session of a new term.
    pub(crate) async fn attend(&mut self) {
        self.remember();
        self.term += 1;
        let socket = self.path("plugins").join("process");
        let deadline = clock::since_boot() + PATIENCE;
        loop {
            let manager = Manager::connect(&socket, "test", self.term).await.unwrap();
            match manager.attend(AUTHORITY).await {
                Ok(attendance) => {
                    self.attended = Some((manager, attendance));
                    return;
                }
                // A process that the killed plugin was just making holds its socket until it executes the gate: whoever
                // connects to it is cut off then.
                Err(status) if Error::from_status(&status).is_none() && clock::since_boot() < deadline => {}
                Err(status) => panic!("not attended: {status:?}"),
            }
        }
    }

    /// The session breaks, as when the manager dies.
    pub(crate) fn abandon(&mut self) {
        self.remember();
        self.attended = None;
    }

    pub(crate) fn manager(&self) -> &Manager {
        &self.attended.as_ref().unwrap().0
    }

    pub(crate) fn attendance(&self) -> &Attendance {
        &self.attended.as_ref().unwrap().1
    }

    pub(crate) fn state(&mut self, service: &str) -> Value {
        self.remember();
        serde_json::from_slice(&self.states[service]).unwrap()
    }

    pub(crate) async fn commit(&mut self, service: &str, spec: &Value) {
        self.remember();
        self.revision += 1;
        let state = self.states.get(service).cloned().unwrap_or_default();
        let committed =
            self.manager().commit("process", service, &spec.to_string(), self.revision, &state).await;
        committed.unwrap();
    }

    pub(crate) async fn describe(&self, service: &str) -> Description {
        self.manager().describe(service).await.unwrap()
    }

    pub(crate) async fn members(&self, service: &str) -> Vec<Member> {
        self.describe(service).await.members
    }

    /// Waits for the service to be so.
    pub(crate) async fn until(
        &self,
        what: &str,
        service: &str,
        wanted: impl Fn(&Description) -> bool,
    ) -> Description {
        let deadline = clock::since_boot() + PATIENCE;
        loop {
            let found = self.describe(service).await;
            if wanted(&found) {
                return found;
            }
            let log = || fs::read_to_string(self.path("plugin.log")).unwrap_or_default();
            assert!(clock::since_boot() < deadline, "{service} never became {what}: {found:#?}\n{}", log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn until_phase(&self, service: &str, phase: Phase) -> Description {
        let wanted = |found: &Description| {
            let summary = found.summary.as_ref().unwrap();
            summary.phase() == phase && summary.revision == self.revision
        };
        self.until(&format!("{phase:?}"), service, wanted).await
    }

    pub(crate) async fn ready(&self, service: &str) -> Vec<Member> {
        self.until_phase(service, Phase::Ready).await.members
    }

    pub(crate) async fn destroy(&mut self, service: &str) {
        self.remember();
        let state = self.states.get(service).cloned().unwrap_or_default();
        until("destroyed", async || {
            let spec = json!({"command": ["true"], "stop": {"timeout": "1s"}}).to_string();
            self.manager().destroy("process", service, &spec, &state).await.unwrap().done
        })
        .await;
    }

    /// Pids of all that was started here and lives, the plugin left out.
    pub(crate) fn strays(&self) -> Vec<i32> {
        let plugin = self.plugin.as_ref().map(|child| i32::try_from(child.id()).unwrap());
        traced(&self.trace).into_iter().filter(|pid| Some(*pid) != plugin).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut plugin) = self.plugin.take() {
            let _ = plugin.kill();
            let _ = plugin.wait();
        }
        for _ in 0..100 {
            let left = traced(&self.trace);
            if left.is_empty() {
                return;
            }
            left.into_iter().for_each(kill);
        }
    }
}

fn traced(trace: &str) -> Vec<i32> {
    let mark = format!("{TRACE}={trace}");
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
    })
    .collect()
}

/// `kill -9`.
pub(crate) fn kill(pid: i32) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
}

pub(crate) fn alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

pub(crate) fn pid(member: &Member) -> i32 {
    member.details.get("pid").unwrap_or_else(|| panic!("{member:?} has no pid")).parse().unwrap()
}

pub(crate) fn pids(members: &[Member]) -> Vec<i32> {
    members.iter().map(pid).collect()
}

pub(crate) fn phases(members: &[Member]) -> Vec<&str> {
    members.iter().map(|member| member.phase.as_str()).collect()
}

/// Lines of a file that may not be there yet.
pub(crate) fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut wanted: impl AsyncFnMut() -> bool) {
    let deadline = clock::since_boot() + PATIENCE;
    while !wanted().await {
        assert!(clock::since_boot() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A service of members that run this shell script.
pub(crate) fn script(members: u32, script: &str) -> Value {
    json!({"members": members, "command": ["sh", "-c", script], "stop": {"timeout": "5s"}})
}

/// A free range of ports, as good as one can tell.
pub(crate) fn free_ports(count: u16) -> u16 {
    use std::net::TcpListener;
    loop {
        let from = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let Some(last) = from.checked_add(count) else { continue };
        if (from..last).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return from;
        }
    }
}

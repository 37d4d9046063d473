//! Starting the programs, and waiting until they serve.

use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Arc;

use om_api::v1;

use crate::{Bed, Client, Engine, EtcdCluster, Program, SOON, wait_for, wait_until};

impl Bed {
    /// Starts a replica in `os` mode with the bed's leader file and state directory, and waits until it serves.
    pub fn manager(&self, name: &str, more: &[&str]) -> Arc<Program> {
        let program = self.start(name, self.manager_command(name, more));
        self.wait_serving(&program);
        program
    }

    /// The command that [`Bed::manager`] runs.
    #[must_use]
    pub fn manager_command(&self, name: &str, more: &[&str]) -> Command {
        let mut command = self.command("om-manager", &["os", "--name", name]);
        command.arg("--leader-file").arg(self.leader_file()).arg("--state-dir").arg(self.state());
        command.arg("--plugins-dir").arg(self.plugins()).args(more);
        if let Some(host) = self.host() {
            command.args(["--host", host]);
        }
        if !more.contains(&"--log") {
            command.args(["--log", "5"]);
        }
        command
    }

    /// Starts a replica in `etcd` mode, and waits until it serves.
    pub fn etcd_manager(&self, name: &str, etcd: &EtcdCluster<'_>, more: &[&str]) -> Arc<Program> {
        let program = self.start(name, self.etcd_manager_command(name, etcd, more));
        self.wait_serving(&program);
        program
    }

    /// The command that [`Bed::etcd_manager`] runs: it serves other replicas in the clear, for a net of hosts is as
    /// private as the loopback.
    #[must_use]
    pub fn etcd_manager_command(&self, name: &str, etcd: &EtcdCluster<'_>, more: &[&str]) -> Command {
        let mut command = self.command("om-manager", &["etcd", "--name", name, "--cluster", "test"]);
        let tcp = format!("tcp://{}", self.tcp(name));
        command.args(["--endpoints", &etcd.endpoints(), "--listen", &tcp, "--advertise", &tcp]);
        if !self.tcp(name).ip().is_loopback() {
            command.arg("--insecure");
        }
        command.arg("--plugins-dir").arg(self.plugins()).args(more);
        if let Some(host) = self.host() {
            command.args(["--host", host]);
        }
        if !more.contains(&"--log") {
            command.args(["--log", "5"]);
        }
        command
    }

    /// The command of a replica in `swarm` mode beside this engine; other replicas are served in the clear, as in `etcd` mode.
    #[must_use]
    pub fn swarm_manager_command(&self, name: &str, engine: &Engine, more: &[&str]) -> Command {
        let mut command = self.command("om-manager", &["swarm", "--name", name, "--cluster", "test"]);
        let tcp = format!("tcp://{}", self.tcp(name));
        command.args(["--docker-host", &engine.url(), "--listen", &tcp, "--advertise", &tcp, "--insecure"]);
        command.arg("--plugins-dir").arg(self.plugins()).args(more);
        if let Some(host) = self.host() {
            command.args(["--host", host]);
        }
        if !more.contains(&"--log") {
            command.args(["--log", "5"]);
        }
        command
    }

    /// Starts `om-manager dev`: manager, store and process plugin in one program, under the default name.
    pub fn dev(&self) -> Arc<Program> {
        let mut command = self.command("om-manager", &["dev", "--name", "service", "--log", "5"]);
        command.arg("--state-dir").arg(self.state()).arg("--plugins-dir").arg(self.plugins());
        let program = self.start("service", command);
        self.wait_serving(&program);
        self.wait_leading("service");
        program
    }

    /// Starts `om-plugin-process` under a name and waits until it serves.
    pub fn process_plugin(&self, name: &str) -> Arc<Program> {
        self.plugin("om-plugin-process", name)
    }

    /// Starts the recording plugin under a name and waits until it serves.
    pub fn recording_plugin(&self, name: &str) -> Arc<Program> {
        self.plugin("om-test-plugin", name)
    }

    /// Starts `om-plugin-docker` for the engine at this URL, under the name `docker`, and waits until it serves.
    pub fn docker_plugin(&self, url: &str) -> Arc<Program> {
        let mut command = self.plugin_command("om-plugin-docker", "docker");
        command.args(["--docker-host", url]);
        let program = self.start("docker", command);
        self.wait_serving(&program);
        program
    }

    fn plugin(&self, program: &str, name: &str) -> Arc<Program> {
        let program = self.start(name, self.plugin_command(program, name));
        self.wait_serving(&program);
        program
    }

    /// The command that starts a plugin program under a name.
    #[must_use]
    pub fn plugin_command(&self, program: &str, name: &str) -> Command {
        let mut command = self.command(program, &["--name", name, "--log", "5"]);
        command.arg("--plugins-dir").arg(self.plugins());
        if let Some(host) = self.host() {
            command.args(["--host", host]);
        }
        command
    }

    /// Waits until a program answers on the socket that has its name.
    ///
    /// # Panics
    /// If it ends, or does not answer soon.
    #[track_caller]
    pub fn wait_serving(&self, program: &Program) {
        wait_until(&format!("{} to serve", program.name()), SOON, || {
            assert!(program.is_alive(), "{} ended:\n{}", program.name(), program.log_tail());
            UnixStream::connect(self.socket(program.name())).is_ok()
                && Client::of(&self.socket(program.name())).handshake().is_ok()
        });
    }

    /// Waits until a replica says that it leads; gives its term.
    #[track_caller]
    pub fn wait_leading(&self, name: &str) -> u64 {
        let client = self.client(name);
        let leading = i32::from(v1::Leadership::Leading);
        wait_for(&format!("{name} to lead"), SOON, || {
            let status = client.status().ok()?;
            (status.leadership == leading).then_some(status.term)
        })
    }
}

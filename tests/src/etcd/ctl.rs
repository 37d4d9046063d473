//! What `etcdctl` is asked, each time at one member, so that a dead one is no matter.

use std::path::Path;
use std::process::Command;
use std::sync::PoisonError;

use serde_json::Value;

use super::{EtcdCluster, name};
use crate::{Output, SOON, wait_for, wait_until};

/// A member's own view.
struct Status {
    member: u64,
    leader: u64,
}

impl EtcdCluster<'_> {
    /// Runs `etcdctl ARGS` at a member, in its host.
    #[track_caller]
    pub fn ctl_at(&self, number: usize, args: &[&str]) -> Output {
        self.bed.run(self.ctl_command(number, args), "")
    }

    fn ctl_command(&self, number: usize, args: &[&str]) -> Command {
        let mut command = self.bed.placed(self.members[number].place.as_ref(), Path::new("etcdctl"));
        command.env("ETCDCTL_API", "3");
        command.args(["--endpoints", &self.endpoint(number), "--dial-timeout=500ms", "--command-timeout=2s"]);
        if let Some(login) = &*self.login.lock().unwrap_or_else(PoisonError::into_inner) {
            command.args(["--user", login]);
        }
        command.args(args);
        command
    }

    /// Runs `etcdctl ARGS` at the first member that lives.
    ///
    /// # Panics
    /// If none does.
    #[track_caller]
    pub fn ctl(&self, args: &[&str]) -> Output {
        let alive = (0..self.members.len()).find(|number| self.member(*number).is_alive());
        self.ctl_at(alive.expect("a living member of etcd"), args)
    }

    /// From now on `etcdctl` logs in as `USER:PASSWORD`.
    pub fn log_in(&self, login: &str) {
        *self.login.lock().unwrap_or_else(PoisonError::into_inner) = Some(login.to_owned());
    }

    /// The value of a key, if it is there.
    #[track_caller]
    pub fn get(&self, key: &str) -> Option<String> {
        let output = self.ctl(&["get", "--print-value-only", key]);
        (output.code == 0 && !output.stdout.is_empty()).then(|| output.stdout.trim_end().to_owned())
    }

    /// The keys that begin so.
    #[track_caller]
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let output = self.ctl(&["get", "--prefix", "--keys-only", prefix]);
        output.stdout.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// The revision that etcd stands at.
    #[track_caller]
    pub fn revision(&self) -> u64 {
        let json = self.ctl(&["get", "nothing", "-w", "json"]).json();
        json["header"]["revision"].as_u64().expect("a revision")
    }

    /// Which member leads, by what the living ones that answer say.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        let seen: Vec<_> = (0..self.members.len()).map(|number| self.status(number)).collect();
        let leader = seen.iter().flatten().map(|status| status.leader).find(|leader| *leader != 0)?;
        seen.iter().position(|status| status.as_ref().is_some_and(|status| status.member == leader))
    }

    /// Waits until a living member leads, and all living ones know it.
    #[track_caller]
    pub fn wait_leader(&self) -> usize {
        wait_for("etcd to have a leader", SOON, || {
            let living: Vec<usize> = self.living();
            let seen: Vec<Status> =
                living.iter().map(|number| self.status(*number)).collect::<Option<_>>()?;
            let leader = seen.first()?.leader;
            let agreed = leader != 0 && seen.iter().all(|status| status.leader == leader);
            let at = seen.iter().position(|status| status.member == leader)?;
            agreed.then(|| living[at])
        })
    }

    /// Makes this member lead.
    ///
    /// # Panics
    /// If it does not come to.
    #[track_caller]
    pub fn move_leader(&self, to: usize) {
        wait_until(&format!("member {to} to lead etcd"), SOON, || self.moves_leader(to));
    }

    /// Asks once that this member lead; whether it does.
    #[must_use]
    pub fn moves_leader(&self, to: usize) -> bool {
        let Some(leader) = self.leader().filter(|leader| *leader != to) else {
            return self.leader() == Some(to);
        };
        let Some(status) = self.status(to) else { return false };
        self.ctl_at(leader, &["move-leader", &format!("{:x}", status.member)]).code == 0
            && self.leader() == Some(to)
    }

    /// Fills the cluster until it takes no more: it has the alarm `NOSPACE` then.
    ///
    /// # Panics
    /// If it takes anything.
    #[track_caller]
    pub fn fill(&self) {
        assert!(self.filled(), "etcd took 200 MB, or does not answer");
    }

    /// The same; whether it came to that.
    pub fn filled(&self) -> bool {
        let megabyte = "x".repeat(1_000_000);
        let full = (0..200).any(|number| {
            let filler = format!("filler-{number}");
            self.bed.run(self.ctl_command(0, &["put", &filler]), &megabyte).code != 0
        });
        full && self.ctl(&["alarm", "list"]).stdout.contains("NOSPACE")
    }

    /// Writes the key that ends so, of all under a prefix, as it is: its revision changes, and nothing else.
    #[track_caller]
    pub fn touch(&self, prefix: &str, end: &str) {
        let keys = self.ctl(&["get", "--prefix", "--keys-only", prefix]).stdout;
        let key = keys.lines().find(|key| key.ends_with(end)).expect("the key");
        self.ctl(&["put", "--ignore-value", key]).done();
    }

    /// Undoes [`fill`](Self::fill) as an operator does.
    #[track_caller]
    pub fn make_space(&self) {
        self.ctl(&["del", "--prefix", "filler-"]).done();
        // Else what is compacted goes later, and nothing is there to be given back yet.
        self.ctl(&["compact", "--physical=true", &self.revision().to_string()]).done();
        // Whoever still writes at the old size raises the alarm anew.
        wait_until("room in etcd", SOON, || {
            for number in 0..self.members.len() {
                self.ctl_at(number, &["defrag"]).done();
            }
            self.ctl(&["alarm", "disarm"]).done();
            self.ctl(&["put", "filler-no-more", ""]).code == 0
        });
    }

    /// Saves a backup of everything.
    #[track_caller]
    pub fn backup(&self, file: &Path) {
        self.ctl(&["snapshot", "save", &file.to_string_lossy()]).done();
    }

    /// Makes the data of all members, which were stopped and wiped, that of a backup.
    #[track_caller]
    pub fn restore(&self, file: &Path) {
        for number in 0..self.members.len() {
            let peers = format!("http://{}", self.members[number].peers);
            let (data, initial) = (self.data(number), self.initial());
            let mut command = self.bed.placed(None, Path::new("etcdctl"));
            command.env("ETCDCTL_API", "3").args(["snapshot", "restore"]).arg(file);
            command.args(["--name", &name(number), "--initial-cluster", &initial]);
            command.args(["--initial-advertise-peer-urls", &peers, "--data-dir"]).arg(data);
            self.bed.run(command, "").done();
        }
    }

    /// Whether a member answers, and is part of a cluster that can write.
    #[must_use]
    pub fn is_well(&self, number: usize) -> bool {
        self.ctl_at(number, &["endpoint", "health"]).code == 0
    }

    fn living(&self) -> Vec<usize> {
        (0..self.members.len()).filter(|number| self.member(*number).is_alive()).collect()
    }

    fn status(&self, number: usize) -> Option<Status> {
        if !self.member(number).is_alive() {
            return None;
        }
        let output = self.ctl_at(number, &["endpoint", "status", "-w", "json"]);
        let json: Value = serde_json::from_str(&output.stdout).ok()?;
        let status = &json[0]["Status"];
        Some(Status { member: status["header"]["member_id"].as_u64()?, leader: status["leader"].as_u64()? })
    }
}

//! Asking through `om`, as a user would.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::cluster::{Cluster, show_command};
use crate::run::shown;

/// Shows a call of `om` with what it says. It must succeed.
pub(super) fn show(cluster: &Cluster, args: &[&str]) -> Result<()> {
    show_until(cluster, args, |_| false)
}

/// Shows a call of `om` with what it says up to some line; the rest is left out.
pub(super) fn show_until(cluster: &Cluster, args: &[&str], ends: impl Fn(&str) -> bool) -> Result<()> {
    let mut command = cluster.program("om", args);
    let call = shown(&command);
    show_command(&call);
    // One pipe for both, so that lines stay in order.
    let (reader, writer) = std::io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().context("cannot start om")?;
    drop(command);
    let (mut left_out, mut said_before) = (false, true);
    for line in BufReader::new(reader).lines() {
        let line = line?;
        left_out |= ends(&line);
        let says = !line.trim().is_empty();
        if left_out || !(says || said_before) {
            continue;
        }
        println!("{}", format!("     {line}").trim_end());
        said_before = says;
    }
    if left_out {
        println!("     …");
    }
    let status = child.wait()?;
    ensure!(status.success(), "{call} failed: {status}");
    Ok(())
}

/// What a call of `om` answers as JSON; `None` if it fails.
pub(super) fn ask(cluster: &Cluster, args: &[&str]) -> Option<Value> {
    let output = cluster.program("om", &["-o", "json", "--timeout", "2s"]).args(args).output().ok()?;
    output.status.success().then(|| serde_json::from_slice(&output.stdout).ok()).flatten()
}

/// One member, as `om describe` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) pid: i32,
}

/// The members of a service that is `ready`, asked of a manager.
pub(super) fn ready_members(cluster: &Cluster, manager: &str, service: &str) -> Option<Vec<Member>> {
    let described = ask(cluster, &["--name", manager, "describe", service])?;
    if described["phase"] != "ready" {
        return None;
    }
    described["members"].as_array()?.iter().map(member).collect()
}

fn member(member: &Value) -> Option<Member> {
    let pid = [&member["pid"], &member["details"]["pid"]].into_iter().find_map(|pid| {
        pid.as_i64().and_then(|pid| pid.try_into().ok()).or_else(|| pid.as_str()?.parse().ok())
    })?;
    Some(Member { name: member["name"].as_str()?.to_owned(), pid })
}

/// Waits until a manager leads; says its term and how long that took.
pub(super) fn leads(cluster: &mut Cluster, manager: &str) -> Result<(u64, Duration)> {
    cluster.until(&format!("{manager} to lead"), Duration::from_secs(30), |cluster| {
        let status = ask(cluster, &["--name", manager, "status"])?;
        (status["leadership"] == "leading").then(|| status["term"].as_u64())?
    })
}

/// Waits until a leader attends its plugin; says how long that took.
pub(super) fn attends(cluster: &mut Cluster, manager: &str) -> Result<Duration> {
    let attended = cluster.until("the plugin to be attended", Duration::from_secs(30), |cluster| {
        let status = ask(cluster, &["--name", manager, "status"])?;
        // Other replicas may be listed too; they have no kinds.
        let plugins = status["plugins"].as_array()?.iter();
        let mut plugins = plugins.filter(|plugin| plugin["kinds"] != serde_json::json!([])).peekable();
        plugins.peek()?;
        plugins.all(|plugin| plugin["attended"] == true).then_some(())
    });
    attended.map(|((), took)| took)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_member_has_its_pid_wherever_it_is_said() {
        let want = Member { name: "web-1".to_owned(), pid: 4711 };
        for said in
            [json!({"name": "web-1", "pid": 4711}), json!({"name": "web-1", "details": {"pid": "4711"}})]
        {
            assert_eq!(member(&said).as_ref(), Some(&want));
        }
        assert_eq!(member(&json!({"name": "web-1"})), None);
    }
}

//! What the demo shows, step by step.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use super::Checks;
use super::cluster::{Cluster, show_command};
use super::om::{self, ready_members};
use super::prober::{EVERY, Prober};
use super::processes::signal;
use crate::run::root;
use crate::{clock, say};

const MANAGERS: [&str; 3] = ["a", "b", "c"];
const SERVICE: &str = "web";
const MEMBERS: u16 = 3;
const SOON: Duration = Duration::from_secs(30);

/// How long the prober watches before something is done, and after.
const WATCH: Duration = Duration::from_secs(1);

/// Everything up to the end, at which all of it is still running.
pub(super) fn tell(cluster: &mut Cluster) -> Result<Checks> {
    let mut checks = Checks::new();
    let mut check = |what: String, held: bool| {
        say(&if held { what.clone() } else { say::red(&format!("not so: {what}")) });
        checks.push((what, held));
    };

    step(1, "Three managers, one plugin");
    show_command(&format!("cd {}", cluster.dir().display()));
    let short = |dir: &Path| dir.strip_prefix(cluster.dir()).map(|dir| format!("$PWD/{}", dir.display()));
    let variables = cluster.variables().map(|(name, dir)| Ok(format!("{name}={}", short(&dir)?)));
    show_command(&format!("export {}", variables.into_iter().collect::<Result<Vec<_>>>()?.join(" ")));
    cluster.start("plugin", "om-plugin-process", &[])?;
    for name in MANAGERS {
        cluster.start(name, "om-manager", &["os", "--name", name, "--leader-file", "leader"])?;
    }
    name_leader(cluster, "a")?;
    let (term, took) = om::leads(cluster, "a")?;
    om::attends(cluster, "a")?;
    say(&format!(
        "a leads in term {term}, {} after its name stood in the file; b and c follow",
        clock::show(took)
    ));
    om::show(cluster, &["--name", "a", "status"])?;

    step(2, "A web service of three members");
    let ports = declare(cluster)?;
    om::show(cluster, &["--name", "a", "commit", "--wait", "web.yaml"])?;
    om::show(cluster, &["--name", "a", "ls"])?;
    let (before, _) = cluster.until("the service to be ready", SOON, |c| ready_members(c, "a", SERVICE))?;
    ensure!(before.len() == usize::from(MEMBERS), "the service has {} members", before.len());
    let prober = Prober::new(ports.clone());
    let begun = clock::now();
    cluster.until("every member to answer", SOON, |_| {
        ports.clone().all(|port| prober.count(begun, |p| p == port).answers > 0).then_some(())
    })?;
    say(&format!(
        "from now on every member is asked for a page each {}: {}",
        clock::show(EVERY),
        ports.clone().map(|port| format!("http://127.0.0.1:{port}")).collect::<Vec<_>>().join(" ")
    ));
    let steady = clock::now();
    pause(cluster, WATCH)?;

    step(3, "The leader dies");
    let victim = cluster.pid("a")?;
    show_command(&format!("kill -9 {victim}   # om-manager os --name a"));
    cluster.stop("a", Signal::KILL)?;
    say("nobody leads now; the service runs on, for it does not live in the manager");
    pause(cluster, WATCH)?;
    name_leader(cluster, "b")?;
    let moved = clock::now();
    let (term_now, _) = om::leads(cluster, "b")?;
    let led = clock::now().saturating_sub(moved);
    om::attends(cluster, "b")?;
    let attended = clock::now().saturating_sub(moved);
    let (after, _) =
        cluster.until("the service to be looked after", SOON, |c| ready_members(c, "b", SERVICE))?;
    let looked_after = clock::now().saturating_sub(moved);
    say(&format!(
        "after the file changed: b was seen leading at {}, with the plugin at {}, with the service ready at {}",
        clock::show(led),
        clock::show(attended),
        clock::show(looked_after)
    ));
    om::show(cluster, &["--name", "b", "status"])?;
    say("c follows; asked all the same, it names the leader, and om goes there:");
    om::show(cluster, &["--name", "c", "ls"])?;
    om::show_until(cluster, &["--name", "c", "describe", SERVICE], |line| line.starts_with("Spec:"))?;
    pause(cluster, WATCH)?;
    let over = prober.count(steady, |_| true);
    check(format!("the new leader reigns in a higher term: {term_now} after {term}"), term_now > term);
    check(format!("the same {} processes serve: nothing was restarted", before.len()), before == after);
    check(
        format!("the service never stopped answering: {} answers, {} failures", over.answers, over.failures),
        over.failures == 0 && over.answers > 0,
    );

    step(4, "A member dies");
    let (victim, port) = (before[0].clone(), *ports.start());
    let killed = clock::now();
    show_command(&format!("kill -9 {}   # {}", victim.pid, victim.name));
    signal(victim.pid, Signal::KILL);
    let (healed, _) = cluster.until("the member to be started again", SOON, |c| {
        let members = ready_members(c, "b", SERVICE)?;
        members.iter().any(|member| member.name == victim.name && member.pid != victim.pid).then_some(members)
    })?;
    let since = clock::now();
    cluster.until("the member to answer again", SOON, |_| {
        (prober.count(since, |p| p == port).answers > 0).then_some(())
    })?;
    say(&format!("ready again, by the new leader, {} later", clock::show(since.saturating_sub(killed))));
    om::show(cluster, &["--name", "b", "ls"])?;
    let others = prober.count(steady, |p| p != port);
    check(
        format!("{} was started again, the others stayed as they were", victim.name),
        healed.len() == before.len()
            && healed
                .iter()
                .filter(|member| member.name != victim.name)
                .all(|member| before.contains(member)),
    );
    check(
        format!("they answered all the while: {} answers, {} failures", others.answers, others.failures),
        others.failures == 0 && others.answers > 0,
    );
    Ok(checks)
}

/// Takes everything down, the way a user would.
pub(super) fn end(cluster: &mut Cluster, checks: &mut Checks) -> Result<()> {
    step(5, "Cleaning up");
    om::show(cluster, &["--name", "b", "destroy", SERVICE, "--yes"])?;
    cluster.until("the service to be gone", SOON, |c| {
        om::ask(c, &["--name", "b", "ls"])?.as_array()?.is_empty().then_some(())
    })?;
    let mut clean = true;
    for name in ["b", "c", "plugin"] {
        show_command(&format!("kill {}   # {name}", cluster.pid(name)?));
        clean &= cluster.stop(name, Signal::TERM)?.success();
    }
    checks.push(("asked to stop, everything stopped with exit code 0".to_owned(), clean));
    let left = cluster.alive();
    for process in &left {
        say(&say::red(&format!("left behind: {} {}", process.pid, process.command)));
    }
    checks.push(("no process was left behind".to_owned(), left.is_empty()));
    cluster.sweep();
    cluster.remove()
}

fn step(number: usize, title: &str) {
    println!("\n{}", say::bold(&format!("{number}. {title}")));
}

fn say(text: &str) {
    println!("   {text}");
}

/// Moves the leadership: the replica whose name stands in the file leads.
fn name_leader(cluster: &Cluster, name: &str) -> Result<()> {
    show_command(&format!("echo {name} > leader"));
    std::fs::write(cluster.dir().join("leader"), format!("{name}\n")).context("cannot write the leader file")
}

/// Lets the prober watch for a while; an interruption or a program's end is noticed meanwhile.
fn pause(cluster: &mut Cluster, how_long: Duration) -> Result<()> {
    let begun = clock::now();
    cluster
        .until("time to pass", how_long * 2, |_| {
            (clock::now().saturating_sub(begun) >= how_long).then_some(())
        })
        .map(drop)
}

/// Puts the quick start's service into the directory, on ports that are free here.
fn declare(cluster: &Cluster) -> Result<std::ops::RangeInclusive<u16>> {
    let example = root().join("examples/quickstart/web.yaml");
    let text =
        std::fs::read_to_string(&example).with_context(|| format!("cannot read {}", example.display()))?;
    let first = free_ports()?;
    let text = with_port(&text, first).context("the quick start's service has no `from:` port")?;
    std::fs::write(cluster.dir().join("web.yaml"), &text)?;
    show_command("cat web.yaml");
    for line in text.lines() {
        println!("     {}", say::dim(line));
    }
    Ok(first..=first + MEMBERS - 1)
}

/// The document with another first port.
fn with_port(text: &str, port: u16) -> Option<String> {
    let (before, after) = text.split_once("from: ")?;
    let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    Some(format!("{before}from: {port}{rest}"))
}

/// The first of as many free ports in a row as there are members.
fn free_ports() -> Result<u16> {
    let free = |port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
    let row = |first: &u16| (*first..first + MEMBERS).all(free);
    (18080..28080).step_by(usize::from(MEMBERS)).find(row).context("no free ports from 18080 to 28080")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_a_document_is_replaced_and_nothing_else() {
        let text = "spec:\n  port: {from: 18080}   # members listen from here on\n  members: 3\n";
        assert_eq!(with_port(text, 5).unwrap(), text.replace("18080", "5"));
        assert_eq!(with_port("spec: {}", 5), None);
    }

    #[test]
    fn ports_that_are_found_are_free_for_every_member() {
        let first = free_ports().unwrap();
        let held: Vec<_> =
            (first..first + MEMBERS).map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port))).collect();
        assert!(held.iter().all(Result::is_ok), "{held:?}");
    }
}

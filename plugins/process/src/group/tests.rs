use std::process::Stdio;

use super::*;
use crate::gate;
use crate::procfs::Stat;

fn seen(pid: i32, parent: i32, session: i32, start: u64, mark: Option<&str>) -> Seen {
    Seen { stat: Stat { pid, state: 'S', parent, session, start }, mark: mark.map(str::to_owned) }
}

fn target() -> Target {
    Target { pid: 100, start: 50, run: "r".to_owned() }
}

fn found(seen: &[Seen]) -> Vec<i32> {
    belongings(&target(), &BTreeSet::new(), seen, 1).into_iter().map(|(pid, _)| pid).collect()
}

#[test]
fn session_mark_and_descent_each_make_a_process_belong() {
    let world = [
        seen(100, 7, 100, 50, Some("r")),
        seen(101, 100, 100, 51, None),
        seen(102, 1, 102, 52, Some("r")),
        seen(103, 101, 103, 53, None),
        seen(200, 1, 200, 60, Some("other")),
        seen(201, 1, 201, 60, None),
    ];
    assert_eq!(found(&world), [100, 101, 102, 103]);
}

#[test]
fn a_session_number_used_again_by_foreigners_is_not_ours() {
    let reused = [seen(100, 1, 100, 99, None), seen(101, 100, 100, 99, None), seen(102, 1, 100, 99, None)];
    assert!(found(&reused).is_empty());
}

#[test]
fn an_orphaned_session_is_ours_as_long_as_one_in_it_bears_the_mark() {
    let orphans = [seen(101, 1, 100, 51, Some("r")), seen(102, 1, 100, 52, None)];
    assert_eq!(found(&orphans), [101, 102]);
    assert!(found(&orphans[1..]).is_empty());
}

#[test]
fn the_dead_and_oneself_are_left_out() {
    let mut zombie = seen(100, 1, 100, 50, None);
    zombie.stat.state = 'Z';
    let world = [zombie, seen(101, 1, 100, 51, None), seen(1, 0, 100, 52, Some("r"))];
    assert_eq!(found(&world), [101]);
}

fn allowed() -> Result<(), Failed> {
    Ok(())
}

fn leader(script: &str, run: &str) -> (tokio::process::Child, Target) {
    let mut command = tokio::process::Command::new("setsid");
    command.args(["sh", "-c", script]).env(gate::MARK, run).stdin(Stdio::null()).kill_on_drop(true);
    let child = command.spawn().unwrap();
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    let start = procfs::stat(pid).unwrap().unwrap().start;
    (child, Target { pid, start, run: run.to_owned() })
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = clock::since_boot() + Duration::from_secs(20);
    while !done() {
        assert!(clock::since_boot() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn marked(run: &str) -> usize {
    let living = |one: &Seen| one.mark.as_deref() == Some(run) && !one.stat.is_dead();
    procfs::snapshot().unwrap().iter().filter(|one| living(one)).count()
}

#[tokio::test]
async fn nothing_is_left_of_a_member_that_daemonized_ignored_and_hid() {
    let run = uuid::Uuid::new_v4().to_string();
    // A child in the group, a daemon that left the session, one without the mark, one that ignores the signal.
    let script =
        "sleep 1000 & setsid sleep 1001 & env -i sleep 1002 & (trap '' TERM; sleep 1003; sleep 1004) & wait";
    let (mut child, target) = leader(script, &run);
    let all = || {
        let known = belongings(&target, &BTreeSet::new(), &procfs::snapshot().unwrap(), 0);
        known.len()
    };
    until("six processes", || all() >= 6).await;
    let manner = Manner { signal: Signal::TERM, timeout: Duration::from_millis(300) };
    end(&Scanner::default(), &target, manner, &allowed).await.unwrap();
    assert_eq!((all(), marked(&run)), (0, 0));
    child.wait().await.unwrap();
}

#[tokio::test]
async fn orphans_of_a_leader_that_died_are_found() {
    let run = uuid::Uuid::new_v4().to_string();
    let (mut child, target) = leader("sleep 1000 & setsid sleep 1000 & exit 3", &run);
    child.wait().await.unwrap();
    until("both orphans", || marked(&run) == 2).await;
    let manner = Manner { signal: Signal::TERM, timeout: Duration::from_secs(10) };
    end(&Scanner::default(), &target, manner, &allowed).await.unwrap();
    assert_eq!(marked(&run), 0);
}

#[tokio::test]
async fn a_pid_used_again_is_neither_held_nor_killed() {
    let (mut child, target) = leader("sleep 1000", &uuid::Uuid::new_v4().to_string());
    until("a shell", || procfs::stat(target.pid).unwrap().is_some()).await;
    let stale = Target { start: target.start - 1, run: "mine".to_owned(), ..target.clone() };
    assert!(Handle::open(stale.pid, stale.start).unwrap().is_none());
    let manner = Manner { signal: Signal::KILL, timeout: Duration::ZERO };
    end(&Scanner::default(), &stale, manner, &allowed).await.unwrap();
    assert_eq!(child.try_wait().unwrap(), None, "a foreign process was hit");
    end(&Scanner::default(), &target, manner, &allowed).await.unwrap();
}

#[tokio::test]
async fn without_permission_nothing_is_signalled() {
    let (mut child, target) = leader("sleep 1000", &uuid::Uuid::new_v4().to_string());
    let manner = Manner { signal: Signal::KILL, timeout: Duration::ZERO };
    let refused = || Err(Failed("lapsed".to_owned()));
    assert!(end(&Scanner::default(), &target, manner, &refused).await.is_err());
    assert_eq!(child.try_wait().unwrap(), None);
    end(&Scanner::default(), &target, manner, &allowed).await.unwrap();
    child.wait().await.unwrap();
}

#[tokio::test]
async fn the_end_of_a_process_that_is_no_child_is_noticed() {
    // The shell prints the pid of a grandchild that outlives it.
    let output = tokio::process::Command::new("sh")
        .args(["-c", "sleep 1000 >/dev/null 2>&1 & echo $!"])
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let pid: i32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    let start = procfs::stat(pid).unwrap().unwrap().start;
    let handle = Handle::open(pid, start).unwrap().unwrap();
    handle.signal(Signal::KILL).unwrap();
    tokio::time::timeout(Duration::from_secs(20), handle.ended()).await.expect("the end was never noticed");
}

//! One look at a member's health.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::gate::{self, Order};
use crate::template::Probe;
use crate::{member, text};

/// Looks once. `run` is the member's mark: what a command leaves behind ends with the member.
///
/// # Errors
/// Why it is not healthy, for people.
pub(crate) async fn look(probe: &Probe, timeout: Duration, run: &str) -> Result<(), String> {
    let look = async {
        match probe {
            Probe::Tcp(to) => connect(to).await.map(drop),
            Probe::Http(to, path) => get(to, path).await,
            Probe::Command(order) => command(order, run).await,
        }
    };
    let late = || format!("no answer within {}", text::Span(timeout));
    tokio::time::timeout(timeout, look).await.unwrap_or_else(|_| Err(late()))
}

/// How much of an answer is listened to, and how long, once it is known to be good or bad.
const REST: u64 = 256 * 1024;
const REST_PATIENCE: Duration = Duration::from_millis(200);

async fn connect(to: &str) -> Result<TcpStream, String> {
    TcpStream::connect(to).await.map_err(|cause| format!("cannot connect to {to}: {cause}"))
}

async fn get(to: &str, path: &str) -> Result<(), String> {
    let mut stream = connect(to).await?;
    let broken = |cause: std::io::Error| format!("no answer from {to}: {cause}");
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: openmanage\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    // "HTTP/1.1 200": all that matters.
    let mut line = Vec::new();
    (&mut stream).take(12).read_to_end(&mut line).await.map_err(broken)?;
    // The rest is read too, within reason: a connection that is closed upon a server's words is an error in its log.
    let (mut rest, mut nowhere) = (stream.take(REST), tokio::io::sink());
    let _ = tokio::time::timeout(REST_PATIENCE, tokio::io::copy(&mut rest, &mut nowhere)).await;
    let line = String::from_utf8_lossy(&line);
    let code =
        line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..)).and_then(|code| code.parse::<u16>().ok());
    match code {
        Some(200..=399) => Ok(()),
        Some(code) => Err(format!("GET {path} from {to} was answered with {code}")),
        None => Err(format!("{to} does not speak HTTP")),
    }
}

/// A command and its children: killed when dropped before its end.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // `id` is none once it was waited for; until then nobody else can have its number.
        let pid = self.0.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

async fn command(order: &Order, run: &str) -> Result<(), String> {
    let Some((program, arguments)) = order.command.split_first() else { return Err("no command".to_owned()) };
    let mut command = Command::new(program);
    for name in gate::private_variables() {
        command.env_remove(name);
    }
    let spawned = command
        .args(arguments)
        .envs(&order.env)
        .env(gate::MARK, run)
        .current_dir(&order.dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn();
    let mut group = Group(spawned.map_err(|cause| format!("cannot run {program:?}: {cause}"))?);
    let errors = group.0.stderr.take();
    let status = group.0.wait().await.map_err(|cause| format!("cannot wait for {program:?}: {cause}"))?;
    if status.success() {
        return Ok(());
    }
    let mut said = Vec::new();
    if let Some(errors) = errors {
        let mut errors = errors.take(200);
        // Whoever inherited the pipe may hold it open.
        let _ = tokio::time::timeout(Duration::from_millis(100), errors.read_to_end(&mut said)).await;
    }
    let said = String::from_utf8_lossy(&said);
    let ending = member::ending(status);
    Err(said
        .lines()
        .next()
        .map_or_else(|| format!("{program} {ending}"), |line| format!("{program} {ending}: {line}")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use tokio::net::TcpListener;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    async fn server(answer: &'static str) -> (String, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap().to_string();
        #[expect(clippy::disallowed_methods, reason = "aborted at the end of the test")]
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        (to, task)
    }

    #[tokio::test]
    async fn http_is_healthy_from_200_to_399() {
        for (answer, healthy) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.0 302 Found\r\n\r\n", true),
            ("HTTP/1.1 503 No\r\n\r\n", false),
            ("SSH-2.0-x\r\n", false),
            ("", false),
        ] {
            let (to, task) = server(answer).await;
            let looked = look(&Probe::Http(to, "/".to_owned()), LONG, "r").await;
            assert_eq!(looked.is_ok(), healthy, "{answer:?}: {looked:?}");
            task.abort();
        }
    }

    #[tokio::test]
    async fn tcp_is_healthy_while_somebody_listens() {
        let (to, task) = server("").await;
        assert_eq!(look(&Probe::Tcp(to.clone()), LONG, "r").await, Ok(()));
        task.abort();
        let _ = task.await;
        assert!(look(&Probe::Tcp(to), LONG, "r").await.unwrap_err().contains("cannot connect"));
    }

    #[tokio::test]
    async fn a_command_says_why_and_is_killed_with_its_children_when_late() {
        let run = uuid::Uuid::new_v4().to_string();
        let order = |script: &str| {
            let command = ["sh", "-c", script].map(str::to_owned).to_vec();
            Probe::Command(Order { command, env: BTreeMap::new(), dir: PathBuf::from("/") })
        };
        assert_eq!(look(&order("exit 0"), LONG, &run).await, Ok(()));
        let why = look(&order("echo no disk >&2; exit 3"), LONG, &run).await.unwrap_err();
        assert_eq!(why, "sh exited with code 3: no disk");
        let why =
            look(&order("sleep 1000 & sleep 1000"), Duration::from_millis(200), &run).await.unwrap_err();
        assert_eq!(why, "no answer within 200ms");
        let deadline = om_api::clock::since_boot() + LONG;
        let left = || {
            crate::procfs::snapshot()
                .unwrap()
                .iter()
                .any(|one| one.mark.as_deref() == Some(&*run) && !one.stat.is_dead())
        };
        while left() {
            assert!(om_api::clock::since_boot() < deadline, "something of the late command is left");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

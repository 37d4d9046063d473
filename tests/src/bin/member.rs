//! A member for tests: serves HTTP on its port, and writes down that it lives.
//!
//! It holds a lock for life. Where it finds the lock held it is a second copy of its member: it writes a line
//! `VIOLATION` and ends. So the record itself proves that there never were two, whatever any log says.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use om_api::clock::since_boot;
use om_system_tests::record::MemberLine;
use rustix::fs::{FlockOperation, flock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

const SIGN_OF_LIFE: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Options {
    name: String,
    record: PathBuf,
    port: Option<u16>,
    // Answered to every request, beside the name and the pid.
    version: String,
    // Printed at the start.
    say: Option<String>,
    // Listens nowhere: stays unhealthy.
    deaf: bool,
    // Does not end when asked to.
    stubborn: bool,
    // Starts a child of its own that does nothing, for long.
    fork: bool,
    // Ends by itself at once.
    exit: Option<u8>,
}

struct Record {
    file: File,
    line: MemberLine,
}

impl Record {
    fn write(&mut self, what: &str) -> Result<()> {
        what.clone_into(&mut self.line.what);
        self.line.at = u64::try_from(since_boot().as_micros())?;
        let line = serde_json::to_string(&self.line)? + "\n";
        self.file.write_all(line.as_bytes()).context("the record")
    }
}

fn main() -> Result<ExitCode> {
    let options = options(std::env::args().skip(1))?;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let rest = stat.rsplit_once(") ").context("/proc/self/stat")?.1;
    let started = rest.split_whitespace().nth(19).context("/proc/self/stat")?.parse()?;
    let line = MemberLine {
        member: options.name.clone(),
        what: String::new(),
        pid: std::process::id(),
        started,
        at: 0,
    };
    let file = File::options().create(true).append(true).open(&options.record).context("the record")?;
    let mut record = Record { file, line };

    let mut lock_path = options.record.clone().into_os_string();
    lock_path.push(format!(".lock-{}", options.name));
    let lock =
        File::options().create(true).truncate(false).write(true).open(lock_path).context("the lock")?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        record.write("VIOLATION")?;
        return Ok(ExitCode::from(9));
    }
    record.write("start")?;
    if let Some(text) = &options.say {
        println!("{text}");
        eprintln!("{text} on standard error");
    }
    if let Some(code) = options.exit {
        record.write("end")?;
        return Ok(ExitCode::from(code));
    }
    let _child = options.fork.then(|| Command::new("sleep").arg("100000").spawn()).transpose()?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(live(&options, &mut record))?;
    drop(lock);
    Ok(ExitCode::SUCCESS)
}

async fn live(options: &Options, record: &mut Record) -> Result<()> {
    let mut asked_to_end = signal(SignalKind::terminate())?;
    let listener = match options.port {
        Some(port) if !options.deaf => {
            Some(TcpListener::bind(("127.0.0.1", port)).await.context("the port")?)
        }
        _ => None,
    };
    let answer = format!("{} {} {}\n", options.name, options.version, record.line.pid);
    let mut sign = tokio::time::interval(SIGN_OF_LIFE);
    let mut clients = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            _ = asked_to_end.recv() => {
                if !options.stubborn {
                    return record.write("end");
                }
            }
            _ = sign.tick() => record.write("alive")?,
            Some(_) = clients.join_next() => {}
            client = accept(listener.as_ref()) => {
                clients.spawn(serve(client?, answer.clone()));
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> Result<TcpStream> {
    match listener {
        Some(listener) => Ok(listener.accept().await?.0),
        None => std::future::pending().await,
    }
}

async fn serve(mut client: TcpStream, answer: String) {
    let mut request = vec![0; 4096];
    let mut length = 0;
    while !request[..length].windows(4).any(|end| end == b"\r\n\r\n") {
        match client.read(&mut request[length..]).await {
            Ok(read) if read > 0 => length += read,
            _ => return,
        }
    }
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
    let _ = client.write_all((head + &answer).as_bytes()).await;
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options::default();
    while let Some(flag) = args.next() {
        let mut value = || args.next().with_context(|| format!("{flag} needs a value"));
        match flag.as_str() {
            "--name" => options.name = value()?,
            "--record" => options.record = value()?.into(),
            "--port" => options.port = Some(value()?.parse().context("--port")?),
            "--version" => options.version = value()?,
            "--say" => options.say = Some(value()?),
            "--exit" => options.exit = Some(value()?.parse().context("--exit")?),
            "--deaf" => options.deaf = true,
            "--stubborn" => options.stubborn = true,
            "--fork" => options.fork = true,
            _ => bail!("unknown argument {flag:?}"),
        }
    }
    if options.name.is_empty() || options.record.as_os_str().is_empty() {
        bail!("--name and --record are needed");
    }
    Ok(options)
}

//! `om-bench watch`: many who watch: whether each hears of everything, how late, and what each costs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf as _, BytesMut};
use http_body_util::BodyExt as _;
use om_api::clock::since_boot;
use om_api::v1;
use om_system_tests::{Bed, Client, Spec, recorded};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, LocalSet};

use crate::cpu;
use crate::figures::{Figures, millis};
use crate::pass::load::{PREFIX, Question, Sender, connect, send};
use crate::report::{self, Section, environment};

/// `om-bench watch`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// So many watch, a thousand on a connection
    #[arg(long, default_value_t = 10_000)]
    watchers: usize,
    /// So many commits, five a second
    #[arg(long, default_value_t = 50)]
    commits: usize,
    /// The file that the table is written into, between its markers
    #[arg(long, value_name = "FILE", default_value = "docs/benchmarks.md")]
    into: PathBuf,
    /// Only print the table
    #[arg(long)]
    no_write: bool,
}

const A_CONNECTION: usize = 1000;
const PAUSE: Duration = Duration::from_millis(200);
/// However many there are: longer than this, something is lost.
const PATIENCE: Duration = Duration::from_secs(60);
const LEADER: &str = "m";

/// When a watcher heard of a commit, by its revision.
type Heard = Rc<RefCell<Vec<(u64, Duration)>>>;

/// The command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let bed = Bed::new();
    bed.recording_plugin("record");
    bed.name_leader(LEADER);
    let manager = bed.manager(LEADER, &["--log", "3"]);
    bed.wait_leading(LEADER);
    let before = cpu::resident_mib(manager.pid());
    let (client, spec) = (bed.client(LEADER), recorded(&bed, "web").with("every_ms", 0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (heard, idle, begun) = LocalSet::new().block_on(&runtime, async {
        let heard = Heard::default();
        let mut watchers = JoinSet::new();
        watch(&bed.socket(LEADER), args.watchers, &heard, &mut watchers).await?;
        let idle = cpu::resident_mib(manager.pid());
        let begun = commit(client, spec, args.commits, &mut watchers).await?;
        let end = since_boot() + PATIENCE;
        while heard.borrow().len() < args.watchers * begun.len() && since_boot() < end {
            tokio::time::sleep(PAUSE).await;
        }
        Ok::<_, anyhow::Error>((heard.take(), idle, begun))
    })?;

    ensure!(heard.iter().all(|(revision, _)| begun.contains_key(revision)), "an event of nobody's commit");
    let rounds: Vec<Duration> =
        heard.iter().map(|(revision, at)| at.saturating_sub(begun[revision])).collect();
    let lost = args.watchers * begun.len() - rounds.len();
    let figures = Figures { rounds, ..Figures::default() };
    let quantile = |part| figures.quantile(part).map_or_else(String::new, millis);
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    let each = (idle - before) * 1024.0 / args.watchers as f64;
    let text = format!(
        "{}\n\n| watchers | commits | events lost | commit asked to event heard, p50 ms | p99 ms | KiB a watcher, idle |\n\
         | --- | --- | --- | --- | --- | --- |\n| {} | {} | {lost} | {} | {} | {each:.1} |\n",
        environment(&[]),
        args.watchers,
        begun.len(),
        quantile(0.5),
        quantile(0.99)
    );
    println!("{text}");
    if !args.no_write {
        let section = Section::new("watch", "Many who watch, mode `os`", "cargo xtask bench watch");
        report::write(&args.into, &section, &text)?;
    }
    ensure!(lost == 0, "{lost} events were not heard of within {PATIENCE:?}");
    Ok(())
}

/// Opens all watches; each is answered when this returns.
async fn watch(socket: &Path, count: usize, heard: &Heard, watchers: &mut JoinSet<Result<()>>) -> Result<()> {
    let question = Question::new("/om.v1.ServicePlugin/Watch", &v1::WatchRequest::default());
    let (opened, mut open) = mpsc::channel(1);
    for first in (0..count).step_by(A_CONNECTION) {
        let sender = connect(socket, watchers).await?;
        for _ in first..count.min(first + A_CONNECTION) {
            let (question, heard, opened) = (question.clone(), heard.clone(), opened.clone());
            watchers.spawn_local(listen(sender.clone(), question, heard, opened));
        }
    }
    for _ in 0..count {
        tokio::select! {
            _ = open.recv() => {}
            Some(ended) = watchers.join_next() => ended??,
        }
    }
    Ok(())
}

async fn listen(
    mut sender: Sender,
    question: Question,
    heard: Heard,
    opened: mpsc::Sender<()>,
) -> Result<()> {
    let mut body = send(&mut sender, &question).await?.into_body();
    opened.send(()).await?;
    drop(opened);
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { bail!("a watch ended") };
        read.extend_from_slice(&data);
        while let Some([_, length @ ..]) = read.first_chunk::<PREFIX>() {
            let length = usize::try_from(u32::from_be_bytes(*length))?;
            if read.len() < PREFIX + length {
                break;
            }
            read.advance(PREFIX);
            let event = v1::WatchResponse::decode(read.split_to(length))?.event.context("no event")?;
            if event.r#type() == v1::EventType::Committed {
                heard.borrow_mut().push((event.revision, since_boot()));
            }
        }
    }
    bail!("a watch ended")
}

/// Commits, beside the watchers: when each was asked for, by its revision.
async fn commit(
    client: Client,
    spec: Spec,
    commits: usize,
    watchers: &mut JoinSet<Result<()>>,
) -> Result<BTreeMap<u64, Duration>> {
    let committing = tokio::task::spawn_blocking(move || {
        let mut begun = BTreeMap::new();
        for number in 0..commits {
            let asked = since_boot();
            let request = spec.clone().label("touched", number).commit();
            let answer = client.commit(request).unwrap_or_else(|failure| panic!("{failure:?}"));
            begun.insert(answer.revision, asked);
            // sleeps: five a second is what is asked for
            std::thread::sleep(PAUSE.saturating_sub(since_boot() - asked));
        }
        begun
    });
    tokio::select! {
        begun = committing => Ok(begun?),
        Some(ended) = watchers.join_next() => {
            ended??;
            bail!("a connection ended")
        }
    }
}

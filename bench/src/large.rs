//! `om-bench large`: replicas with a large state: how they start, answer and take over, and how large they become.
//!
//! The state is put into the store before anybody starts, so that filling it costs nothing. A hundred services, spread
//! over all of them, write down that they are steered: the first line of the new term is the first effect.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use om_api::clock::{since_boot, wall_unix_ms};
use om_api::v1;
use om_store::file::FileStore;
use om_store::{Candidate, Change, Store, Term};
use om_system_tests::record::{SteeringLine, Tail};
use om_system_tests::{Bed, Program, Spec, recorded, wait_for, wait_until};
use prost::Message;

use crate::cpu;
use crate::figures::{Figures, millis};
use crate::plot::{Line, Panel, Plot, What};
use crate::report::{self, Section, environment};

/// `om-bench large`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// So many services of a kilobyte, one run after the other
    #[arg(long, value_delimiter = ',', default_value = "10,10000,100000")]
    services: Vec<usize>,
    /// How often each is measured; the medians are told
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The file that the table is written into, between its markers
    #[arg(long, value_name = "FILE", default_value = "docs/benchmarks.md")]
    into: PathBuf,
    /// The plot
    #[arg(long, value_name = "FILE", default_value = "docs/plots/large.svg")]
    plot: PathBuf,
    /// Only print the table
    #[arg(long)]
    no_write: bool,
}

/// However much there is: longer than this, something is broken.
const PATIENCE: Duration = Duration::from_secs(120);
/// Changes at once while the store is filled.
const WIDE: usize = 1024;
/// So many of the services write down what is done with them.
const RECORDED: usize = 100;
/// Calls one after another that a figure is of.
const SAMPLE: usize = 100;
/// How long an idle program is watched.
const IDLE: Duration = Duration::from_secs(5);
/// The rows that are drawn, by panel.
const PLOTTED: [(&str, &[&str]); 3] = [
    ("microseconds, p50", &["`describe`, p50 us", "a commit, p50 us"]),
    ("MiB resident", &["resident, leading, MiB", "resident, following, MiB"]),
    ("milliseconds to all ready", &["cold start to all ready, ms", "takeover: named to all ready, ms"]),
];
const LEADER: &str = "a";
const NEXT: &str = "b";

/// As the manager keeps a service: see its `records`.
#[derive(Clone, PartialEq, Message)]
struct ServiceRecord {
    #[prost(bytes = "vec", tag = "4")]
    packed: Vec<u8>,
    #[prost(uint32, tag = "5")]
    length: u32,
    #[prost(string, tag = "6")]
    packed_kind: String,
}

impl ServiceRecord {
    fn new(declaration: v1::Declaration) -> Result<Self> {
        let plain = declaration.encode_to_vec();
        let mut packer = DeflateEncoder::new(Vec::new(), Compression::new(2));
        packer.write_all(&plain)?;
        Ok(Self {
            packed: packer.finish()?,
            length: u32::try_from(plain.len())?,
            packed_kind: declaration.kind,
        })
    }
}

/// What was seen, in words.
type Seen = Vec<(&'static str, String)>;

/// The command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut columns = Vec::new();
    for services in &args.services {
        let rounds = (1..=args.rounds).map(|round| {
            eprintln!("{services} services, round {round} of {}", args.rounds);
            measure(*services)
        });
        columns.push(median(&rounds.collect::<Result<Vec<_>>>()?));
    }
    let program = std::fs::metadata(Bed::new().binary("om-manager")).context("no om-manager")?.len();
    let mut text = environment(&[]);
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    let megabytes = program as f64 / 1e6;
    text +=
        &format!(" **Rounds:** {}, medians. **The program:** {megabytes:.1} MB.\n\n| what |", args.rounds);
    args.services.iter().for_each(|services| text += &format!(" {services} services |"));
    text += &format!("\n| --- |{}\n", " --- |".repeat(columns.len()));
    for (row, (what, _)) in columns.first().into_iter().flatten().enumerate() {
        text += &format!("| {what} |");
        columns.iter().for_each(|column| text += &format!(" {} |", column[row].1));
        text += "\n";
    }
    println!("{text}");
    if !args.no_write {
        let section = Section::new("large", "A large state, mode `os`", "cargo xtask bench --release large");
        report::write(
            &args.into,
            &section,
            &format!("{text}\n![the same over the services](plots/large.svg)\n"),
        )?;
        draw(&args.services, &columns).write(&args.plot)?;
    }
    Ok(())
}

/// Row by row, the middle one of the rounds; the higher of two.
fn median(rounds: &[Seen]) -> Seen {
    let row = |(row, (what, _)): (usize, &(&'static str, String))| {
        let mut seen: Vec<&String> = rounds.iter().map(|round| &round[row].1).collect();
        seen.sort_by(|a, b| number(a).total_cmp(&number(b)));
        (*what, seen[seen.len() / 2].clone())
    };
    rounds.first().into_iter().flatten().enumerate().map(row).collect()
}

fn number(seen: &str) -> f64 {
    seen.parse().unwrap_or(f64::NAN)
}

/// What shows a cliff if there is one.
fn draw(services: &[usize], columns: &[Seen]) -> Plot {
    let line = |name: &&str| {
        let seen = |column: &Seen| Some(number(&column.iter().find(|(what, _)| what == name)?.1));
        let points = services.iter().zip(columns);
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
        let points =
            points.filter_map(|(services, column)| Some((*services as f64, seen(column)?))).collect();
        Line { name: (*name).to_owned(), points }
    };
    let panel = |(title, names): &(&str, &[&str])| {
        let (across, lines) = ("services".to_owned(), names.iter().map(line).collect());
        Panel { title: (*title).to_owned(), what: What::Lines { across, lines } }
    };
    Plot(PLOTTED.iter().map(panel).collect())
}

fn measure(services: usize) -> Result<Seen> {
    let bed = Bed::new();
    fill(&bed, services)?;
    let plugin = bed.recording_plugin("record");
    let mut seen = Seen::new();

    let begun = since_boot();
    bed.name_leader(LEADER);
    let first = bed.manager(LEADER, &["--log", "3"]);
    seen.push(("start to serving, ms", millis(since_boot() - begun)));
    bed.wait_leading(LEADER);
    seen.push(("cold start to leading, ms", millis(since_boot() - begun)));
    wait_ready(&bed, LEADER);
    seen.push(("cold start to all ready, ms", millis(since_boot() - begun)));
    seen.push(("resident, leading, MiB", mebibytes(&first)));
    seen.push(("first row of `om ls`, ms", millis(first_row(&bed)?)));

    let client = bed.client(LEADER).patience(PATIENCE);
    let (mut describe, mut commit) = (Figures::default(), Figures::default());
    for number in 0..SAMPLE {
        let spec = service(&bed, services, number * 7919 % services);
        let begun = since_boot();
        client.describe(&spec.name).unwrap_or_else(|failure| panic!("{failure:?}"));
        describe.rounds.push(since_boot() - begun);
        let request = spec.label("touched", number).commit();
        let begun = since_boot();
        client.commit(request).unwrap_or_else(|failure| panic!("{failure:?}"));
        commit.rounds.push(since_boot() - begun);
    }
    for (what, figures) in [("`describe`, p50 us", describe), ("a commit, p50 us", commit)] {
        let p50 = figures.quantile(0.5).unwrap_or_default();
        seen.push((what, p50.as_micros().to_string()));
    }

    let next = bed.manager(NEXT, &["--log", "3"]);
    warmed_up(&next);
    // Not before: what a leader that has just begun does in the background, as to compact its journal, is done by now.
    seen.push(("processor time when idle, leading, % of a core", idle(&first)));
    seen.push(("resident, following, MiB", mebibytes(&next)));
    let term = bed.client(LEADER).status().map(|status| status.term).unwrap_or_default();
    let mut steering = Tail::of(bed.steering_record());
    steering.read::<SteeringLine>();
    let line = UnixStream::connect(bed.socket(LEADER)).context("cannot connect to the leader")?;
    let noticing = std::thread::spawn(|| broken(line));
    let killed = first.kill();
    let noticed = noticing.join().ok().context("nobody noticed")?;
    seen.push(("leader killed to its connections broken, ms", millis(noticed.saturating_sub(killed))));
    let before = [&next, &plugin].map(|program| cpu::used(program.pid()));
    let named = bed.name_leader(NEXT);
    bed.wait_leading(NEXT);
    seen.push(("takeover: named to leading, ms", millis(since_boot() - named)));
    let effect = wait_for("the first effect", PATIENCE, || {
        let lines = steering.read::<SteeringLine>();
        lines.into_iter().filter(|line| line.term > term).map(|line| Duration::from_micros(line.at)).min()
    });
    seen.push(("takeover: named to the first effect, ms", millis(effect.saturating_sub(named))));
    wait_ready(&bed, NEXT);
    seen.push(("takeover: named to all ready, ms", millis(since_boot() - named)));
    let after = [&next, &plugin].map(|program| cpu::used(program.pid()));
    let took = |index: usize| per_service(after[index].saturating_sub(before[index]), services);
    seen.push(("takeover: processor time a service, leader, us", took(0)));
    seen.push(("takeover: processor time a service, plugin, us", took(1)));
    Ok(seen)
}

fn service(bed: &Bed, services: usize, number: usize) -> Spec {
    let writes = number.is_multiple_of((services / RECORDED).max(1));
    let spec = recorded(bed, &format!("s-{number:06}")).with("ballast", ballast(number));
    spec.with("every_ms", if writes { 1000 } else { 0 })
}

/// Some 900 bytes as specs have them: settings, each with a value of its own.
fn ballast(number: usize) -> String {
    let digest = |index: usize| (number * 31 + index).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (0..25)
        .map(|index| format!("SETTING_{index:02}=value-{:08x},{:05} ", digest(index), index * number))
        .collect()
}

/// Puts all services into the store, and leaves it to who comes.
fn fill(bed: &Bed, services: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = Arc::new(FileStore::open(bed.state()));
        let candidate = Candidate { name: "bench".to_owned(), endpoint: String::new(), authority_ms: 0 };
        let token = store.claim(&candidate, Term(0)).await.context("cannot claim the store")?;
        let mut numbers = 0..services;
        loop {
            let mut writes = tokio::task::JoinSet::new();
            for number in numbers.by_ref().take(WIDE) {
                let record = ServiceRecord::new(service(bed, services, number).declaration())?;
                let key = format!("service/s-{number:06}");
                let change = Change::at(wall_unix_ms()).put(key, record.encode_to_vec());
                let (store, token) = (store.clone(), token.clone());
                writes.spawn(async move { store.append(&token, change).await });
            }
            if writes.is_empty() {
                break;
            }
            writes.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
        }
        store.release(token, None).await?;
        Ok(())
    })
}

/// Waits until every service is ready, looking on from the first that was not.
fn wait_ready(bed: &Bed, name: &str) {
    let client = bed.client(name).patience(PATIENCE);
    let mut from = String::new();
    wait_until("all of them to be ready", PATIENCE, || {
        loop {
            let Ok(page) = client.page(&from) else { return false };
            let late = page.services.iter().position(|service| service.phase() != v1::Phase::Ready);
            match late {
                Some(0) => return false,
                Some(late) => page.services[late - 1].name.clone_into(&mut from),
                None if page.next_page_token.is_empty() => return true,
                None => from = page.next_page_token,
            }
        }
    });
}

/// When a connection is seen to be broken: what the other replicas notice a death by.
fn broken(mut line: UnixStream) -> Duration {
    let mut read = [0; 1024];
    while line.read(&mut read).is_ok_and(|read| read > 0) {}
    since_boot()
}

fn first_row(bed: &Bed) -> Result<Duration> {
    let begun = since_boot();
    let mut command = bed.command("om", &["--name", LEADER, "ls"]);
    let mut om = command.stdout(Stdio::piped()).spawn().context("cannot start om")?;
    let mut out = om.stdout.take().context("no output")?;
    out.read_exact(&mut [0])?;
    let took = since_boot() - begun;
    // The rest, so that it does not end by a broken pipe.
    std::io::copy(&mut out, &mut std::io::sink())?;
    om.wait()?;
    Ok(took)
}

/// Waits until a follower has read the state: what it has in memory grows no more.
fn warmed_up(program: &Program) {
    let mut before = 0.0;
    wait_until("the follower to be warm", PATIENCE, || {
        // sleeps: that nothing grows is seen over a time
        std::thread::sleep(Duration::from_secs(2));
        let now = cpu::resident_mib(program.pid());
        now - std::mem::replace(&mut before, now) < 0.1
    });
}

fn per_service(used: Duration, services: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    let each = used.as_secs_f64() * 1e6 / services as f64;
    format!("{each:.1}")
}

fn mebibytes(program: &Program) -> String {
    format!("{:.1}", cpu::resident_mib(program.pid()))
}

fn idle(program: &Program) -> String {
    let before = cpu::used(program.pid());
    // sleeps: it is watched doing nothing
    std::thread::sleep(IDLE);
    let used = cpu::used(program.pid()).saturating_sub(before);
    format!("{:.2}", 100.0 * used.as_secs_f64() / IDLE.as_secs_f64())
}

//! `om-bench soak`: the same load for a long time, and whether memory, file descriptors and latency stay what they are.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use om_api::clock::since_boot;
use om_system_tests::{Bed, Program, recorded};

use crate::cpu;
use crate::figures::{Figures, millis};
use crate::plot::{Line, Panel, Plot, What};
use crate::report::{self, Section, environment};

/// `om-bench soak`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// For so long
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Commits a second, each followed by a `describe`
    #[arg(long, default_value_t = 25)]
    rate: u32,
    /// So many services, declared again in turn
    #[arg(long, default_value_t = 1000)]
    services: usize,
    /// The file that the table is written into, between its markers
    #[arg(long, value_name = "FILE", default_value = "docs/benchmarks.md")]
    into: PathBuf,
    /// The plot
    #[arg(long, value_name = "FILE", default_value = "docs/plots/soak.svg")]
    plot: PathBuf,
    /// Only print the table
    #[arg(long)]
    no_write: bool,
}

const LEADER: &str = "a";
const FOLLOWER: &str = "b";
/// How often is looked.
const LOOK: Duration = Duration::from_secs(10);
/// Looks at the beginning that do not count: caches fill, and the first journals are folded into snapshots.
const WARM_UP: usize = 12;

/// One look.
struct Look {
    minutes: f64,
    leader_mib: f64,
    follower_mib: f64,
    descriptors: f64,
    commits: Figures,
    describes: Figures,
}

/// The command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let bed = Bed::new();
    bed.recording_plugin("record");
    bed.name_leader(LEADER);
    let leader = bed.manager(LEADER, &["--log", "3"]);
    bed.wait_leading(LEADER);
    let follower = bed.manager(FOLLOWER, &["--log", "3"]);
    let mut watching = bed.command("om", &["--name", LEADER, "watch"]);
    let mut watching = watching.stdout(Stdio::null()).spawn().context("cannot start om")?;
    let looks = soak(&bed, args, (&leader, &follower));
    watching.kill().and_then(|()| watching.wait()).context("om watch")?;
    let looks = looks?;

    let settled = looks.get(WARM_UP..).filter(|looks| looks.len() >= 2);
    let settled = settled.with_context(|| format!("too short: {WARM_UP} looks of {LOOK:?} do not count"))?;
    let text = table(args, settled);
    println!("{text}");
    if !args.no_write {
        draw(&looks).write(&args.plot)?;
        let text = format!("{text}\n![memory, file descriptors and latency over time](plots/soak.svg)\n");
        let title = "A constant load for an hour, mode `os`";
        report::write(&args.into, &Section::new("soak", title, "cargo xtask bench soak"), &text)?;
    }
    Ok(())
}

fn soak(bed: &Bed, args: &Args, (leader, follower): (&Program, &Program)) -> Result<Vec<Look>> {
    let client = bed.client(LEADER);
    let pause = Duration::from_secs(1) / args.rate.max(1);
    let (begun, mut looks, mut number) = (since_boot(), Vec::new(), 0_usize);
    let end = begun + Duration::from_secs(args.minutes * 60);
    let mut next = begun;
    while since_boot() < end {
        let (mut commits, mut describes) = (Figures::default(), Figures::default());
        let look = since_boot() + LOOK;
        while since_boot() < look {
            let spec = recorded(bed, &format!("s-{:06}", number % args.services)).with("every_ms", 0);
            let spec = spec.label("touched", number);
            number += 1;
            let at = since_boot();
            let (committed, between) = (client.commit(spec.clone().commit()), since_boot());
            let (described, end) = (client.describe(&spec.name), since_boot());
            for (figures, took, failed) in [
                (&mut commits, between - at, committed.is_err()),
                (&mut describes, end - between, described.is_err()),
            ] {
                figures.rounds.push(took);
                figures.failed_calls += usize::from(failed);
            }
            // At a constant rate, whatever a call takes.
            next += pause;
            thread::sleep(next.saturating_sub(since_boot()));
        }
        ensure!(leader.is_alive() && follower.is_alive(), "a replica ended");
        looks.push(Look {
            minutes: (since_boot() - begun).as_secs_f64() / 60.0,
            leader_mib: cpu::resident_mib(leader.pid()),
            follower_mib: cpu::resident_mib(follower.pid()),
            descriptors: descriptors(leader)?,
            commits,
            describes,
        });
    }
    Ok(looks)
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
fn descriptors(program: &Program) -> Result<f64> {
    let all = fs::read_dir(format!("/proc/{}/fd", program.pid())).context("cannot count descriptors")?;
    Ok(all.count() as f64)
}

fn median(looks: &[Look], what: impl Fn(&Look) -> f64) -> f64 {
    let mut all: Vec<f64> = looks.iter().map(what).collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn p50_ms(figures: &Figures) -> f64 {
    figures.quantile(0.5).unwrap_or_default().as_secs_f64() * 1e3
}

/// The first quarter of what counts beside the last.
fn table(args: &Args, settled: &[Look]) -> String {
    let quarter = settled.len().div_ceil(4);
    let (first, last) = (&settled[..quarter], &settled[settled.len() - quarter..]);
    let mut text = format!(
        "{} {} minutes, {} commits and as many `describe` a second, {} services, one who watches.\n\n\
         | what | first quarter | last quarter | last over first |\n| --- | --- | --- | --- |\n",
        environment(&[]),
        args.minutes,
        args.rate,
        args.services
    );
    let mut row = |what: &str, of: &dyn Fn(&Look) -> f64| {
        let (first, last) = (median(first, of), median(last, of));
        text += &format!("| {what} | {first:.2} | {last:.2} | {:.2} |\n", last / first);
    };
    row("resident, leading, MiB", &|look| look.leader_mib);
    row("resident, following, MiB", &|look| look.follower_mib);
    row("file descriptors of the leader", &|look| look.descriptors);
    row("a commit, p50 ms", &|look| p50_ms(&look.commits));
    row("`describe`, p50 ms", &|look| p50_ms(&look.describes));
    let all = settled.iter().flat_map(|look| look.commits.rounds.iter().copied()).collect();
    let all = Figures { rounds: all, ..Figures::default() };
    let p99 = all.quantile(0.99).map(millis).unwrap_or_default();
    let failed: usize =
        settled.iter().map(|look| look.commits.failed_calls + look.describes.failed_calls).sum();
    text + &format!(
        "\nOf all {} commits that count: p99 {p99} ms. Calls that failed: {failed}.\n",
        all.rounds.len()
    )
}

fn draw(looks: &[Look]) -> Plot {
    let line = |name: &str, of: &dyn Fn(&Look) -> f64| Line {
        name: name.to_owned(),
        points: looks.iter().map(|look| (look.minutes, of(look))).collect(),
    };
    let panel = |title: &str, lines| Panel {
        title: title.to_owned(),
        what: What::Lines { across: "minutes".to_owned(), lines },
    };
    Plot(vec![
        panel(
            "resident memory, MiB",
            vec![line("leader", &|look| look.leader_mib), line("follower", &|look| look.follower_mib)],
        ),
        panel("file descriptors of the leader", vec![line("descriptors", &|look| look.descriptors)]),
        panel(
            "latency, p50 of ten seconds, ms",
            vec![
                line("commit", &|look| p50_ms(&look.commits)),
                line("describe", &|look| p50_ms(&look.describes)),
            ],
        ),
    ])
}

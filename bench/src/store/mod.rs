//! `om-bench store`: what a durable commit takes, beside the bare disk and the bare etcd, and as the state grows.
//!
//! In one process, so that nothing but the store is measured. The stores of different sizes are written to in turn.

mod etcd;
mod file;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::{StreamExt as _, TryStreamExt as _};
use om_api::clock::{since_boot, wall_unix_ms};
use om_store::{Candidate, Change, Store, Term, Token};

use crate::figures::Figures;
use crate::plot::{Panel, Plot, What};
use crate::report::{self, ETCD, Section, environment};

/// What keeps the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Backend {
    File,
    Etcd,
}

/// `om-bench store`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What keeps the state: a file, or etcd [default: each]
    #[arg(long)]
    mode: Option<Backend>,
    /// Commits one after another that each figure is of
    #[arg(long, default_value_t = 200)]
    commits: usize,
    /// So many services are stored
    #[arg(long, value_delimiter = ',', default_value = "10,10000,100000")]
    services: Vec<usize>,
    /// The file that the tables are written into, between their markers
    #[arg(long, value_name = "FILE", default_value = "docs/benchmarks.md")]
    into: PathBuf,
    /// The directory of the plots
    #[arg(long, value_name = "DIR", default_value = "docs/plots")]
    plots: PathBuf,
    /// Only print the tables
    #[arg(long)]
    no_write: bool,
}

/// Clients at once, where commits share a synchronisation.
const MANY: usize = 64;
/// Writers at once while a store is filled.
const WIDE: usize = 1024;
/// What one service takes, about.
const SERVICE_BYTES: usize = 1150;

/// The command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for (mode, name, plot, title) in [
        (Backend::File, "store file", "store-file.svg", "A durable commit, file store"),
        (Backend::Etcd, "store etcd", "store-etcd.svg", "A durable commit, etcd store"),
    ] {
        if args.mode.is_some_and(|wanted| wanted != mode) {
            continue;
        }
        let rows = match mode {
            Backend::Etcd => etcd::measure(&runtime, args)?,
            Backend::File => runtime.block_on(file::measure(args))?,
        };
        let text = format!(
            "{}\n\n| what | p50 us | p99 us | ratio |\n| --- | --- | --- | --- |\n{}",
            environment(&[ETCD]),
            rows.iter().map(Row::text).collect::<String>()
        );
        println!("{title}\n{text}");
        if !args.no_write {
            let section = Section::new(name, title, "cargo xtask bench --release store");
            report::write(&args.into, &section, &format!("{text}\n![the same as bars](plots/{plot})\n"))?;
            draw(title, &rows).write(&args.plots.join(plot))?;
        }
    }
    Ok(())
}

/// A store and the right to write to it.
struct Held<S> {
    store: S,
    token: Token,
    filled: usize,
}

impl<S: Store> Held<S> {
    async fn claim(store: S) -> Result<Self> {
        let candidate = Candidate { name: "bench".to_owned(), endpoint: String::new(), authority_ms: 0 };
        let token = store.claim(&candidate, Term(0)).await.context("cannot claim the store")?;
        Ok(Self { store, token, filled: 0 })
    }

    /// One more service, and how long that took.
    async fn commit(&self, number: usize) -> Result<Duration> {
        let change =
            Change::at(wall_unix_ms()).put(format!("service/s-{number:06}"), vec![b'x'; SERVICE_BYTES]);
        let begun = since_boot();
        self.store.append(&self.token, change).await?;
        Ok(since_boot() - begun)
    }

    /// Until so many are stored.
    async fn fill(&mut self, services: usize) -> Result<()> {
        let many = self.many(services.saturating_sub(self.filled), WIDE).await?;
        self.filled += many.rounds.len();
        Ok(())
    }

    /// So many commits, so many of them at a time.
    async fn many(&self, commits: usize, wide: usize) -> Result<Figures> {
        let numbers = self.filled..self.filled + commits;
        let under_way = futures_util::stream::iter(numbers).map(|number| self.commit(number));
        let rounds = under_way.buffer_unordered(wide).try_collect().await?;
        Ok(Figures { rounds, ..Figures::default() })
    }
}

/// The services that are there already are declared anew, one after another, in each store in turn.
async fn in_turn<S: Store>(held: &[Held<S>], commits: usize) -> Result<Vec<Figures>> {
    let mut figures: Vec<Figures> = held.iter().map(|_| Figures::default()).collect();
    for round in 0..commits {
        for (held, figures) in held.iter().zip(&mut figures) {
            // Spread over all of them.
            let number = round * 7919 % held.filled.max(1);
            figures.rounds.push(held.commit(number).await?);
        }
    }
    Ok(figures)
}

/// A row of a table.
struct Row {
    what: String,
    /// Microseconds, where it is a time.
    p50: Option<f64>,
    cells: [String; 3],
}

impl Row {
    fn text(&self) -> String {
        format!("| {} | {} |\n", self.what, self.cells.join(" | "))
    }
}

fn draw(title: &str, rows: &[Row]) -> Plot {
    let bars = rows.iter().filter_map(|row| Some((row.what.clone(), row.p50?))).collect();
    Plot(vec![Panel { title: format!("{title}: p50, microseconds"), what: What::Bars(bars) }])
}

/// The ratio is over `beside`.
fn row(what: &str, figures: &Figures, beside: Option<(&Figures, &str)>) -> Row {
    let micros = |part| figures.quantile(part).map_or(f64::NAN, |it| it.as_secs_f64() * 1e6);
    let ratio = beside.and_then(|(other, name)| {
        let other = other.quantile(0.5)?.as_secs_f64() * 1e6;
        Some(format!("{:.2} x {name}", micros(0.5) / other))
    });
    let cells = [format!("{:.0}", micros(0.5)), format!("{:.0}", micros(0.99)), ratio.unwrap_or_default()];
    Row { what: what.to_owned(), p50: Some(micros(0.5)), cells }
}

fn rows_by_size(services: &[usize], figures: &[Figures]) -> Vec<Row> {
    let first = figures.first().zip(services.first());
    let rows = services.iter().zip(figures).map(|(stored, figures)| {
        let beside = first.map(|(first, stored)| (first, format!("with {stored}")));
        let beside = beside.as_ref().map(|(first, name)| (*first, name.as_str()));
        row(&format!("a commit with {stored} services stored"), figures, beside)
    });
    rows.collect()
}

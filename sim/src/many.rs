//! Many seeds, each in a process of its own.

use std::fmt;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::ValueEnum as _;
use om_checker::{Answer, Kind, What};

use crate::plant::Plant;
use crate::world::Outcome;

/// What happened in a world, or in many.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    terms: u64,
    answers: u64,
    commits: u64,
    effects: u64,
    deaths: u64,
    /// What all of the trace adds up to; of one world.
    sum: u64,
}

impl Tally {
    pub(crate) fn of(outcome: &Outcome) -> Self {
        let mut tally = Self { sum: outcome.sum, ..Self::default() };
        for event in &outcome.history {
            match &event.what {
                What::Acted { .. } => tally.effects += 1,
                What::Died { .. } => tally.deaths += 1,
                What::Answered { answer, .. } => {
                    tally.answers += 1;
                    tally.commits += u64::from(matches!(answer, Answer::Committed { .. }));
                }
                What::Watched { stored, .. } => {
                    tally.terms += u64::from(matches!(stored.kind, Kind::Leadership(_)));
                }
                _ => {}
            }
        }
        tally
    }

    fn add(&mut self, other: &Self) {
        self.terms += other.terms;
        self.answers += other.answers;
        self.commits += other.commits;
        self.effects += other.effects;
        self.deaths += other.deaths;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { terms, answers, commits, effects, deaths, sum } = self;
        write!(
            f,
            "terms={terms} answers={answers} commits={commits} effects={effects} deaths={deaths} sum={sum:016x}"
        )
    }
}

impl FromStr for Tally {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let mut tally = Self::default();
        for word in line.split_whitespace() {
            let (name, value) = word.split_once('=').ok_or(())?;
            let place = match name {
                "terms" => &mut tally.terms,
                "answers" => &mut tally.answers,
                "commits" => &mut tally.commits,
                "effects" => &mut tally.effects,
                "deaths" => &mut tally.deaths,
                "sum" => continue,
                _ => return Err(()),
            };
            *place = value.parse().map_err(drop)?;
        }
        Ok(tally)
    }
}

/// Runs so many seeds, from the first on.
///
/// # Errors
/// One of them shows a violation: which, and how to see it again.
pub(crate) fn run(first: u64, seeds: u64, jobs: usize, plant: Option<Plant>) -> Result<()> {
    let planted = plant.and_then(|plant| Some(plant.to_possible_value()?.get_name().to_owned()));
    let program = std::env::current_exe().context("cannot find this program")?;
    let begin = |seed: u64| -> Result<(u64, Child)> {
        let mut command = Command::new(&program);
        command.args(["--one", "--seed", &seed.to_string()]).stdout(Stdio::piped());
        if let Some(planted) = &planted {
            command.args(["--plant", planted]);
        }
        Ok((seed, command.spawn().context("cannot start a world")?))
    };
    let mut waiting = first..first + seeds;
    let mut running = std::collections::VecDeque::new();
    let (mut all, mut failed) = (Tally::default(), Vec::new());
    loop {
        while running.len() < jobs.max(1)
            && let Some(seed) = waiting.next()
        {
            running.push_back(begin(seed)?);
        }
        let Some((seed, mut child)) = running.pop_front() else { break };
        let mut said = String::new();
        if let Some(mut out) = child.stdout.take() {
            out.read_to_string(&mut said).context("a world cannot be read")?;
        }
        let ended = child.wait().context("a world does not end")?;
        if let Some(tally) = said.lines().find_map(|line| line.parse::<Tally>().ok()) {
            all.add(&tally);
        }
        if !ended.success() {
            println!("seed {seed}: {ended}\n{}", said.trim_end());
            let planted = planted.as_ref().map(|planted| format!(" --plant {planted}")).unwrap_or_default();
            println!("again: cargo xtask sim --seed {seed}{planted} --trace\n");
            failed.push(seed);
            if plant.is_some() {
                waiting.start = waiting.end;
            }
        }
    }
    let Tally { terms, answers, commits, effects, deaths, .. } = all;
    println!(
        "{seeds} seeds from {first}: {terms} terms, {answers} answers ({commits} to commits), {effects} effects, \
         {deaths} replicas died; {} seeds with violations",
        failed.len()
    );
    if failed.is_empty() { Ok(()) } else { bail!("seeds with violations: {failed:?}") }
}

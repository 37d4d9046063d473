//! The table that a run prints, and its place in `docs/benchmarks.md`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::figures::{Figures, millis};

/// A part of `docs/benchmarks.md` that a benchmark writes.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    /// For its markers: `failover etcd`.
    pub(crate) name: String,
    /// Its heading.
    pub(crate) title: String,
    /// What writes it.
    pub(crate) command: String,
}

impl Section {
    pub(crate) fn new(name: &str, title: &str, command: &str) -> Self {
        Self { name: name.to_owned(), title: title.to_owned(), command: command.to_owned() }
    }

    /// Between these its text stands.
    fn markers(&self) -> (String, String) {
        let Self { name, command, .. } = self;
        let begin = format!("<!-- bench {name}: begin; written by `{command}` -->");
        (begin, format!("<!-- bench {name}: end -->"))
    }
}

/// A row's name in the table, and what was measured.
pub(crate) type Row = (String, Figures);

/// The table, in Markdown.
pub(crate) fn table(rows: &[Row], rounds: usize) -> String {
    let mut text = environment(&[ETCD]) + &format!(" **Rounds:** {rounds} each, interleaved.\n\n");
    text += "| what | p50 ms | p99 ms | failed calls | |\n| --- | --- | --- | --- | --- |\n";
    for (what, figures) in rows {
        let quantile = |part| figures.quantile(part).map_or_else(|| "".to_owned(), millis);
        let mut notes = figures.notes.clone();
        if !figures.broken.is_empty() {
            notes.push(format!("{} rounds could not be measured", figures.broken.len()));
        }
        let (p50, p99, failed) = (quantile(0.5), quantile(0.99), figures.failed_calls);
        text += &format!("| {what} | {p50} | {p99} | {failed} | {} |\n", notes.join("; "));
    }
    text
}

/// Puts the text between the section's markers, at the end of the file if they are not there yet.
pub(crate) fn write(file: &Path, section: &Section, text: &str) -> Result<()> {
    let old = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    fs::write(file, placed(&old, section, text)).with_context(|| format!("cannot write {}", file.display()))
}

fn placed(old: &str, to: &Section, table: &str) -> String {
    let (first, last) = to.markers();
    let section = format!("{first}\n\n{}\n{last}", table.trim_end().to_owned() + "\n");
    let found = old.find(&first).zip(old.find(&last)).filter(|(begin, end)| begin < end);
    match found {
        Some((begin, end)) => format!("{}{section}{}", &old[..begin], &old[end + last.len()..]),
        None => format!("{}\n\n## {}\n\n{section}\n", old.trim_end(), to.title),
    }
}

/// How a program says its version: the first line of what it answers to these arguments, from this word on.
pub(crate) struct Peer {
    pub(crate) program: &'static str,
    pub(crate) ask: &'static str,
    /// What to put in the place of what stands before the version.
    pub(crate) before: (&'static str, &'static str),
}

pub(crate) const ETCD: Peer = Peer { program: "etcd", ask: "--version", before: ("etcd Version: ", "etcd ") };

/// Where figures come from: the machine, the build, the commit.
pub(crate) fn environment(peers: &[Peer]) -> String {
    let peers: String = peers.iter().map(|peer| format!(", {}", peer.version())).collect();
    let build = if cfg!(debug_assertions) { "dev" } else { "release" };
    format!("**Machine:** {}{peers}. **Build:** `{build}`. **Commit:** `{}`.", machine(), commit())
}

impl Peer {
    fn version(&self) -> String {
        let output = Command::new(self.program).arg(self.ask).output();
        // nginx says it where others complain.
        let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().next().unwrap_or_default().replace(self.before.0, self.before.1);
        line.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field =
        |line: &str| Some(line.strip_prefix("model name")?.trim_start_matches([' ', '\t', ':']).to_owned());
    let model = info.lines().find_map(field).unwrap_or_else(|| "an unknown processor".to_owned());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.split('-').next().unwrap_or_default().trim().to_owned();
    format!("{cores} cores ({model}), Linux {kernel}")
}

fn commit() -> String {
    let commit = said(Command::new("git").args(["rev-parse", "--short", "HEAD"]));
    let changed =
        !said(Command::new("git").args(["status", "--porcelain", "--untracked-files=no"])).is_empty();
    let commit = if commit.trim().is_empty() { "unknown".to_owned() } else { commit.trim().to_owned() };
    if changed { commit + " and changes" } else { commit }
}

fn said(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).into_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_new_table_takes_the_place_of_the_old_one_and_what_else_stands_there_stays() {
        let [etcd, swarm] = ["etcd", "swarm"].map(|mode| {
            let title = format!("Failover, mode `{mode}`");
            Section::new(&format!("failover {mode}"), &title, "cargo xtask bench failover")
        });
        let first = placed("# Benchmarks\n\nWords.\n", &etcd, "| one |\n");
        assert!(first.starts_with("# Benchmarks\n\nWords.\n\n## Failover, mode `etcd`\n"), "{first}");
        let both = placed(&(first.clone() + "\nMore words.\n"), &swarm, "| three |\n");
        let second = placed(&both, &etcd, "| two |\n");
        assert!(second.contains("| two |") && !second.contains("| one |"), "{second}");
        assert!(second.starts_with("# Benchmarks\n\nWords.\n") && second.contains("\nMore words.\n"));
        assert!(second.contains("| three |"), "the other mode's stays: {second}");
        assert_eq!(placed(&second, &etcd, "| two |\n"), second);
    }

    #[test]
    fn a_row_without_a_figure_says_why() {
        let mut figures = Figures::default();
        figures.broken.push("no leader".to_owned());
        let whole = Figures { rounds: vec![Duration::from_micros(6_900)], ..Figures::default() };
        let text = table(&[("kill".to_owned(), whole), ("cut".to_owned(), figures)], 1);
        assert!(text.contains("| kill | 6.9 | 6.9 | 0 |  |\n"), "{text}");
        assert!(text.contains("| cut |  |  | 0 | 1 rounds could not be measured |\n"), "{text}");
    }
}

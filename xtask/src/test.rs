//! `cargo xtask test`: one command that installs what is missing, builds, and runs every test.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, ensure};

use crate::run::{cargo, run as run_command, shown};
use crate::{clock, env, say, setup};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A test that lacks something it needs fails, where it would be skipped loudly; implied by CI=true
    #[arg(long)]
    require_all: bool,
    /// For `cargo test`: `-- -p om-store`, `-- fencing`, `-- -p om-cli -- --nocapture`
    #[arg(last = true)]
    args: Vec<String>,
}

/// The programs, built with the features that the tests are built with: what cargo builds here it does not build
/// again for `cargo test`. `--examples` is what tells it so, for examples may use what only tests need.
pub(crate) const PROGRAMS: &[&str] = &["build", "--workspace", "--bins", "--examples", "--locked"];

/// The command.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure()?;
    let require_all = args.require_all || env::ci();
    let test = || {
        let mut command = cargo(["test", "--locked", "--no-fail-fast"]);
        let picks = |arg: &&String| arg.starts_with("-p") || arg.starts_with("--package");
        if !args.args.iter().take_while(|arg| *arg != "--").any(|arg| picks(&arg)) {
            command.arg("--workspace");
        }
        command
    };

    say::heading("build");
    let begun = clock::now();
    run_command(&mut cargo(PROGRAMS))?;
    run_command(test().arg("--no-run").args(&args.args))?;
    println!("{}\n", say::dim(&clock::show(clock::now().saturating_sub(begun))));

    say::heading("test");
    let begun = clock::now();
    let mut command = test();
    command.args(&args.args);
    if say::colour() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    if require_all {
        command.env("OM_REQUIRE_ALL", "1");
    }
    let (tally, status) = watch(command)?;
    let took = clock::now().saturating_sub(begun);

    say::heading("summary");
    tally.show(&clock::show(took));
    ensure!(status.success(), "the tests failed: {status}");
    ensure!(!require_all || tally.skipped.is_empty(), "tests were skipped where nothing may be skipped");
    ensure!(tally.passed > 0, "no test ran");
    Ok(())
}

/// Runs the tests, passes on what they say, and counts. Both outputs share one pipe, so that lines stay in order.
fn watch(mut command: Command) -> Result<(Tally, ExitStatus)> {
    let (reader, writer) = std::io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("cannot start {}", shown(&command)))?;
    drop(command); // With it, this side's ends of the pipe: it ends when the tests do.
    let mut tally = Tally::default();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line?;
        let mut out = std::io::stdout().lock();
        out.write_all(&line)?;
        out.write_all(b"\n")?;
        tally.read(&String::from_utf8_lossy(&line));
    }
    Ok((tally, child.wait()?))
}

/// What the test programs reported.
#[derive(Default)]
struct Tally {
    programs: usize,
    passed: usize,
    failed: usize,
    ignored: usize,
    failures: Vec<String>,
    /// Tests that lacked something, with what: `name needs what`.
    skipped: Vec<String>,
    /// What tests measured on the way.
    measured: Vec<String>,
}

impl Tally {
    /// Reads one line of a test program's output.
    fn read(&mut self, line: &str) {
        let line = plain(line);
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.programs += usize::from(!counts.contains(". 0 passed; 0 failed"));
            let words: Vec<&str> = counts.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
            for pair in words.windows(2) {
                let Ok(number) = pair[0].parse::<usize>() else { continue };
                match pair[1] {
                    "passed" => self.passed += number,
                    "failed" => self.failed += number,
                    "ignored" => self.ignored += number,
                    _ => {}
                }
            }
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failures.push(name.to_owned());
        } else if let Some(what) = line.strip_prefix("SKIPPED: ") {
            self.skipped.push(what.to_owned());
        } else if let Some(what) = line.strip_prefix("MEASURED: ") {
            self.measured.push(what.to_owned());
        }
    }

    fn show(&self, took: &str) {
        println!("{:>6} passed in {} programs, {took}", self.passed, self.programs);
        let part = |count: usize, what: String, lines: &[String]| {
            if count > 0 {
                println!("{count:>6} {what}");
                lines.iter().for_each(|line| println!("         {line}"));
            }
        };
        part(self.failed, say::red("failed"), &self.failures);
        let skipped = format!("{}, for this machine lacks what they need", say::yellow("skipped"));
        part(self.skipped.len(), skipped, &self.skipped);
        part(self.ignored, say::yellow("ignored"), &[]);
        part(self.measured.len(), "measured".to_owned(), &self.measured);
    }
}

/// A line without its colours.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\x1b' {
            chars.by_ref().find(char::is_ascii_alphabetic);
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tally_adds_up_what_test_programs_report() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test fencing::deposed_leader_cannot_commit ... ok",
            "test fencing::a_paused_leader_is_fenced ... \x1b[31mFAILED\x1b[0m",
            "test result: \x1b[31mFAILED\x1b[0m. 2 passed; 1 failed; 0 ignored; 0 measured; 7 filtered out; finished in 0.12s",
            "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: ok. 40 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.12s",
            "SKIPPED: a_full_disk_is_told needs a mount namespace",
        ] {
            tally.read(line);
        }
        assert_eq!((tally.programs, tally.passed, tally.failed, tally.ignored), (2, 42, 1, 1));
        assert_eq!(tally.failures, ["fencing::a_paused_leader_is_fenced"]);
        assert_eq!(tally.skipped, ["a_full_disk_is_told needs a mount namespace"]);
    }
}

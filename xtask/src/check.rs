//! `cargo xtask check`: everything that judges the code by reading it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::run::{capture, cargo, metadata, run as run_command, target_dir};
use crate::{clock, house, say, setup};

/// The version of cargo-deny that judges; another could judge differently.
const CARGO_DENY: &str = "0.20.2";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Put right what machines can put right, then check
    #[arg(long)]
    fix: bool,
}

type Stage = fn() -> Result<()>;

/// The command. Goes through all of it, so that one run shows everything that is wrong.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure()?;
    if args.fix {
        run_command(&mut cargo(["fmt", "--all"]))?;
        let clippy = [
            "clippy",
            "--fix",
            "--allow-dirty",
            "--allow-staged",
            "--workspace",
            "--all-targets",
            "--locked",
        ];
        run_command(&mut cargo(clippy))?;
    }
    let stages: [(&str, Stage); 5] = [
        ("the rules of the house", rules),
        ("fmt", || run_command(&mut cargo(["fmt", "--all", "--check"]))),
        ("clippy", clippy),
        ("documentation", documentation),
        ("dependencies: bans, licences, sources", dependencies),
    ];
    let mut failed = Vec::new();
    for (name, stage) in stages {
        say::heading(name);
        let begun = clock::now();
        let done = stage();
        let took = clock::show(clock::now().saturating_sub(begun));
        match done {
            Ok(()) => println!("{} {}\n", say::green("ok"), say::dim(&took)),
            Err(error) => {
                say::error(&error);
                println!("{} {}\n", say::red("failed"), say::dim(&took));
                failed.push(name);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("check failed: {}", failed.join("; ")) }
}

fn rules() -> Result<()> {
    let broken = house::broken(&house::Workspace::read()?)?;
    for rule in &broken {
        println!("{rule}");
    }
    if broken.is_empty() {
        Ok(())
    } else {
        bail!("{} broken; CONTRIBUTING.md says why they are rules", broken.len())
    }
}

fn clippy() -> Result<()> {
    run_command(&mut cargo([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--keep-going",
        "--",
        "-D",
        "warnings",
    ]))
}

/// Libraries, and programs that have none. `--examples` makes cargo resolve features as clippy's `--all-targets` does,
/// so that the dependencies which clippy has checked are not checked again.
fn documentation() -> Result<()> {
    let mut doc =
        cargo(["doc", "--workspace", "--no-deps", "--locked", "--keep-going", "--lib", "--examples"]);
    for program in bare_programs(&metadata()?) {
        doc.args(["--bin", &program]);
    }
    // A link from public to private is checked too, and leads whoever reads the source; in the pages it is plain text.
    run_command(doc.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links"))
}

/// Programs of crates without a library. The documentation of the others would be written over their library's.
fn bare_programs(metadata: &Value) -> Vec<String> {
    let targets = |package: &Value| package["targets"].as_array().cloned().unwrap_or_default();
    let is = |target: &Value, kind: &str| {
        target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|k| k == kind))
    };
    let packages = metadata["packages"].as_array().into_iter().flatten().map(targets);
    packages
        .filter(|targets| !targets.iter().any(|target| is(target, "lib")))
        .flatten()
        .filter(|target| is(target, "bin"))
        .filter_map(|target| target["name"].as_str().map(str::to_owned))
        .collect()
}

fn dependencies() -> Result<()> {
    let deny = cargo_deny()?;
    run_command(Command::new(deny).current_dir(crate::run::root()).args([
        "--locked",
        "check",
        "-D",
        "unnecessary-skip",
        "-D",
        "unmatched-skip",
        "bans",
        "licenses",
        "sources",
    ]))?;
    println!("{}", say::dim("advisories are not asked for: their database is not in reach of every machine"));
    Ok(())
}

/// Finds cargo-deny, or builds it under `target/tools`, where it is in nobody's way.
fn cargo_deny() -> Result<PathBuf> {
    let tools = target_dir()?.join("tools");
    let ours = tools.join("bin/cargo-deny");
    let fits = |program: &PathBuf| {
        capture(Command::new(program).arg("--version")).is_ok_and(|out| {
            String::from_utf8_lossy(&out.stdout).split_whitespace().any(|word| word == CARGO_DENY)
        })
    };
    if let Some(found) = [ours.clone()].into_iter().chain(crate::run::which("cargo-deny")).find(fits) {
        return Ok(found);
    }
    println!("building cargo-deny {CARGO_DENY} into {}: this once, a minute or two", tools.display());
    let build = tools.join("build");
    // Without optimisation: it runs for a second, and is built in half the time.
    run_command(
        cargo(["install", "--quiet", "--locked", "--debug", "cargo-deny", "--version", CARGO_DENY])
            .arg("--root")
            .arg(&tools)
            .arg("--target-dir")
            .arg(&build)
            .env("CARGO_PROFILE_DEV_DEBUG", "0"),
    )
    .context("cannot build cargo-deny")?;
    std::fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))?;
    Ok(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_covers_programs_that_have_no_library() {
        let programs = bare_programs(&metadata().unwrap());
        assert!(programs.iter().any(|name| name == "xtask"), "{programs:?}");
        assert!(!programs.iter().any(|name| name == "om-manager"), "{programs:?}");
    }
}

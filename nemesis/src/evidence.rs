//! What is left of a run that was not good.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use om_system_tests::NAMES;

use crate::summary::minutes;
use crate::world::World;
use crate::{Orders, Outcome};

/// Writes the history, what is wrong with it, and the logs of all programs; says where.
pub(crate) fn write(orders: &Orders, world: &dyn World, outcome: &Outcome) {
    if let Err(cause) = try_write(orders, world, outcome) {
        eprintln!("no evidence in {}: {cause}", orders.evidence.display());
    }
}

fn try_write(orders: &Orders, world: &dyn World, outcome: &Outcome) -> std::io::Result<()> {
    let dir = &orders.evidence;
    fs::create_dir_all(dir)?;
    let mut text = format!("{}\n\n", outcome.summary);
    if let Some(failure) = &outcome.failure {
        let _ = writeln!(text, "FAILED: {failure}\n");
    }
    for violation in &outcome.violations {
        let _ = writeln!(text, "VIOLATION: {violation}\n");
    }
    let _ = writeln!(text, "again: {}", outcome.again);
    fs::write(dir.join("verdict.txt"), &text)?;
    let mut file = BufWriter::new(fs::File::create(dir.join("history.jsonl"))?);
    let mut history: Vec<_> = outcome.history.iter().collect();
    history.sort_by_key(|event| event.at);
    for event in history {
        serde_json::to_writer(&mut file, event)?;
        file.write_all(b"\n")?;
    }
    file.flush()?;
    for (number, name) in NAMES.iter().enumerate() {
        let bed = world.bed(number);
        copy(&bed.path(&format!("{name}.log")), &dir.join(format!("{name}.log")))?;
        copy(&bed.path("record.log"), &dir.join(format!("{name}.plugin.log")))?;
        if let Some(keeper) = world.keeper(number) {
            copy(keeper.log_file(), &dir.join(format!("{name}.keeper.log")))?;
        }
    }
    eprintln!("evidence: {}", dir.display());
    Ok(())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    if from.exists() { fs::copy(from, to).map(drop) } else { Ok(()) }
}

/// The command that makes the same plan again.
pub(crate) fn replay(orders: &Orders) -> String {
    let (minutes, mode, seed) = (minutes(orders.time), orders.mode.name(), orders.seed);
    format!("cargo xtask nemesis --minutes {minutes} --mode {mode} --seed {seed}")
}

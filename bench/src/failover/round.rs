//! One failover under load.

use std::collections::BTreeMap;
use std::time::Duration;

use om_api::v1::EventType;
use om_system_tests::record::SteeringLine;
use om_system_tests::{SOON, wait_for, wait_until};

use super::{Results, World};

// Callers, and how many acknowledgements there are before the fault and after it.
const CALLERS: usize = 1;
const BEFORE: usize = 20;
const AFTER: usize = 20;

/// Makes the fault while callers hammer, waits until the new leader works, mends, and reads off the record how long it
/// took.
pub(super) fn fail_over(
    world: &mut World<'_>,
    what: &str,
    results: &mut Results,
    fault: impl FnOnce(&World<'_>, usize) -> Duration,
    mend: impl FnOnce(&World<'_>, usize),
) {
    let (leader, old) = world.group.settle();
    let hammer = world.group.hammer(CALLERS);
    wait_until("commits before the fault", SOON, || hammer.accepted() >= BEFORE);
    let _ = world.steering.read::<SteeringLine>();

    let before = fault(world, leader);
    let mut lines: Vec<SteeringLine> = Vec::new();
    wait_until("a new term to steer", world.group.patience(), || {
        lines.extend(world.steering.read().into_iter().filter(|line: &SteeringLine| line.term > old));
        !lines.is_empty()
    });
    let already = hammer.accepted();
    wait_until("commits after the fault", world.group.patience(), || hammer.accepted() >= already + AFTER);
    let told = hammer.stop();
    lines.extend(world.steering.read().into_iter().filter(|line: &SteeringLine| line.term > old));
    mend(world, leader);

    let begun = beginnings(world, old);
    // Declarations that were stored before the term began are older than it; only what was accepted under it counts.
    let accepted = |line: &&SteeringLine| begun.get(&line.term).is_some_and(|begun| line.revision > *begun);
    let first = lines.iter().filter(accepted).map(|line| Duration::from_micros(line.at)).min();
    let first = first.unwrap_or_else(|| panic!("no commit was accepted and forwarded after term {old}"));
    let figures = results.of(what);
    figures.rounds.push(first.saturating_sub(before));
    figures.failed_calls += told.failed.len();
    figures.broken.extend(told.failed.first().map(|failure| format!("a call failed: {failure:?}")));
    world.group.settle();
}

// By term, the revision at which it began.
fn beginnings(world: &World<'_>, after: u64) -> BTreeMap<u64, u64> {
    wait_for("the new leader's history", world.group.patience(), || {
        let (leader, _) = world.group.leader().filter(|(_, term)| *term > after)?;
        let client = world.group.bed(leader).client(om_system_tests::NAMES[leader]);
        let events = client.history("").ok()?;
        let terms = events.iter().filter(|event| event.r#type() == EventType::Leadership);
        let terms: BTreeMap<u64, u64> =
            terms.filter(|event| event.term > after).map(|event| (event.term, event.revision)).collect();
        (!terms.is_empty()).then_some(terms)
    })
}

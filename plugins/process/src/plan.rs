//! What to do next, decided without doing anything: declared and seen in, steps out.
//!
//! What must hold:
//! * At most `max_unavailable` members are under way to a new spec, and no member that works is taken down while that
//!   many do not work. So a spec that does not work breaks no more than `max_unavailable` of them.
//! * A member that does not work anyway is replaced first, so that a further commit repairs what the last one broke.
//! * A member is stopped before another takes its place; there are never two copies.

use std::collections::BTreeMap;

use crate::spec::{Spec, member_name};

/// What a process of a member is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It runs.
    Up {
        /// It works.
        ready: bool,
        /// It works and has not just crashed: the next one may be replaced.
        proven: bool,
    },
    /// It is being stopped on purpose.
    Stopping,
    /// It was stopped on purpose; nothing of it is left.
    Stopped,
    /// It crashed; its leftovers are being swept.
    Sweeping,
    /// It crashed; nothing of it is left.
    Down {
        /// The back-off is over.
        due: bool,
    },
}

/// One member, as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// What its process is doing.
    pub(crate) stage: Stage,
    /// It runs, or ran, by the declared spec and is not asked to be replaced.
    pub(crate) current: bool,
}

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// So many members.
    pub(crate) members: u32,
    /// So many at a time.
    pub(crate) max_unavailable: u32,
}

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Start a member by the declared spec.
    Start(u32),
    /// Start a member again by the spec that it had: its turn has not come.
    Again(u32),
    /// Stop a member.
    Stop(u32),
    /// A member that is not wanted is gone: forget it.
    Forget(u32),
}

/// What to do now. Empty: nothing, until something changes.
pub(crate) fn next(wanted: Wanted, views: &BTreeMap<u32, View>) -> Vec<Step> {
    let mut steps = Vec::new();
    // The highest first.
    for (index, view) in views.range(wanted.members..).rev() {
        match view.stage {
            Stage::Up { .. } => steps.push(Step::Stop(*index)),
            Stage::Stopped | Stage::Down { .. } => steps.push(Step::Forget(*index)),
            Stage::Stopping | Stage::Sweeping => {}
        }
    }
    let mut under_way = 0;
    let mut unavailable = 0;
    let mut outdated = Vec::new();
    for index in 0..wanted.members {
        let Some(view) = views.get(&index) else {
            steps.push(Step::Start(index));
            under_way += 1;
            unavailable += 1;
            continue;
        };
        let ready = matches!(view.stage, Stage::Up { ready: true, .. });
        unavailable += u32::from(!ready);
        match view.stage {
            Stage::Stopped => {
                steps.push(Step::Start(index));
                under_way += 1;
            }
            Stage::Stopping => under_way += 1,
            Stage::Up { proven, .. } if view.current => under_way += u32::from(!proven),
            Stage::Down { due } if view.current => {
                if due {
                    steps.push(Step::Start(index));
                }
                under_way += 1;
            }
            Stage::Sweeping if view.current => under_way += 1,
            Stage::Sweeping => {}
            Stage::Up { .. } | Stage::Down { .. } => outdated.push((ready, index, view.stage)),
        }
    }
    // Those that do not work first.
    outdated.sort_unstable_by_key(|(ready, index, _)| (*ready, *index));
    for (ready, index, stage) in outdated {
        let turn = under_way < wanted.max_unavailable && (!ready || unavailable < wanted.max_unavailable);
        match stage {
            Stage::Down { due: true } if !turn => steps.push(Step::Again(index)),
            Stage::Down { .. } if !turn => {}
            Stage::Down { .. } => {
                steps.push(Step::Start(index));
                under_way += 1;
            }
            _ if turn => {
                steps.push(Step::Stop(index));
                under_way += 1;
                unavailable += u32::from(ready);
            }
            _ => {}
        }
    }
    steps
}

/// More lines than this are told as a range.
const LINES: u32 = 20;

/// What committing `wanted` over `current` would do, for people.
pub(crate) fn describe(service: &str, wanted: &Spec, current: Option<&Spec>) -> Vec<String> {
    let name = |index| member_name(service, index);
    let start = |index: u32| match wanted.port {
        Some(port) => format!("start {} on port {}", name(index), u32::from(port.from) + index),
        None => format!("start {}", name(index)),
    };
    let before = current.map_or(0, |current| current.members);
    let kept = before.min(wanted.members);
    let mut lines = Vec::new();
    // The way that it is done: down first, then what is new, then what changed.
    ranged(&mut lines, wanted.members..before, |index| format!("stop {}", name(index)), true);
    ranged(&mut lines, before..wanted.members, start, false);
    if let Some(current) = current {
        let changes = current.template().differences(&wanted.template());
        if !changes.is_empty() {
            let changes = changes.join(", ");
            ranged(
                &mut lines,
                0..kept,
                |index| format!("replace {} ({changes} changed)", name(index)),
                false,
            );
        }
        let settings = [
            ("health", current.health != wanted.health),
            ("restart", current.restart != wanted.restart),
            ("stop", current.stop != wanted.stop),
            ("update", current.update != wanted.update),
        ];
        let settings: Vec<_> =
            settings.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect();
        if !settings.is_empty() {
            lines.push(format!("change the settings of {}, members go on", settings.join(", ")));
        }
    }
    if lines.is_empty() {
        lines.push("nothing to do".to_owned());
    }
    lines
}

fn ranged(lines: &mut Vec<String>, range: std::ops::Range<u32>, line: impl Fn(u32) -> String, down: bool) {
    let indexes: Vec<u32> = if down { range.rev().collect() } else { range.collect() };
    let count = u32::try_from(indexes.len()).unwrap_or(u32::MAX);
    let shown = if count > LINES { LINES - 1 } else { count };
    lines.extend(indexes.iter().take(shown as usize).map(|index| line(*index)));
    if let Some(last) = indexes.last().filter(|_| shown < count) {
        lines.push(format!("… and {} more, to: {}", count - shown, line(*last)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKS: View = View { stage: Stage::Up { ready: true, proven: true }, current: true };
    const OLD: View = View { stage: Stage::Up { ready: true, proven: true }, current: false };
    const STARTS: View = View { stage: Stage::Up { ready: false, proven: false }, current: true };

    fn steps(members: u32, max_unavailable: u32, views: &[View]) -> Vec<Step> {
        let views = (0..).zip(views.iter().copied()).collect();
        next(Wanted { members, max_unavailable }, &views)
    }

    #[test]
    fn all_missing_members_are_started_at_once() {
        assert_eq!(steps(3, 1, &[]), [Step::Start(0), Step::Start(1), Step::Start(2)]);
        assert_eq!(steps(3, 1, &[WORKS, WORKS]), [Step::Start(2)]);
        assert_eq!(steps(2, 1, &[WORKS, WORKS]), []);
    }

    #[test]
    fn scaling_in_stops_the_highest() {
        assert_eq!(steps(1, 1, &[WORKS, WORKS, WORKS]), [Step::Stop(2), Step::Stop(1)]);
        let gone = View { stage: Stage::Stopped, current: true };
        assert_eq!(steps(1, 1, &[WORKS, gone]), [Step::Forget(1)]);
    }

    #[test]
    fn no_more_than_allowed_are_replaced_at_a_time() {
        assert_eq!(steps(3, 1, &[OLD, OLD, OLD]), [Step::Stop(0)]);
        assert_eq!(steps(3, 2, &[OLD, OLD, OLD]), [Step::Stop(0), Step::Stop(1)]);
        assert_eq!(steps(3, 1, &[STARTS, OLD, OLD]), []);
        assert_eq!(steps(3, 1, &[WORKS, OLD, OLD]), [Step::Stop(1)]);
        let stopping = View { stage: Stage::Stopping, current: false };
        assert_eq!(steps(3, 1, &[stopping, OLD, OLD]), []);
        let stopped = View { stage: Stage::Stopped, current: false };
        assert_eq!(steps(3, 1, &[stopped, OLD, OLD]), [Step::Start(0)]);
    }

    #[test]
    fn a_new_member_that_crashed_lately_holds_the_rollout() {
        let shaky = View { stage: Stage::Up { ready: true, proven: false }, current: true };
        assert_eq!(steps(2, 1, &[shaky, OLD]), []);
    }

    #[test]
    fn an_old_member_that_crashes_while_the_rollout_is_held_comes_back_as_it_was() {
        let crashed = View { stage: Stage::Down { due: true }, current: false };
        assert_eq!(steps(3, 1, &[STARTS, crashed, OLD]), [Step::Again(1)]);
        assert_eq!(steps(3, 1, &[WORKS, crashed, OLD]), [Step::Start(1)]);
    }

    #[test]
    fn a_further_commit_repairs_the_broken_one_first() {
        let broken = View { stage: Stage::Up { ready: false, proven: false }, current: false };
        assert_eq!(steps(3, 1, &[OLD, broken, OLD]), [Step::Stop(1)]);
        // All broken: still one at a time.
        assert_eq!(steps(3, 1, &[broken, broken, broken]), [Step::Stop(0)]);
    }

    #[test]
    fn a_crashed_member_waits_for_its_time() {
        let down = |due| View { stage: Stage::Down { due }, current: true };
        assert_eq!(steps(1, 1, &[down(false)]), []);
        assert_eq!(steps(1, 1, &[down(true)]), [Step::Start(0)]);
        let sweeping = View { stage: Stage::Sweeping, current: true };
        assert_eq!(steps(1, 1, &[sweeping]), []);
    }

    /// Runs the plan against every way in which members can turn out, and counts.
    #[test]
    fn a_rollout_ends_with_all_members_current_and_never_takes_too_many_down() {
        for (members, max) in [(1, 1), (3, 1), (5, 2), (4, 9)] {
            let mut views: BTreeMap<u32, View> = (0..members).map(|index| (index, OLD)).collect();
            let wanted = Wanted { members, max_unavailable: max };
            for round in 0.. {
                assert!(round < 100, "the rollout never ends");
                for step in next(wanted, &views) {
                    let (index, view) = match step {
                        Step::Stop(index) => (index, View { stage: Stage::Stopping, current: false }),
                        Step::Start(index) => (index, STARTS),
                        other => panic!("{other:?} in a rollout without crashes"),
                    };
                    views.insert(index, view);
                }
                let down = views
                    .values()
                    .filter(|view| !matches!(view.stage, Stage::Up { ready: true, .. }))
                    .count();
                assert!(down <= max as usize, "{down} of {members} down at once");
                let Some(view) = views.values_mut().find(|view| **view != WORKS && **view != OLD) else {
                    break;
                };
                *view = if view.stage == Stage::Stopping {
                    View { stage: Stage::Stopped, ..*view }
                } else {
                    WORKS
                };
            }
            assert!(views.values().all(|view| *view == WORKS));
        }
    }

    #[test]
    fn steps_are_told_as_people_say_them() {
        let read = |json: &str| crate::spec::read("web", json.as_bytes()).unwrap();
        let two = read(r#"{"members": 2, "command": ["a"], "port": {"from": 18080}}"#);
        assert_eq!(describe("web", &two, None), ["start web-0 on port 18080", "start web-1 on port 18081"]);
        assert_eq!(describe("web", &two, Some(&two)), ["nothing to do"]);
        let one =
            read(r#"{"members": 1, "command": ["b"], "port": {"from": 18080}, "stop": {"signal": "INT"}}"#);
        let lines =
            ["stop web-1", "replace web-0 (command changed)", "change the settings of stop, members go on"];
        assert_eq!(describe("web", &one, Some(&two)), lines);
        let many = read(r#"{"members": 1000, "command": ["a"]}"#);
        let lines = describe("web", &many, None);
        assert_eq!(lines.len(), 20);
        assert_eq!(lines[19], "… and 981 more, to: start web-999");
    }
}

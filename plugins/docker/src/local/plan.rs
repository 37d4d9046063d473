//! What to do next with the containers of an engine, decided without doing anything.
//!
//! At most `max_unavailable` are under way to a new spec, and none that works is taken down while that many do not
//! work: a spec that does not work breaks no more than that many.

use std::collections::BTreeMap;

/// One container, as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// It runs, and its check, if there is one, succeeds.
    pub(crate) works: bool,
    /// It ended, and may stay so.
    pub(crate) done: bool,
    /// It does not run, and the engine will not start it by itself.
    pub(crate) down: bool,
    /// It was made from what is declared.
    pub(crate) current: bool,
}

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make it and start it.
    Create(u32),
    /// Start it again as it is.
    Start(u32),
    /// Stop it, remove it, and make it as declared.
    Replace(u32),
    /// Stop and remove it: it is not wanted.
    Remove(u32),
}

/// What to do now. Empty: nothing, until something changes.
pub(crate) fn next(replicas: u32, max_unavailable: u32, views: &BTreeMap<u32, View>) -> Vec<Step> {
    let mut steps: Vec<Step> = views.range(replicas..).rev().map(|(index, _)| Step::Remove(*index)).collect();
    let (mut under_way, mut unavailable) = (0, 0);
    let mut outdated = Vec::new();
    for index in 0..replicas {
        let Some(view) = views.get(&index) else {
            steps.push(Step::Create(index));
            (under_way, unavailable) = (under_way + 1, unavailable + 1);
            continue;
        };
        let well = view.works || view.done;
        unavailable += u32::from(!well);
        if !view.current {
            outdated.push((well, index, view.down && !view.done));
            continue;
        }
        under_way += u32::from(!well);
        if view.down && !view.done {
            steps.push(Step::Start(index));
        }
    }
    // Those that do not work first.
    outdated.sort_unstable();
    for (well, index, down) in outdated {
        if under_way < max_unavailable && (!well || unavailable < max_unavailable) {
            steps.push(Step::Replace(index));
            under_way += 1;
            unavailable += u32::from(well);
        } else if down {
            // Its turn has not come.
            steps.push(Step::Start(index));
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: View = View { works: true, done: false, down: false, current: true };
    const OLD: View = View { current: false, ..WELL };
    const BROKEN: View = View { works: false, ..WELL };
    const DOWN: View = View { down: true, ..BROKEN };

    fn plan(replicas: u32, max_unavailable: u32, views: &[View]) -> Vec<Step> {
        next(replicas, max_unavailable, &(0..).zip(views.iter().copied()).collect())
    }

    #[test]
    fn what_is_missing_is_made_and_what_is_not_wanted_is_removed() {
        assert_eq!(plan(2, 1, &[]), [Step::Create(0), Step::Create(1)]);
        assert_eq!(plan(1, 1, &[WELL, WELL, WELL]), [Step::Remove(2), Step::Remove(1)]);
        assert_eq!(plan(2, 1, &[WELL, WELL]), []);
        assert_eq!(plan(2, 1, &[WELL, DOWN]), [Step::Start(1)]);
    }

    #[test]
    fn an_update_takes_no_more_at_a_time_than_may_be_unavailable() {
        assert_eq!(plan(3, 1, &[OLD, OLD, OLD]), [Step::Replace(0)]);
        assert_eq!(plan(3, 2, &[OLD, OLD, OLD]), [Step::Replace(0), Step::Replace(1)]);
        assert_eq!(plan(3, 1, &[BROKEN, OLD, OLD]), [], "the first one does not work");
        assert_eq!(plan(3, 1, &[WELL, OLD, OLD]), [Step::Replace(1)]);
        let broken = View { works: false, ..OLD };
        assert_eq!(plan(3, 1, &[OLD, OLD, broken]), [Step::Replace(2)], "what does not work anyway first");
    }

    #[test]
    fn what_ended_and_may_stay_so_is_left() {
        let done = View { works: false, done: true, down: true, current: true };
        assert_eq!(plan(1, 1, &[done]), []);
        assert_eq!(plan(1, 1, &[View { current: false, ..done }]), [Step::Replace(0)]);
    }
}

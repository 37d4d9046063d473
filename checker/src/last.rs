//! How everything stood at the end.

use crate::{Event, Invariant, Violation, What};

/// Everything that is declared is ready. Whether it stands as it should is judged with the calls.
pub(crate) fn check(events: &[&Event], found: &mut Vec<Violation>) {
    for event in events {
        if let What::Stood { service, seen: Some(_), ready: false, message } = &event.what {
            let what = format!("{service} did not become ready again: {message}");
            found.push(Violation::new(Invariant::TakeoverIsComplete, what, [*event]));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Invariant::TakeoverIsComplete;
    use crate::testing::{answered, broken, called, commit, stood, told};

    #[test]
    fn what_is_declared_and_not_ready_at_the_end_is_found() {
        let history = |ready| {
            [called(1, 1, "x", commit(1)), answered(2, 1, told(1)), stood(3, "x", Some((1, 1)), ready)]
        };
        assert_eq!(broken(&history(true)), []);
        assert_eq!(broken(&history(false)), [TakeoverIsComplete]);
    }
}

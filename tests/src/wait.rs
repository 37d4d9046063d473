//! Waiting on a state, with a reason and a deadline.

use std::time::Duration;

use om_api::clock::since_boot;

/// Long enough for anything that should happen "at once" or "soon", on a machine that is busy with other things.
/// It bounds a failing test; it says nothing about how fast anything is.
pub const SOON: Duration = Duration::from_secs(30);

const STEP: Duration = Duration::from_millis(5);

/// Waits until `holds`.
///
/// # Panics
/// With `what`, if it does not hold by the deadline.
#[track_caller]
pub fn wait_until(what: &str, deadline: Duration, mut holds: impl FnMut() -> bool) {
    wait_for(what, deadline, || holds().then_some(()));
}

/// Waits until `look` sees something, and gives that.
///
/// # Panics
/// With `what`, if nothing is seen by the deadline.
#[track_caller]
pub fn wait_for<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let end = since_boot() + deadline;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(since_boot() < end, "waited {deadline:?} in vain for: {what}");
        std::thread::sleep(STEP);
    }
}

//! Parts that a test needs and a machine may lack; and what tests say aloud.

use std::io::Write;

/// Whether a needed part is there. Where every part is required (`OM_REQUIRE_ALL=1`, as in CI), a missing one is a
/// failure; elsewhere it is said loudly, and the caller returns.
///
/// # Panics
/// If the part is missing and every part is required.
#[must_use]
pub fn part(what: &str, present: bool) -> bool {
    if present {
        return true;
    }
    assert!(!every_part_is_required(), "{what} is missing, and OM_REQUIRE_ALL=1 wants every part");
    aloud(&format!("SKIPPED: {} needs {what}", test()));
    false
}

/// Prints a measurement or a seed, also of a test that passes.
pub fn measured(line: &str) {
    aloud(&format!("MEASURED: {}: {line}", test()));
}

// Past the test runner's capture: it keeps what the print macros write, not this.
fn aloud(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "\n{line}");
}

fn test() -> String {
    std::thread::current().name().unwrap_or("a test").to_owned()
}

#[expect(clippy::disallowed_methods, reason = "the one switch of this package")]
fn every_part_is_required() -> bool {
    std::env::var_os("OM_REQUIRE_ALL").is_some_and(|value| value == "1")
}

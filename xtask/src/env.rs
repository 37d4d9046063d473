//! The one place that reads the environment.

/// Why it may.
#[expect(
    clippy::disallowed_methods,
    reason = "the task runner is configured by flags and by what CI exports"
)]
fn read(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether this runs on a build machine: nothing may be skipped there.
pub(crate) fn ci() -> bool {
    read("CI").is_some_and(|value| value == "true" || value == "1")
}

/// Whether the user asked for no colours (<https://no-color.org>).
pub(crate) fn no_color() -> bool {
    read("NO_COLOR").is_some() || read("TERM").is_some_and(|term| term == "dumb")
}

/// The directories in which commands are looked up.
pub(crate) fn path() -> Vec<std::path::PathBuf> {
    read("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

//! What a person sees: plain words, colours only on a terminal.

use std::io::IsTerminal;
use std::sync::LazyLock;

static COLOUR: LazyLock<bool> = LazyLock::new(|| std::io::stdout().is_terminal() && !crate::env::no_color());

/// Whether colours are wanted.
pub(crate) fn colour() -> bool {
    *COLOUR
}

fn paint(code: &str, text: &str) -> String {
    if colour() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Loud.
pub(crate) fn bold(text: &str) -> String {
    paint("1", text)
}

/// Quiet.
pub(crate) fn dim(text: &str) -> String {
    paint("2", text)
}

/// Good.
pub(crate) fn green(text: &str) -> String {
    paint("32", text)
}

/// Bad.
pub(crate) fn red(text: &str) -> String {
    paint("31", text)
}

/// Worth a look.
pub(crate) fn yellow(text: &str) -> String {
    paint("33", text)
}

/// Begins a part of the work.
pub(crate) fn heading(text: &str) {
    println!("{}", bold(&format!("== {text}")));
}

/// Says what went wrong, with its causes, on standard error.
pub(crate) fn error(error: &anyhow::Error) {
    eprintln!("{} {error:#}", red("error:"));
}

//! What is printed, and how.
//!
//! Data goes to standard output, everything else to standard error. A reader that has gone away ends the command
//! quietly.

pub(crate) mod progress;
pub(crate) mod shapes;
pub(crate) mod table;
pub(crate) mod text;

use std::io::{IsTerminal as _, Write as _};

use serde::Serialize;

use crate::args::Format;
use crate::config;
use crate::failure::{Failure, Result};
use table::Table;

/// Where a command prints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    /// How to print; `None`: nobody said.
    pub(crate) asked: Option<Format>,
    /// Whether standard output wants colours.
    pub(crate) colours: bool,
    /// The width of standard output, if it is a terminal.
    pub(crate) width: Option<u16>,
}

impl Out {
    /// Looks at standard output.
    pub(crate) fn new(asked: Option<Format>) -> Self {
        let stdout = std::io::stdout();
        let terminal = stdout.is_terminal();
        let width = terminal.then(|| rustix::termios::tcgetwinsize(&stdout).map_or(0, |size| size.ws_col));
        let colours = terminal && !config::colours_unwanted();
        Self { asked, colours, width: width.filter(|width| *width > 0) }
    }

    /// How to print.
    pub(crate) fn format(&self) -> Format {
        self.asked.unwrap_or_default()
    }

    /// Whether people read it.
    pub(crate) fn is_for_people(&self) -> bool {
        self.format() == Format::Table
    }

    /// Prints an object: as a table for people, else as it is.
    pub(crate) fn show<T: Serialize + ?Sized>(
        &self,
        object: &T,
        people: impl FnOnce(&Self) -> String,
    ) -> Result<()> {
        match self.format() {
            Format::Table => write(people(self).as_bytes()),
            Format::Json => json(object),
            Format::Yaml => yaml(object),
        }
    }

    /// Prints rows: `nothing` on standard error if there are none.
    pub(crate) fn rows<T: Serialize>(
        &self,
        rows: &[T],
        nothing: &str,
        table: impl FnOnce(&[T]) -> Table,
    ) -> Result<()> {
        if self.is_for_people() && rows.is_empty() {
            note(nothing);
            return Ok(());
        }
        self.show(rows, |out| table(rows).render(out))
    }

    /// Prints one object of an endless list: a line, or a YAML document.
    pub(crate) fn line<T: Serialize>(&self, object: &T, people: impl FnOnce() -> String) -> Result<()> {
        match self.format() {
            Format::Table => write(format!("{}\n", people()).as_bytes()),
            Format::Json => {
                let mut line = serde_json::to_vec(object).map_err(|cause| unprintable(&cause))?;
                line.push(b'\n');
                write(&line)
            }
            Format::Yaml => {
                write(b"---\n")?;
                yaml(object)
            }
        }
    }
}

fn unprintable(cause: &dyn std::error::Error) -> Failure {
    Failure::protocol(format!("the answer cannot be printed: {cause}"))
}

/// Prints JSON, indented.
pub(crate) fn json<T: Serialize + ?Sized>(object: &T) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(object).map_err(|cause| unprintable(&cause))?;
    text.push(b'\n');
    write(&text)
}

/// Prints YAML.
pub(crate) fn yaml<T: Serialize + ?Sized>(object: &T) -> Result<()> {
    write(yaml_serde::to_string(object).map_err(|cause| unprintable(&cause))?.as_bytes())
}

/// Writes to standard output, all of it, now.
pub(crate) fn write(bytes: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|cause| Failure::output(&cause))
}

/// A line for people, on standard error.
pub(crate) fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", text::clean(line));
}

/// Prints a failure on standard error.
pub(crate) fn failure(failure: &Failure, format: Format) {
    if failure.silent {
        return;
    }
    let object = shapes::ErrorObject::from(failure);
    let text = match format {
        Format::Table => people(failure),
        Format::Json => serde_json::to_string(&object).unwrap_or_default() + "\n",
        Format::Yaml => yaml_serde::to_string(&object).unwrap_or_default(),
    };
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// What failed, why, what to do: each on lines of its own.
fn people(failure: &Failure) -> String {
    let red = std::io::stderr().is_terminal() && !config::colours_unwanted();
    let mut lines = failure.message.lines().map(text::clean);
    let first = lines.next().unwrap_or_default();
    let mut text =
        if red { format!("\u{1b}[1;31merror:\u{1b}[0m {first}\n") } else { format!("error: {first}\n") };
    for line in lines {
        text += &format!("  {line}\n");
    }
    if !failure.hint.is_empty() {
        text += &format!("  hint: {}\n", text::clean(&failure.hint));
    }
    text
}

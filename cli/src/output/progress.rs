//! What is waited for, as it changes: on a terminal one updating line a service, elsewhere a line a change.

use std::io::{IsTerminal as _, Write as _};

use super::table::painted;
use super::text;
use crate::config;

/// More lines than this do not stand on a screen: then changes are told one after another.
const MOST_LINES: usize = 15;

/// Progress on standard error.
#[derive(Debug)]
pub(crate) struct Progress {
    lines: Vec<Line>,
    mode: Mode,
    drawn: usize,
    colours: bool,
    width: usize,
}

#[derive(Debug)]
struct Line {
    name: String,
    phase: String,
    rest: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    /// Programs read standard error: nothing but an error belongs there.
    Silent,
    /// A line a change.
    Lines,
    /// One updating line a service.
    Live,
}

impl Progress {
    /// Progress of these services; shown to people only.
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>, for_people: bool) -> Self {
        let stderr = std::io::stderr();
        let lines: Vec<_> = names
            .into_iter()
            .map(|name| Line { name: name.to_owned(), phase: String::new(), rest: String::new() })
            .collect();
        let terminal = stderr.is_terminal();
        let mode = match (for_people, terminal && lines.len() <= MOST_LINES) {
            (false, false) => Mode::Silent,
            (true, false) => Mode::Lines,
            (_, true) => Mode::Live,
        };
        let size = terminal.then(|| rustix::termios::tcgetwinsize(&stderr).ok()).flatten();
        let width = size.map_or(80, |size| usize::from(size.ws_col)).max(20);
        Self { lines, mode, drawn: 0, colours: terminal && !config::colours_unwanted(), width }
    }

    /// How one of them is now.
    pub(crate) fn set(&mut self, index: usize, phase: &str, rest: &str) {
        let rest = text::one_line(rest);
        let Some(line) = self.lines.get_mut(index) else { return };
        if line.phase == phase && line.rest == rest {
            return;
        }
        phase.clone_into(&mut line.phase);
        line.rest = rest;
        match self.mode {
            Mode::Silent => {}
            Mode::Lines => {
                let text = if line.rest.is_empty() { String::new() } else { format!(" ({})", line.rest) };
                super::note(&format!("{}: {}{text}", line.name, line.phase));
            }
            Mode::Live => self.draw(),
        }
    }

    fn draw(&mut self) {
        let mut text = self.erasure();
        let longest = self.lines.iter().map(|line| line.name.chars().count()).max().unwrap_or(0);
        for line in &self.lines {
            let name = text::clean(&line.name);
            let phase = painted(&line.phase).padded(10, self.colours);
            let room = self.width.saturating_sub(longest + 14);
            let rest: String = line.rest.chars().take(room).collect();
            text += &format!("{name:<longest$}  {phase} {rest}\n");
        }
        self.drawn = self.lines.len();
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }

    /// Goes up over what was drawn and clears it.
    fn erasure(&self) -> String {
        if self.drawn == 0 { String::new() } else { format!("\u{1b}[{}A\u{1b}[J", self.drawn) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let text = self.erasure();
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}

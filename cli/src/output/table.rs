//! Tables: columns of words, no boxes, as wide as the terminal.

use comfy_table::{ColumnConstraint, ContentArrangement, TableStyle};

use super::{Out, text};

/// No column is squeezed below this; the terminal then wraps.
const LEAST_LAST_WIDTH: usize = 20;

/// Marks without width around what is coloured: the layout sees none of them, and they become colours afterwards.
const GOOD: char = '\u{2061}';
const WARN: char = '\u{2062}';
const BAD: char = '\u{2063}';
const PLAIN: char = '\u{2064}';

/// A table being filled.
#[derive(Debug)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    /// How many columns at the end may be wrapped.
    flexible: usize,
}

/// What stands in a cell, fit for a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell(String);

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self(text::one_line(text.as_ref()))
    }
}

/// A number.
pub(crate) fn number(value: u64) -> Cell {
    Cell(value.to_string())
}

impl Table {
    /// A table with these columns.
    pub(crate) fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new(), flexible: 1 }
    }

    /// The same, with so many columns at the end that may be wrapped; else it is the last one.
    pub(crate) fn flexible(mut self, columns: usize) -> Self {
        self.flexible = columns;
        self
    }

    /// Adds a row; what is empty shows as `-`, but for the last column.
    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        let last = N.saturating_sub(1);
        let shown = |(index, cell): (usize, Cell)| {
            if cell.0.is_empty() && index != last { Cell("-".to_owned()) } else { cell }
        };
        self.rows.push(cells.into_iter().enumerate().map(shown).collect());
    }

    /// The table as text, with colours if they are wanted.
    pub(crate) fn render(&self, out: &Out) -> String {
        self.render_below(out, &mut Vec::new())
    }

    /// The same where it goes on below rows that are printed already: without the header, and no column narrower than
    /// it was there. `widths`: of the columns so far; none: nothing is printed yet.
    pub(crate) fn render_below(&self, out: &Out, widths: &mut Vec<u16>) -> String {
        let goes_on = !widths.is_empty();
        widths.resize(self.header.len().saturating_sub(self.flexible), 0);
        let least = widths.iter().copied().chain(std::iter::repeat(0));
        let header =
            self.header.iter().zip(least).map(|(name, width)| format!("{name:<0$}", usize::from(width)));
        let mut table = comfy_table::Table::new();
        // No tty support is built in: width and colours are ours.
        table.load_style(TableStyle::new()).set_header(header);
        table.add_rows(self.rows.iter().map(|row| row.iter().map(|cell| cell.0.as_str())));
        let columns = self.header.len();
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, if index + 1 == columns { 0 } else { 3 }));
        }
        let needed = table.column_max_content_widths();
        widths.iter_mut().zip(needed).for_each(|(width, needed)| *width = needed);
        let fixed: usize = widths.iter().map(|width| usize::from(*width) + 3).sum();
        table.set_content_arrangement(ContentArrangement::Disabled);
        if let Some(width) = out.width
            && fixed + self.flexible * LEAST_LAST_WIDTH <= usize::from(width)
        {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
            for index in 0..columns.saturating_sub(self.flexible) {
                if let Some(column) = table.column_mut(index) {
                    column.set_constraint(ColumnConstraint::ContentWidth);
                }
            }
        }
        let mut text = String::new();
        for line in table.lines().skip(usize::from(goes_on)) {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        colour(&text, out.colours)
    }
}

/// A phase, a state or a leadership in its colour.
pub(crate) fn painted(word: &str) -> Cell {
    let mark = match word {
        "ready" | "leading" | "succeeded" | "running" | "yes" => GOOD,
        "pending" | "degraded" | "destroying" | "unknown" | "starting" | "backoff" | "interrupted" => WARN,
        "failed" | "unhealthy" | "no" => BAD,
        _ => return word.into(),
    };
    Cell(format!("{mark}{word}{PLAIN}"))
}

impl Cell {
    /// The cell as text, at least `width` wide, with its colour if it is wanted.
    pub(crate) fn padded(&self, width: usize, colours: bool) -> String {
        let marks = self.0.chars().filter(|c| matches!(*c, GOOD..=PLAIN)).count();
        let text = if self.0.is_empty() { "-" } else { &self.0 };
        colour(&format!("{text:<0$}", width + marks), colours)
    }
}

/// Turns the marks into colours, or takes them away.
pub(crate) fn colour(text: &str, colours: bool) -> String {
    let mut coloured = String::with_capacity(text.len());
    for c in text.chars() {
        let code = match c {
            GOOD => "\u{1b}[32m",
            WARN => "\u{1b}[33m",
            BAD => "\u{1b}[31m",
            PLAIN => "\u{1b}[0m",
            other => {
                coloured.push(other);
                continue;
            }
        };
        if colours {
            coloured.push_str(code);
        }
    }
    coloured
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "PHASE", "MESSAGE"]);
        table.row(["web".into(), painted("ready"), "".into()]);
        table.row([
            "database-1".into(),
            painted("degraded"),
            "two of three members are running, one is starting again and again".into(),
        ]);
        table
    }

    #[test]
    fn columns_stand_under_each_other_without_boxes() {
        let out = Out { asked: None, colours: false, width: None };
        assert_eq!(
            table().render(&out),
            "NAME         PHASE      MESSAGE\n\
             web          ready\n\
             database-1   degraded   two of three members are running, one is starting again and again\n"
        );
    }

    #[test]
    fn a_table_that_goes_on_has_one_header_and_columns_no_narrower_than_before() {
        let out = Out { asked: None, colours: false, width: None };
        let mut widths = Vec::new();
        let first = table().render_below(&out, &mut widths);
        assert_eq!(first, table().render(&out));
        let mut next = Table::new(&["NAME", "PHASE", "MESSAGE"]);
        next.row(["a".into(), painted("ready"), "it is".into()]);
        assert_eq!(next.render_below(&out, &mut widths), "a            ready      it is\n");
        next.row(["the-longest-name".into(), painted("ready"), "".into()]);
        assert_eq!(
            next.render_below(&out, &mut widths),
            "a                  ready      it is\n\
             the-longest-name   ready\n"
        );
    }

    #[test]
    fn a_narrow_terminal_wraps_the_last_column() {
        let out = Out { asked: None, colours: false, width: Some(50) };
        let text = table().render(&out);
        assert!(text.lines().all(|line| line.chars().count() <= 50), "{text}");
        assert!(text.contains("database-1   degraded   two of three"), "{text}");
        assert!(text.lines().count() > 3, "{text}");
    }

    #[test]
    fn colours_do_not_move_columns() {
        let plain = table().render(&Out { asked: None, colours: false, width: None });
        let coloured = table().render(&Out { asked: None, colours: true, width: None });
        assert!(coloured.contains("\u{1b}[32mready\u{1b}[0m"), "{coloured:?}");
        let mut stripped = coloured;
        for code in ["\u{1b}[32m", "\u{1b}[33m", "\u{1b}[31m", "\u{1b}[0m"] {
            stripped = stripped.replace(code, "");
        }
        assert_eq!(stripped, plain);
    }
}

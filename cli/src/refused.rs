//! A command line that is not understood, or that asks for help.

use crate::args::Format;
use crate::failure::{Exit, Failure, Result};
use crate::{config, output};

/// Prints help; says what is wrong, to programs as an object.
///
/// # Errors
/// What was wrong.
pub(crate) fn explain(error: &clap::Error) -> Result<()> {
    if !error.use_stderr() {
        return output::write(error.render().to_string().as_bytes());
    }
    if asked_for() == Format::Table {
        let _ = error.print();
        return Err(Failure::silent(Exit::Usage));
    }
    let text = error.render().to_string();
    let (what, usage) = text.split_once("\n\n").unwrap_or((&text, ""));
    Err(Failure::usage(what.trim_start_matches("error: ").trim()).hint(output::text::one_line(usage)))
}

/// The output format, looked for in a command line that is not understood.
pub(crate) fn asked_for() -> Format {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let is = |format: &str| {
        words.windows(2).any(|pair| matches!(pair[0].as_str(), "-o" | "--output") && pair[1] == format)
            || words
                .iter()
                .any(|word| *word == format!("-o{format}") || *word == format!("--output={format}"))
    };
    match (is("json"), is("yaml")) {
        (true, _) => Format::Json,
        (_, true) => Format::Yaml,
        _ => config::output_of_environment().unwrap_or_default(),
    }
}

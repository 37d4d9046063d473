//! From files to documents.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::de::DeserializeSeed as _;

use super::Document;
use super::visit::{Reading, Top, TopSeed};
use crate::failure::{Failure, Result};

/// A file above this is not read at all, in bytes.
pub(crate) const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Reads all documents of all files, in order. `-` is standard input.
pub(crate) fn read_all(files: &[PathBuf]) -> Result<Vec<Document>> {
    if files.iter().filter(|file| file.as_os_str() == "-").count() > 1 {
        return Err(Failure::usage("standard input (-) is given twice"));
    }
    let mut documents = Vec::new();
    for file in files {
        let (shown, bytes) = if file.as_os_str() == "-" {
            ("<stdin>".to_owned(), slurp("standard input", std::io::stdin().lock())?)
        } else {
            (file.display().to_string(), open(file)?)
        };
        documents.extend(parse(&shown, &bytes)?);
    }
    Ok(documents)
}

fn open(path: &Path) -> Result<Vec<u8>> {
    let shown = path.display();
    let cannot = |cause: std::io::Error| Failure::file(format!("cannot read {shown}: {cause}"));
    let file = File::open(path).map_err(cannot)?;
    let about = file.metadata().map_err(cannot)?;
    if about.is_dir() {
        return Err(Failure::usage(format!("{shown} is a directory"))
            .hint(format!("give the files in it: {}", path.join("*.yaml").display())));
    }
    if about.is_file() && about.len() > MAX_FILE_BYTES {
        return Err(too_large(&shown.to_string(), Some(about.len())));
    }
    slurp(&shown.to_string(), file)
}

fn slurp(shown: &str, input: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|cause| Failure::file(format!("cannot read {shown}: {cause}")))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(too_large(shown, None));
    }
    Ok(bytes)
}

fn too_large(shown: &str, size: Option<u64>) -> Failure {
    let has = size.map_or("more bytes".to_owned(), |size| format!("{size} bytes, more"));
    Failure::spec(format!("{shown} has {has} than the {MAX_FILE_BYTES} that are read"))
        .hint("split it into several files")
}

/// Reads the documents of one file.
pub(super) fn parse(shown: &str, bytes: &[u8]) -> Result<Vec<Document>> {
    let text = std::str::from_utf8(bytes).map_err(|cause| {
        let at = cause.valid_up_to();
        let (line, column) = place(&bytes[..at]);
        Failure::spec(format!("{shown}:{line}:{column}: this is not UTF-8 text"))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let json = shown.ends_with(".json");
    let documents = if json {
        read_json(shown, text).map_err(|(failure, _)| failure)?
    } else if text.trim_start().starts_with('{') {
        // JSON, or a YAML mapping in braces: the stricter language first, and what it cannot even parse is YAML.
        match read_json(shown, text) {
            Ok(documents) => documents,
            Err((_, Fault::Syntax)) => read_yaml(shown, text)?,
            Err((failure, Fault::Content)) => return Err(failure),
        }
    } else {
        read_yaml(shown, text)?
    };
    if documents.is_empty() {
        return Err(Failure::spec(format!("{shown} is empty: it has no service in it"))
            .hint("a service is a mapping with kind, name and spec"));
    }
    Ok(documents)
}

/// Line and column, from 1, of what follows after these bytes.
fn place(before: &[u8]) -> (usize, usize) {
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    (line, String::from_utf8_lossy(&before[start..]).chars().count() + 1)
}

/// What YAML takes nowhere, not even in quotes (its `c-printable`).
fn is_unprintable(c: char) -> bool {
    let fine = matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..);
    !fine
}

#[derive(PartialEq)]
enum Fault {
    Syntax,
    Content,
}

fn read_json(shown: &str, text: &str) -> Result<Vec<Document>, (Failure, Fault)> {
    let mut parser = serde_json::Deserializer::from_str(text);
    let mut documents = Vec::new();
    while parser.end().is_err() {
        let reading = Reading::new(false);
        match (TopSeed { reading: &reading }).deserialize(&mut parser) {
            Ok(top) => documents.extend(top.map(|top| document(shown, top))),
            Err(cause) => {
                let fault = if cause.is_data() { Fault::Content } else { Fault::Syntax };
                let text = cause.to_string();
                // The parser says its position again at the end.
                let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
                let at = format!("{shown}:{}:{}", cause.line(), cause.column().max(1));
                return Err((Failure::spec(format!("{at}: {text}")), fault));
            }
        }
    }
    Ok(documents)
}

fn read_yaml(shown: &str, text: &str) -> Result<Vec<Document>> {
    if let Some((at, odd)) = text.char_indices().find(|(_, c)| is_unprintable(*c)) {
        let (line, column) = place(&text.as_bytes()[..at]);
        let code = u32::from(odd);
        return Err(Failure::spec(format!("{shown}:{line}:{column}: the control character U+{code:04X}"))
            .hint("in quotes it can be written as an escape: \"\\x1b\""));
    }
    let mut documents = Vec::new();
    for parser in yaml_serde::Deserializer::from_str(text) {
        let reading = Reading::new(true);
        let top = TopSeed { reading: &reading }
            .deserialize(parser)
            .map_err(|cause| Failure::spec(yaml_error(shown, text, &cause)))?;
        documents.extend(top.map(|top| document(shown, top)));
    }
    Ok(documents)
}

fn yaml_error(shown: &str, text: &str, cause: &yaml_serde::Error) -> String {
    let said = cause.to_string();
    let Some(location) = cause.location() else { return format!("{shown}: {said}") };
    // A fault at the very start has no position; one that is known is said again in the text.
    let (line, column) = (location.line(), location.column());
    let again = format!(" at line {line} column {column}");
    let mut what = said.replacen(&again, "", 1);
    let at_fault = text.lines().nth(line - 1).unwrap_or_default();
    let indent = &at_fault[..at_fault.len() - at_fault.trim_start().len()];
    if indent.contains('\t') {
        what.push_str(" (the line begins with a tab; YAML is indented with spaces)");
    }
    format!("{shown}:{line}:{column}: {what}")
}

fn document(shown: &str, top: Top) -> Document {
    let Top { name, kind, labels, spec } = top;
    Document { file: shown.to_owned(), name, kind, labels, spec }
}

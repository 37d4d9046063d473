//! Reads Rust just well enough to judge it: without its comments and strings, and with its blocks.

/// The same text with comments and the insides of strings and characters as blanks; lines stay where they were.
pub(super) fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match (chars[at], chars.get(at + 1).copied()) {
            ('/', Some('/')) => find(&chars, at, |rest| rest[0] == '\n'),
            ('/', Some('*')) => comment(&chars, at),
            ('"', _) => string(&chars, at),
            ('r', Some('"' | '#')) if !follows_word(&chars, at) => raw_string(&chars, at).unwrap_or(at + 1),
            ('b' | 'c', Some('r')) if !follows_word(&chars, at) => {
                raw_string(&chars, at + 1).unwrap_or(at + 1)
            }
            ('\'', Some('\\')) => find(&chars, at + 3, |rest| rest[0] == '\'') + 1,
            ('\'', Some(_)) if chars.get(at + 2) == Some(&'\'') => at + 3,
            _ => at + 1,
        };
        if end == at + 1 {
            out.push(chars[at]);
        } else {
            out.extend(chars[at..end.min(chars.len())].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        }
        at = end;
    }
    out
}

fn find(chars: &[char], from: usize, is: impl Fn(&[char]) -> bool) -> usize {
    (from..chars.len()).find(|at| is(&chars[*at..])).unwrap_or(chars.len())
}

fn follows_word(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

fn comment(chars: &[char], at: usize) -> usize {
    let (mut depth, mut end) = (1, at + 2);
    while depth > 0 && end < chars.len() {
        match (chars[end], chars.get(end + 1)) {
            ('*', Some('/')) => (depth, end) = (depth - 1, end + 2),
            ('/', Some('*')) => (depth, end) = (depth + 1, end + 2),
            _ => end += 1,
        }
    }
    end
}

fn string(chars: &[char], at: usize) -> usize {
    let mut end = at + 1;
    while end < chars.len() && chars[end] != '"' {
        end += if chars[end] == '\\' { 2 } else { 1 };
    }
    end + 1
}

/// The end of the raw string whose `r` is at `at`, if it is one.
fn raw_string(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    let open = at + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let closes =
        |rest: &[char]| rest[0] == '"' && rest[1..].iter().take_while(|c| **c == '#').count() >= hashes;
    Some(find(chars, open + 1, closes) + 1 + hashes)
}

/// A statement's beginning, with the beginnings of the blocks that it stands in, outermost first.
pub(super) struct Place<'t> {
    /// Its line, counted from 1.
    pub(super) line: usize,
    /// The text around each `{` that is open here, from the end of what came before it: `while !done()`.
    pub(super) blocks: Vec<&'t str>,
    /// The text of the statement up to here.
    pub(super) before: &'t str,
}

/// Every place in blanked code where `word` stands as a word of its own.
pub(super) fn places<'t>(code: &'t str, word: &str) -> Vec<Place<'t>> {
    let mut found = Vec::new();
    let (mut blocks, mut start) = (Vec::new(), 0);
    let mut line = 1;
    for (at, c) in code.char_indices() {
        match c {
            '\n' => line += 1,
            '{' => {
                blocks.push(code[start..at].trim());
                start = at + 1;
            }
            '}' => {
                blocks.pop();
                start = at + 1;
            }
            ';' => start = at + 1,
            _ => {}
        }
        if code[at..].starts_with(word) && stands_alone(code, at, word) {
            found.push(Place { line, blocks: blocks.clone(), before: &code[start..at] });
        }
    }
    found
}

fn stands_alone(code: &str, at: usize, word: &str) -> bool {
    let within = |c: char| c.is_alphanumeric() || c == '_';
    let ends_word = |c: Option<char>| !c.is_some_and(within);
    let opens = word.chars().next().is_some_and(within);
    let closes = word.chars().last().is_some_and(within);
    (!opens || ends_word(code[..at].chars().next_back()))
        && (!closes || ends_word(code[at + word.len()..].chars().next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_blanked_and_code_stays() {
        for (text, want) in [
            ("a // todo!\nb", "a         \nb"),
            ("a /* x /* y */ z */ b", "a                     b"),
            (r#"a "to\"do" b"#, "a          b"),
            ("a r#\"x\"y\"# b", "a            b"),
            ("a br\"x\" b", "a       b"),
            ("'a' 'static '\\n' '\\'' '{'", "    'static              "),
            ("for r in x {}", "for r in x {}"),
        ] {
            let got = blank(text);
            assert_eq!(
                got.split_whitespace().collect::<Vec<_>>(),
                want.split_whitespace().collect::<Vec<_>>(),
                "{text}"
            );
            assert_eq!(got.chars().count(), text.chars().count(), "{text}");
        }
    }

    #[test]
    fn a_place_knows_its_line_and_the_blocks_around_it() {
        let code = "fn a() {\n  if x {}\n  while y { let z; sleep(1) }\n}\nfn oversleep() {}";
        let found = places(code, "sleep");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].line, found[0].blocks.as_slice()), (3, &["fn a()", "while y"][..]));
    }
}

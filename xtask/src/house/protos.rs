//! What the wire says of itself: every service, call, message, field and value in a `.proto` has a comment above it,
//! for that is all that the author of a client in another language gets to read.

/// Lines of a `.proto` that declare something without a comment above.
pub(super) fn broken(name: &str, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    let (mut commented, mut complete) = (false, true);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.starts_with("//") {
            commented = true;
            continue;
        }
        if complete && declares(line) && !commented {
            broken.push(format!("{name}:{number}: say in a comment above what this is: {line}"));
        }
        commented = false;
        if !line.is_empty() {
            complete = line.ends_with([';', '{', '}']);
        }
    }
    broken
}

fn declares(line: &str) -> bool {
    let silent = ["syntax", "package", "import", "option", "reserved", "extensions"];
    let word = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
    !line.is_empty() && !line.starts_with(['}', ']', ')']) && !silent.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "syntax = \"proto3\";\npackage om.v1;\n\n\
        // A thing.\nmessage Thing {\n  reserved 7;\n  // Its name.\n  string name = 1;\n\n  // One of these.\n  \
        oneof what {\n    // This.\n    string this = 2;\n  }\n}\n\n\
        // Kinds.\nenum Kind {\n  // None.\n  KIND_NONE = 0;\n}\n\
        // Serves.\nservice Server {\n  // Asks.\n  rpc Ask(Thing)\n      returns (Thing);\n}\n";

    #[test]
    fn a_file_in_which_everything_is_explained_is_fine() {
        assert_eq!(broken("good.proto", GOOD), [""; 0]);
    }

    #[test]
    fn whatever_lacks_its_comment_is_found() {
        let comments: Vec<&str> = GOOD.lines().filter(|line| line.trim().starts_with("//")).collect();
        assert_eq!(comments.len(), 8);
        for comment in comments {
            let bad = GOOD.replacen(&format!("{comment}\n"), "", 1);
            assert_eq!(broken("bad.proto", &bad).len(), 1, "without {comment}");
        }
    }
}

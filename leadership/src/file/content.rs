//! What the bytes of a leader file say.

/// The most bytes that a leader file may have.
pub(super) const MOST_BYTES: usize = 4096;

/// The name that stands there; `None` if there is nothing but white space.
///
/// # Errors
/// What is wrong, for people. Such content is neither a name nor nobody: a file full of NUL bytes is what a crash
/// leaves on some file systems, two lines may be half of an edit.
pub(super) fn name(bytes: &[u8]) -> Result<Option<&str>, String> {
    if bytes.len() > MOST_BYTES {
        return Err(format!("it has more than {MOST_BYTES} bytes"));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err("it is UTF-16, not UTF-8".to_owned());
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err("it is not UTF-8".to_owned());
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim();
    if text.contains('\0') {
        return Err("it holds NUL bytes".to_owned());
    }
    if text.contains(['\n', '\r']) {
        return Err("it has more than one line".to_owned());
    }
    if text.contains(char::is_control) {
        return Err("it holds control characters".to_owned());
    }
    Ok((!text.is_empty()).then_some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_whole_content_without_the_white_space_around_it() {
        for content in
            ["service", "service\n", "service\r\n", "  service \t\n\n", "\n\nservice", "\u{feff}service\r\n"]
        {
            assert_eq!(name(content.as_bytes()), Ok(Some("service")), "{content:?}");
        }
        assert_eq!(name("zweite Säule\n".as_bytes()), Ok(Some("zweite Säule")));
    }

    #[test]
    fn nothing_but_white_space_is_nobody() {
        for content in ["", "\n", "\r\n", " \t \n", "\u{feff}", "\u{feff}\n"] {
            assert_eq!(name(content.as_bytes()), Ok(None), "{content:?}");
        }
    }

    #[test]
    fn what_is_not_one_short_line_of_text_is_an_error_that_says_so() {
        let long = vec![b'a'; MOST_BYTES + 1];
        for (content, says) in [
            (&b"service\nservice2\n"[..], "more than one line"),
            (b"service\rservice2", "more than one line"),
            (b"\0\0\0\0\0\0\0\0", "NUL"),
            (b"service\0", "NUL"),
            (b"ser\x1b[2Jvice", "control"),
            (b"caf\xe9", "not UTF-8"),
            (b"\xff\xfes\0e\0", "UTF-16"),
            (&long, "more than 4096 bytes"),
        ] {
            let error = name(content).expect_err(says);
            assert!(error.contains(says), "{error}");
        }
        assert!(name(&long[1..]).is_ok());
    }
}

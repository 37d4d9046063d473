//! Files that are wrong: each with its exit code, its place, and nothing sent.

use std::path::Path;

use crate::support::fake::directory;
use crate::support::{Fake, Om};

/// Commits a file's bytes; whatever is wrong must be found before anything is sent.
#[track_caller]
fn refused(name: &str, bytes: &[u8]) -> (i32, String, String) {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let files = directory();
    std::fs::write(files.path().join(name), bytes).unwrap();
    let path = files.path().join(name);
    let ended = Om::within(dir.path()).run(["commit", "-o", "json", path.to_str().unwrap()]);
    assert_eq!(fake.calls("commit"), [], "nothing is sent: {ended:#?}");
    assert_eq!(ended.stdout, "");
    let (_, message, hint) = ended.error();
    (ended.code.unwrap(), message.replace(&format!("{}/", files.path().display()), ""), hint)
}

#[track_caller]
fn yaml(text: &str) -> String {
    let (code, message, _) = refused("a.yaml", text.as_bytes());
    assert_eq!(code, 7, "{message}");
    message
}

const WEB: &str = "kind: process\nname: web\n";

#[test]
fn bad_yaml_is_named_with_line_and_column() {
    assert_eq!(
        yaml("kind: process\nname: web\nspec: {a: [1, 2\n"),
        "a.yaml:4:1: did not find expected ',' or ']', while parsing a flow sequence at line 3 column 11"
    );
    assert_eq!(
        yaml("kind: process\nname: web\nspec:\n\tmembers: 1\n"),
        "a.yaml:4:1: found character that cannot start any token, while scanning for the next token \
         (the line begins with a tab; YAML is indented with spaces)"
    );
    assert!(yaml("@").starts_with("a.yaml:1:1: found character that cannot start any token"));
}

#[test]
fn bad_json_is_named_with_line_and_column() {
    let (code, message, _) = refused("a.json", b"{\"kind\": \"process\",\n \"name\": \"web\",}\n");
    assert_eq!((code, message.as_str()), (7, "a.json:2:16: trailing comma"));
    let (code, message, _) = refused("a.json", b"{\"kind\": \"process\"");
    assert_eq!((code, message.as_str()), (7, "a.json:1:18: EOF while parsing an object"));
    let (code, message, _) = refused("a.json", b"{\"kind\":\"p\",\n\"name\":\"a\",\n\"kind\":\"q\"}");
    assert_eq!((code, message.as_str()), (7, "a.json:3:6: the field \"kind\" is given twice"));
}

#[test]
fn a_number_that_json_would_round_is_refused() {
    let (code, message, _) =
        refused("a.json", br#"{"kind":"p","name":"a","spec":{"n":99999999999999999999}}"#);
    assert_eq!(code, 7);
    assert!(message.contains("is too large to be kept exactly; write it as text"), "{message}");
}

#[test]
fn an_unknown_field_is_named() {
    assert_eq!(
        yaml("kind: process\nname: web\nmembers: 3\n"),
        "a.yaml:3:1: unknown field \"members\"; a service has kind, name, labels, spec"
    );
}

#[test]
fn a_field_given_twice_is_refused_at_any_depth() {
    assert_eq!(yaml("kind: a\nname: web\nkind: b\n"), "a.yaml:3:1: the field \"kind\" is given twice");
    assert_eq!(
        yaml(&format!("{WEB}spec:\n  env:\n    A: 1\n    A: 2\n")),
        "a.yaml:6:5: spec.env: the field \"A\" is given twice"
    );
}

#[test]
fn a_missing_field_is_named() {
    let shape = "a service is a mapping with kind, name and spec";
    assert_eq!(yaml("kind: process\n"), format!("a.yaml:1:1: the field \"name\" is missing; {shape}"));
    assert_eq!(yaml("---\nname: web\n"), format!("a.yaml:2:1: the field \"kind\" is missing; {shape}"));
}

#[test]
fn what_is_no_service_is_refused() {
    assert!(yaml("just words\n").contains("not the text \"just words\""));
    assert!(yaml("- kind: a\n").contains("not a list; separate several with ---"));
    assert!(yaml("kind: a\nname: web\nspec: 3\n").starts_with("a.yaml:3:7: spec: invalid type: integer `3`"));
}

#[test]
fn a_name_that_is_no_name_is_refused_where_it_stands() {
    assert_eq!(
        yaml("kind: process\nname: Web\n"),
        "a.yaml:2:7: name: the name \"Web\" has a 'W'; a name is lower-case letters, digits and inner dashes, \
         at most 63"
    );
    assert!(yaml(&format!("kind: a\nname: {}\n", "a".repeat(64))).contains("has 64 characters"));
    assert_eq!(yaml("kind: a\nname: 12\n"), "a.yaml:2:7: name: name must be text, not 12; write \"12\"");
}

#[test]
fn keys_must_be_strings() {
    let spec = |spec: &str| yaml(&format!("{WEB}spec: {spec}\n"));
    assert!(spec("{1: a}").ends_with("the key 1 is no string; write \"1\""));
    assert!(spec("{true: a}").ends_with("the key true is no string; write \"true\""));
    assert!(spec("{~: a}").ends_with("a key is empty or null; a key must be a string"));
    assert!(spec("{[a]: b}").contains("a key is a list"));
}

#[test]
fn what_json_cannot_say_is_refused() {
    let spec = |spec: &str| yaml(&format!("{WEB}spec: {spec}\n"));
    assert!(spec("{a: .inf}").contains("cannot be said in JSON"));
    assert!(spec("{a: 99999999999999999999}").contains("the number 99999999999999999999 is too large"));
    assert!(spec("{a: 1e300}").contains("is too large to be kept exactly"));
    assert!(spec("{a: !Ref b}").contains("the tag !Ref means nothing here"));
    assert!(spec("{a: *nowhere}").contains("unknown anchor"));
}

#[test]
fn labels_are_text() {
    assert_eq!(
        yaml("kind: a\nname: b\nlabels: {version: 1}\n"),
        "a.yaml:3:19: labels.version: a label's value must be text, not 1; write \"1\""
    );
}

#[test]
fn a_file_without_a_service_is_refused() {
    for empty in ["", "\n\n", "# only words\n", "---\n---\n"] {
        let (code, message, hint) = refused("a.yaml", empty.as_bytes());
        assert_eq!((code, message.as_str()), (7, "a.yaml is empty: it has no service in it"), "{empty:?}");
        assert_eq!(hint, "a service is a mapping with kind, name and spec");
    }
}

#[test]
fn what_is_not_utf_8_is_refused_where_it_begins() {
    let (code, message, _) = refused("a.yaml", b"kind: process\nname: \xffweb\n");
    assert_eq!((code, message.as_str()), (7, "a.yaml:2:7: this is not UTF-8 text"));
}

#[test]
fn control_characters_are_refused_where_they_stand() {
    assert_eq!(yaml("kind: process\nname: w\0eb\n"), "a.yaml:2:8: the control character U+0000");
    assert_eq!(
        yaml("kind: a\nname: b\nspec: {a: \"\u{1b}\"}\n"),
        "a.yaml:3:12: the control character U+001B"
    );
}

#[test]
fn a_spec_of_twenty_megabytes_is_refused_without_being_sent() {
    let text = format!("{WEB}spec:\n  blob: {}\n", "x".repeat(20 * 1024 * 1024));
    assert_eq!(
        yaml(&text),
        "a.yaml:4:3: spec: the spec has 20971531 bytes as JSON, more than the 1048576 that a service may have"
    );
}

#[test]
fn a_huge_file_is_not_read() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let path = dir.path().join("huge.yaml");
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let ended = Om::within(dir.path()).run(["commit".as_ref(), path.as_os_str()]).code(7);
    assert!(
        ended.stderr.contains("has 1099511627776 bytes, more than the 67108864 that are read"),
        "{ended:#?}"
    );
    assert_eq!(fake.calls("commit"), []);
}

#[test]
fn aliases_cannot_make_a_mountain_of_a_molehill() {
    let mut text = format!("{WEB}spec:\n  a0: &a0 [{}]\n", ["x"; 10].join(","));
    for level in 1..10 {
        let before = vec![format!("*a{}", level - 1); 10].join(",");
        text += &format!("  a{level}: &a{level} [{before}]\n");
    }
    let message = yaml(&text);
    assert!(message.contains("repetition limit") || message.contains("aliases unfold"), "{message}");
}

#[test]
fn a_directory_is_no_file() {
    let dir = directory();
    let ended = Om::within(dir.path()).run(["commit".as_ref(), dir.path().as_os_str()]).code(2);
    assert!(ended.stderr.contains("is a directory\n  hint: give the files in it"), "{}", ended.stderr);
    let ended = Om::within(dir.path()).run(["commit", "/nowhere/web.yaml"]).code(1);
    assert_eq!(
        ended.stderr,
        "error: cannot read /nowhere/web.yaml: No such file or directory (os error 2)\n"
    );
}

#[test]
fn nothing_is_sent_if_any_document_of_any_file_is_wrong() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let good = write("good.yaml", "kind: a\nname: one\n---\nkind: a\nname: two\n");
    let bad = write("bad.yaml", "kind: a\nname: three\n---\nkind: a\nname: four\nspecs: {}\n");
    let args: [&Path; 3] = ["commit".as_ref(), &good, &bad];
    let ended = Om::within(dir.path()).run(args).code(7);
    assert!(ended.stderr.contains("bad.yaml:6:1: unknown field \"specs\""), "{}", ended.stderr);
    assert_eq!(fake.calls("commit"), []);
}

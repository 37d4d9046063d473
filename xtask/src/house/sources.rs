//! What no source file holds: more than a reader can keep in mind, unfinished work, tests that nobody runs, and tests
//! that hope that something has happened by now.
//!
//! The last rule, in full: test code sleeps only
//!
//! * inside a `loop`, `while` or `for` that looks for a state in between, or in what is handed to such a loop
//!   (`until(…)`, `wait_for(…)`);
//! * on a paused clock (`start_paused = true`), also in the helpers of a file in which all tests have one;
//! * as the deadline of a `select!`: it is not awaited by itself.
//!
//! Where the passing of time *is* the test, the line above says so: `// sleeps: the authority has to run out`.

use super::code::{Place, blank, places};

/// Lines. People read about 400 in one go; a little more is not worth a split in the wrong place.
const LONGEST: usize = 450;

/// What a block begins with that is run again and again until a state is there.
const POLLS: &[&str] = &["loop", "while", "for", "until", "wait_until", "wait_for", "eventually"];

/// What is wrong with one source file.
pub(super) fn broken(name: &str, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() > LONGEST {
        broken
            .push(format!("{name}: {} lines, more than {LONGEST}: it says more than one thing", lines.len()));
    }
    let code = blank(text);
    for (word, why) in [
        ("todo!", "finish it, or leave it out"),
        ("unimplemented!", "finish it, or leave it out"),
        ("#[ignore", "a test that nobody runs protects nobody"),
    ] {
        for place in places(&code, word) {
            broken.push(format!("{name}:{}: {word}: {why}", place.line));
        }
    }
    let test_file = is_test_file(name);
    let sleeps = if all_paused(&code) { Vec::new() } else { places(&code, "sleep(") };
    for place in sleeps {
        let in_test = test_file || place.blocks.iter().any(|block| block.contains("#[cfg(test)]"));
        if in_test && is_bare(&place, &code) && !is_explained(&lines, place.line) {
            broken.push(format!(
                "{name}:{}: a test waits for a state with a deadline, it does not sleep",
                place.line
            ));
        }
    }
    broken
}

fn is_test_file(name: &str) -> bool {
    let mut parts = name.split('/').rev();
    let file = parts.next().unwrap_or_default();
    matches!(file, "tests.rs" | "testing.rs") || parts.any(|dir| dir == "tests" || dir == "testing")
}

/// Whether there are tests and time stands still in all of them: its helpers may sleep too.
fn all_paused(code: &str) -> bool {
    let tests = code.matches("#[test]").count() + code.matches("#[tokio::test").count();
    tests > 0 && code.matches("start_paused = true").count() == tests
}

/// Whether this is a call that just waits.
fn is_bare(place: &Place<'_>, code: &str) -> bool {
    let defines = place.before.trim_end().ends_with("fn");
    let loops = |block: &&str| {
        block.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| POLLS.contains(&word))
    };
    let body = place.blocks.iter().rposition(|block| block.contains("fn ")).unwrap_or(0);
    let paused = place.blocks.iter().any(|block| block.contains("start_paused = true"));
    let polls = place.blocks[body.min(place.blocks.len())..].iter().skip(1).any(loops);
    !defines && !paused && !polls && (place.before.contains("thread::") || is_awaited(place.line, code))
}

/// Whether `.await` follows the call that begins on this line.
fn is_awaited(line: usize, code: &str) -> bool {
    let rest: String = code.lines().skip(line - 1).take(4).collect::<Vec<_>>().join("\n");
    let Some((_, call)) = rest.split_once("sleep(") else { return false };
    let mut depth = 1;
    let end = call.find(|c| {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth == 0
    });
    end.is_some_and(|end| call[end + 1..].trim_start().starts_with(".await"))
}

fn is_explained(lines: &[&str], line: usize) -> bool {
    let above = line.checked_sub(2).and_then(|above| lines.get(above)).map_or("", |text| text.trim());
    above.strip_prefix("// sleeps: ").is_some_and(|why| !why.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(body: &str) -> Vec<String> {
        broken(
            "x/src/a.rs",
            &format!("#[cfg(test)]\nmod tests {{\n#[test]\nasync fn a_test() {{\n{body}\n}}\n}}\n"),
        )
    }

    #[test]
    fn a_file_of_451_lines_is_too_long() {
        assert_eq!(broken("a.rs", &"\n".repeat(450)), [""; 0]);
        assert_eq!(broken("a.rs", &"\n".repeat(451)).len(), 1);
    }

    #[test]
    fn unfinished_work_and_tests_that_nobody_runs_are_found() {
        for bad in [
            "fn f() { todo!() }",
            "fn f() { unimplemented!(\"x\") }",
            "#[ignore]\nfn f() {}",
            "#[ignore = \"slow\"]\nfn f() {}",
        ] {
            assert_eq!(broken("a.rs", bad).len(), 1, "{bad}");
        }
        assert_eq!(broken("a.rs", "// todo!\nfn f() { say(\"#[ignore]\") }"), [""; 0]);
    }

    #[test]
    fn a_test_that_just_sleeps_is_found() {
        for bad in [
            "std::thread::sleep(SECOND);",
            "let _ = 1; tokio::time::sleep(Duration::from_secs(1)).await;",
            "for x in y { f(); } sleep(Duration::from_millis(\n5)).await;",
            "// because\nthread::sleep(SECOND);",
            "// sleeps:\nthread::sleep(SECOND);",
        ] {
            assert_eq!(test(bad).len(), 1, "{bad}");
        }
    }

    #[test]
    fn a_test_may_poll_race_a_deadline_and_say_why_time_must_pass() {
        for good in [
            "loop { if done() { break; } thread::sleep(TICK); }",
            "while !done().await { if late() { panic!() } sleep(TICK).await; }",
            "until(\"the writer to wait\", || { thread::sleep(TICK); done() }).await;",
            "tokio::select! { () = sleep(LONG) => panic!(\"late\"), () = done() => {} }",
            "// sleeps: the authority has to run out\ntokio::time::sleep(DEADLINE).await;",
            "oversleep(1).await; self.sleep_log.len();",
        ] {
            assert_eq!(test(good), [""; 0], "{good}");
        }
        let paused = "#[tokio::test(start_paused = true)]\nasync fn t() { tokio::time::sleep(DAY).await; }";
        let helper = "async fn pass(time: Duration) { tokio::time::sleep(time).await; }";
        assert_eq!(broken("x/tests/a.rs", &format!("{helper}\n{paused}")), [""; 0]);
        assert_eq!(broken("x/tests/a.rs", &format!("{helper}\n{paused}\n#[test]\nfn real() {{}}")).len(), 1);
    }

    #[test]
    fn code_that_ships_may_sleep_and_test_files_are_known_by_their_place() {
        let sleeps = "fn f() { thread::sleep(SECOND); }";
        assert_eq!(broken("x/src/backoff.rs", sleeps), [""; 0]);
        for file in
            ["x/src/backoff/tests.rs", "x/tests/a.rs", "tests/src/lib.rs", "store/src/testing/suite.rs"]
        {
            assert_eq!(broken(file, sleeps).len(), 1, "{file}");
        }
    }
}

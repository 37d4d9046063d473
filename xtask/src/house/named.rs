//! The tests that `docs/reliability.md` names are there: a table of what is tested by what must not outlive the tests.

use std::collections::BTreeSet;

/// Words in backticks that are names of tests: sentences, written with underscores.
fn tests_named(page: &str) -> Vec<&str> {
    let quoted = page.split('`').skip(1).step_by(2);
    let is_test = |word: &&str| {
        word.matches('_').count() >= 3
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    quoted.filter(is_test).collect()
}

/// Names of all functions in a source file.
pub(super) fn functions(text: &str) -> impl Iterator<Item = &str> {
    text.split("fn ").skip(1).filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next())
}

/// Tests that a page names and nobody wrote.
pub(super) fn broken(name: &str, page: &str, functions: &BTreeSet<String>) -> Vec<String> {
    let missing = tests_named(page).into_iter().filter(|test| !functions.contains(*test));
    missing.map(|test| format!("{name}: there is no test {test}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_a_page_names_has_to_be_there() {
        let source = "#[test]\nfn what_is_there_stays() {}\nasync fn other<T>(x: T) {}";
        let functions: BTreeSet<String> = functions(source).map(str::to_owned).collect();
        assert_eq!(functions.iter().collect::<Vec<_>>(), ["other", "what_is_there_stays"]);
        let page = "By `what_is_there_stays`, `what_is_gone_is_told` and `clock_gettime`; `OneTermActs`.";
        assert_eq!(broken("page", page, &functions), ["page: there is no test what_is_gone_is_told"]);
    }
}

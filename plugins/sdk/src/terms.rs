//! Which terms were seen, and what that means for the next one. Pure: no clock, no session, no I/O.
//!
//! Terms of two stores ("clusters") cannot be compared; each has its own count.

use std::collections::BTreeMap;

/// The highest term seen of each store.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    highest: BTreeMap<String, u64>,
    newest: Option<String>,
}

/// Why a term is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("term {given} is over: this plugin has seen term {seen} of the same store")]
    Old { given: u64, seen: u64 },
    #[error("this plugin is attended by another store's manager ({manager}, store {cluster})")]
    OtherStore { manager: String, cluster: String },
}

/// The session that stands, as far as terms go.
pub(crate) struct Standing<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) manager: &'a str,
    /// Whether its authority has not run out.
    pub(crate) held: bool,
}

impl Terms {
    /// Whether a session of this term may open, and if so, remembers the term.
    pub(crate) fn open(
        &mut self,
        cluster: &str,
        term: u64,
        standing: Option<Standing<'_>>,
    ) -> Result<(), Refusal> {
        self.check(Some(cluster), term)?;
        if let Some(standing) = standing.filter(|standing| standing.held && standing.cluster != cluster) {
            return Err(Refusal::OtherStore {
                manager: standing.manager.to_owned(),
                cluster: standing.cluster.to_owned(),
            });
        }
        self.highest.insert(cluster.to_owned(), term);
        self.newest = Some(cluster.to_owned());
        Ok(())
    }

    /// Whether a call of this term may pass; a call that does not say its store is measured by the newest one.
    pub(crate) fn check(&self, cluster: Option<&str>, term: u64) -> Result<(), Refusal> {
        match cluster.or(self.newest.as_deref()).and_then(|cluster| self.highest.get(cluster)) {
            Some(&seen) if term < seen => Err(Refusal::Old { given: term, seen }),
            _ => Ok(()),
        }
    }

    /// Remembers the term of a call that passed. Only stores that once opened a session count. Says whether it is
    /// higher than any before.
    pub(crate) fn saw(&mut self, cluster: &str, term: u64) -> bool {
        match self.highest.get_mut(cluster) {
            Some(seen) if *seen < term => {
                *seen = term;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(cluster: &str) -> Option<Standing<'_>> {
        Some(Standing { cluster, manager: "a", held: true })
    }

    #[test]
    fn a_lower_term_of_the_same_store_is_refused_and_an_equal_one_is_not() {
        let mut terms = Terms::default();
        terms.open("x", 5, None).expect("first");
        assert_eq!(terms.open("x", 4, held("x")), Err(Refusal::Old { given: 4, seen: 5 }));
        terms.open("x", 5, held("x")).expect("the manager reconnects");
        terms.open("x", 6, held("x")).expect("the next reign");
    }

    #[test]
    fn another_store_waits_for_the_authority_to_end_and_then_counts_its_own_terms() {
        let mut terms = Terms::default();
        terms.open("x", 5, None).expect("first");
        assert!(matches!(terms.open("y", 9, held("x")), Err(Refusal::OtherStore { .. })));
        let lapsed = Standing { cluster: "x", manager: "a", held: false };
        terms.open("y", 1, Some(lapsed)).expect("a count of its own");
        assert_eq!(terms.open("x", 4, None), Err(Refusal::Old { given: 4, seen: 5 }));
    }

    #[test]
    fn a_refused_open_is_not_seen() {
        let mut terms = Terms::default();
        terms.open("x", 1, None).expect("first");
        terms.open("y", 9, held("x")).expect_err("held by x");
        terms.open("y", 1, None).expect("9 was never accepted");
    }

    #[test]
    fn a_call_of_a_higher_term_ends_the_lower_ones() {
        let mut terms = Terms::default();
        terms.open("x", 5, None).expect("first");
        assert!(terms.saw("x", 7));
        assert!(!terms.saw("x", 7));
        assert!(!terms.saw("unknown", 99));
        assert_eq!(terms.check(Some("x"), 6), Err(Refusal::Old { given: 6, seen: 7 }));
        assert_eq!(terms.check(None, 6), Err(Refusal::Old { given: 6, seen: 7 }));
        assert_eq!(terms.check(Some("unknown"), 1), Ok(()));
    }
}

//! The stored history, put together from everything that anybody saw of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Event, Invariant, Kind, Stored, Violation, What};

/// What is stored, as far as anybody saw it.
#[derive(Default)]
pub(crate) struct Journal<'e> {
    /// By revision: what was stored, and who saw it first. There may be several of one revision.
    entries: BTreeMap<u64, Vec<(&'e Stored, &'e Event)>>,
    /// By term: whose it is.
    leaders: BTreeMap<u64, &'e Event>,
    /// Spans of revisions of which everything was seen: after the first, up to the second.
    covered: Vec<(u64, u64)>,
}

impl<'e> Journal<'e> {
    pub(crate) fn read(events: &[&'e Event], found: &mut Vec<Violation>) -> Self {
        let mut journal = Self::default();
        let mut open = BTreeMap::<u64, (u64, u64)>::new();
        for event in events {
            match &event.what {
                What::Opened { watch, service: None, after: Some(after) } => {
                    open.insert(*watch, (*after, *after));
                }
                What::Watched { watch, stored } => {
                    if let Some(span) = open.get_mut(watch) {
                        span.1 = span.1.max(stored.revision);
                    }
                    journal.add(stored, event, found);
                }
                _ => {}
            }
        }
        journal.covered = open.into_values().collect();
        journal.check_terms(found);
        journal
    }

    fn add(&mut self, stored: &'e Stored, event: &'e Event, found: &mut Vec<Violation>) {
        let entry = self.entries.entry(stored.revision).or_default();
        if entry.iter().any(|(known, _)| *known == stored) {
            return;
        }
        let same = |known: &Stored| known.service == stored.service || known.term != stored.term;
        if let Some((_, other)) = entry.iter().find(|(known, _)| same(known)) {
            let what = format!("revision {} was seen as two different writes", stored.revision);
            found.push(Violation::new(Invariant::OneTermWrites, what, [*other, event]));
        }
        entry.push((stored, event));
    }

    fn check_terms(&mut self, found: &mut Vec<Violation>) {
        let all: Vec<_> = self.entries.values().flatten().copied().collect();
        for pair in all.windows(2) {
            let ((before, first), (after, second)) = (pair[0], pair[1]);
            if after.term < before.term {
                let what = format!(
                    "term {} wrote revision {} after term {} had written revision {}",
                    after.term, after.revision, before.term, before.revision
                );
                found.push(Violation::new(Invariant::OneTermWrites, what, [first, second]));
            }
        }
        for (stored, event) in all {
            if !matches!(stored.kind, Kind::Leadership(_)) {
                continue;
            }
            if let Some(other) = self.leaders.insert(stored.term, event) {
                let what = format!("term {} began twice", stored.term);
                found.push(Violation::new(Invariant::TermsGrow, what, [other, event]));
            }
        }
    }

    /// All that is known, in order.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'e Stored, &'e Event)> {
        self.entries.values().flatten().copied()
    }

    /// What is known after this revision, up to that one.
    pub(crate) fn between(&self, after: u64, to: u64) -> impl Iterator<Item = (&'e Stored, &'e Event)> {
        let from = after.saturating_add(1);
        let range = (from <= to).then(|| self.entries.range(from..=to));
        range.into_iter().flatten().flat_map(|(_, entry)| entry.iter().copied())
    }

    /// What a revision says about a service.
    pub(crate) fn at(&self, revision: u64, service: &str) -> Option<(&'e Stored, &'e Event)> {
        let entry = self.entries.get(&revision)?;
        entry.iter().find(|(stored, _)| stored.service == service).copied()
    }

    /// Whether everything of this revision was seen.
    pub(crate) fn covers(&self, revision: u64) -> bool {
        self.covered.iter().any(|(after, to)| (after + 1..=*to).contains(&revision))
    }

    /// The term that was on when a revision was written; none: not known.
    pub(crate) fn term_of(&self, revision: u64) -> Option<u64> {
        self.entries.get(&revision)?.first().map(|(stored, _)| stored.term)
    }

    /// Who led in a term, and the event that says so.
    pub(crate) fn leader(&self, term: u64) -> Option<(&'e str, &'e Event)> {
        self.leaders.get(&term).and_then(|event| Some((leader_of(event)?, *event)))
    }

    /// The terms of a replica.
    pub(crate) fn terms_of<'a>(&'a self, replica: &'a str) -> impl DoubleEndedIterator<Item = u64> + 'a {
        self.leaders.iter().filter(move |(_, event)| leader_of(event) == Some(replica)).map(|(term, _)| *term)
    }

    /// The services that anything is stored about.
    pub(crate) fn services(&self) -> BTreeSet<&'e str> {
        self.all().map(|(stored, _)| &*stored.service).filter(|service| !service.is_empty()).collect()
    }
}

fn leader_of(event: &Event) -> Option<&str> {
    match &event.what {
        What::Watched { stored: Stored { kind: Kind::Leadership(leader), .. }, .. } => Some(leader),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::Invariant::{OneTermWrites, TermsGrow};
    use crate::testing::{broken, called, commit, committed, leads, opened, watched};

    #[test]
    fn terms_that_follow_one_another_along_the_revisions_are_fine() {
        let history = [
            opened(0, 1, Some(0)),
            called(0, 1, "x", commit(1)),
            watched(1, 1, leads(1, 1, "a")),
            watched(2, 1, committed(2, 1, "x")),
        ];
        assert_eq!(broken(&history), []);
    }

    #[test]
    fn a_write_of_an_older_term_after_one_of_a_newer_is_found() {
        let history = [
            opened(0, 1, Some(0)),
            called(0, 1, "x", commit(1)),
            watched(1, 1, leads(1, 1, "a")),
            watched(1, 1, leads(2, 2, "b")),
            watched(2, 1, committed(3, 1, "x")),
        ];
        assert_eq!(broken(&history), [OneTermWrites]);
    }

    #[test]
    fn a_revision_that_two_watchers_see_differently_is_found() {
        let history = [
            opened(0, 1, Some(0)),
            opened(0, 2, Some(0)),
            watched(1, 1, committed(1, 1, "x")),
            watched(1, 2, committed(1, 2, "y")),
        ];
        assert!(broken(&history).contains(&OneTermWrites));
    }

    #[test]
    fn a_term_of_two_leaders_is_found() {
        let history =
            [opened(0, 1, Some(0)), watched(1, 1, leads(1, 1, "a")), watched(1, 1, leads(2, 1, "b"))];
        assert_eq!(broken(&history), [TermsGrow]);
    }
}

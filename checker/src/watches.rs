//! Every stream brings every stored event after its beginning once, in order.

use std::collections::{BTreeMap, BTreeSet};

use crate::journal::Journal;
use crate::{Event, Invariant, Stored, Violation, What};

struct Stream<'e> {
    opened: &'e Event,
    service: Option<&'e str>,
    after: Option<u64>,
    seen: Vec<(&'e Stored, &'e Event)>,
}

pub(crate) fn check(events: &[&Event], journal: &Journal<'_>, found: &mut Vec<Violation>) {
    let mut streams = BTreeMap::<u64, Stream<'_>>::new();
    for event in events {
        match &event.what {
            What::Opened { watch, service, after } => {
                let stream =
                    Stream { opened: event, service: service.as_deref(), after: *after, seen: Vec::new() };
                if let Some(other) = streams.insert(*watch, stream) {
                    let what = format!("two streams have the number {watch}");
                    found.push(Violation::new(Invariant::Decided, what, [other.opened, event]));
                }
            }
            What::Watched { watch, stored } => match streams.get_mut(watch) {
                Some(stream) => stream.seen.push((stored, event)),
                None => {
                    let what = format!("stream {watch} was never opened");
                    found.push(Violation::new(Invariant::Decided, what, [*event]));
                }
            },
            _ => {}
        }
    }
    for stream in streams.values() {
        stream.check(journal, found);
    }
}

impl Stream<'_> {
    fn check(&self, journal: &Journal<'_>, found: &mut Vec<Violation>) {
        let mut report = |what: String, evidence: &[&Event]| {
            found.push(Violation::new(Invariant::WatchHasNoGaps, what, evidence.iter().copied()));
        };
        if let (Some(after), Some((first, event))) = (self.after, self.seen.first())
            && first.revision <= after
        {
            let what = format!("asked for what is after {after}, it brought {}", first.revision);
            report(what, &[self.opened, event]);
        }
        for pair in self.seen.windows(2) {
            let ((before, first), (after, second)) = (pair[0], pair[1]);
            if after.revision < before.revision || after == before {
                let what = format!("revision {} came after revision {}", after.revision, before.revision);
                report(what, &[first, second]);
            }
        }
        // From now on: from the first that came.
        let from = self.after.or_else(|| self.seen.first().map(|(stored, _)| stored.revision));
        let (Some(from), Some((last, after))) = (from, self.seen.last()) else { return };
        let wanted = |stored: &Stored| {
            stored.service.is_empty() || self.service.is_none_or(|service| service == stored.service)
        };
        let seen: BTreeSet<&Stored> = self.seen.iter().map(|(stored, _)| *stored).collect();
        for (stored, event) in journal.between(from, last.revision).filter(|(stored, _)| wanted(stored)) {
            if !seen.contains(stored) {
                let what = format!("revision {} never came, and later ones did", stored.revision);
                report(what, &[self.opened, event, after]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Event;
    use crate::Invariant::{Decided, WatchHasNoGaps};
    use crate::testing::{broken, leads, opened, watched};

    fn seen(watch: u64, after: Option<u64>, revisions: &[u64]) -> Vec<Event> {
        let each = revisions.iter().map(|revision| watched(1, watch, leads(*revision, *revision, "a")));
        std::iter::once(opened(0, watch, after)).chain(each).collect()
    }

    #[test]
    fn a_stream_that_is_resumed_where_it_broke_is_whole() {
        let history = [seen(1, Some(0), &[1, 2, 5]), seen(2, Some(2), &[5, 6]), seen(3, None, &[5, 6])];
        assert_eq!(broken(&history.concat()), []);
    }

    #[test]
    fn what_a_stream_left_out_brought_twice_or_out_of_order_is_found() {
        for bad in [
            seen(2, Some(0), &[1, 5]),
            seen(2, Some(1), &[5]),
            seen(2, None, &[1, 5]),
            seen(2, Some(0), &[1, 2, 2, 5]),
            seen(2, Some(0), &[2, 1, 5]),
            seen(2, Some(1), &[1, 2, 5]),
        ] {
            let found = broken(&[seen(1, Some(0), &[1, 2, 5]), bad.clone()].concat());
            assert!(!found.is_empty() && found.iter().all(|it| *it == WatchHasNoGaps), "{bad:?}: {found:?}");
        }
    }

    #[test]
    fn what_comes_from_a_stream_that_nobody_opened_cannot_be_judged() {
        assert_eq!(broken(&[watched(1, 1, leads(1, 1, "a"))]), [Decided]);
    }
}

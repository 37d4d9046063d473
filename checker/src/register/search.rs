//! The search for an order: depth first, from every state that was come to once only (after Wing and Gong, and Lowe).
//!
//! What nobody knows the end of may have been made or not. To have made less of that leaves more to be made: where a
//! search came with less, it need not come with more.

use std::collections::HashMap;
use std::time::Duration;

use super::state::{Move, State};
use crate::Event;

/// One move of a call. It was made between two moments; at `Duration::MAX` it may also have been never.
pub(super) struct Step<'e> {
    pub(super) made: Move,
    pub(super) from: Duration,
    pub(super) to: Duration,
    /// Another step of the same call, by its place: made before.
    pub(super) before: Option<usize>,
    pub(super) evidence: Vec<&'e Event>,
}

pub(super) enum Outcome<'e> {
    /// There is an order.
    Found,
    /// There is none: the furthest that any came to, and what may have come next.
    None { state: State, stuck: Vec<&'e Event> },
    /// Too many states.
    GaveUp,
}

/// Where a search is: which steps were made, and what came of them.
#[derive(Clone)]
struct Node {
    place: Place,
    /// Of those that may have been made, in order.
    maybe: Vec<usize>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Place {
    state: State,
    /// All steps before this one, of those that were made for certain, in the order of their beginnings…
    all_before: usize,
    /// …and these.
    and: Vec<usize>,
    /// How many of those with a known revision: they were made in that order.
    numbered: usize,
}

struct Search<'s, 'e> {
    steps: &'s [Step<'e>],
    certain: Vec<usize>,
    unclear: Vec<usize>,
    /// By step: its place among those with a known revision.
    rank: Vec<Option<usize>>,
}

/// Looks for an order of these steps, through so many states at most.
pub(super) fn order(steps: Vec<Step<'_>>, limit: usize) -> Outcome<'_> {
    let search = Search::new(&steps);
    let place = Place { state: State::NEW, all_before: 0, and: Vec::new(), numbered: 0 };
    let first = Node { place, maybe: Vec::new() };
    let mut furthest = (0, first.clone());
    let mut known = Known::default();
    let mut open = vec![first];
    while let Some(node) = open.pop() {
        if node.place.all_before == search.certain.len() {
            return Outcome::Found;
        }
        let made = node.place.all_before + node.place.and.len();
        if made > furthest.0 {
            furthest = (made, node.clone());
        }
        for next in search.next(&node) {
            if known.is_new(&next) {
                open.push(next);
            }
        }
        if known.nodes > limit {
            return Outcome::GaveUp;
        }
    }
    let node = furthest.1;
    let stuck = search.candidates(&node).0;
    let mut stuck: Vec<&Event> = stuck.iter().flat_map(|step| steps[*step].evidence.clone()).collect();
    stuck.sort_by_key(|event| event.at);
    Outcome::None { state: node.place.state, stuck }
}

/// Where the search has been.
#[derive(Default)]
struct Known {
    /// By place: of those that may have been made, which had been.
    places: HashMap<Place, Vec<Vec<usize>>>,
    nodes: usize,
}

impl Known {
    /// Whether it has not been there with as little made, or less.
    fn is_new(&mut self, node: &Node) -> bool {
        let with = self.places.entry(node.place.clone()).or_default();
        if with.iter().any(|less| less.iter().all(|step| node.maybe.binary_search(step).is_ok())) {
            return false;
        }
        with.push(node.maybe.clone());
        self.nodes += 1;
        true
    }
}

impl<'s, 'e> Search<'s, 'e> {
    fn new(steps: &'s [Step<'e>]) -> Self {
        let mut all: Vec<usize> = (0..steps.len()).collect();
        all.sort_by_key(|step| steps[*step].from);
        let (unclear, certain): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|step| steps[*step].to == Duration::MAX);
        let mut numbered: Vec<(u64, usize)> =
            certain.iter().filter_map(|step| Some((steps[*step].made.revision()?, *step))).collect();
        numbered.sort_unstable();
        let mut rank = vec![None; steps.len()];
        for (place, (_, step)) in numbered.iter().enumerate() {
            rank[*step] = Some(place);
        }
        Self { steps, certain, unclear, rank }
    }

    /// Those that may be next: nothing that is still to come ended before they began. First those that were made for
    /// certain.
    fn candidates(&self, node: &Node) -> (Vec<usize>, Vec<usize>) {
        let mut end = Duration::MAX;
        let mut found = Vec::new();
        for (place, step) in self.certain.iter().enumerate().skip(node.place.all_before) {
            if self.steps[*step].from > end {
                break;
            }
            if !node.place.and.contains(&place) {
                found.push(*step);
                end = end.min(self.steps[*step].to);
            }
        }
        found.retain(|step| self.steps[*step].from <= end);
        let maybe = self.unclear.iter().copied();
        let maybe = maybe.take_while(|step| self.steps[*step].from <= end);
        (found, maybe.filter(|step| !node.maybe.contains(step)).collect())
    }

    /// The nodes after this one, the likeliest last.
    fn next(&self, node: &Node) -> Vec<Node> {
        let (certain, unclear) = self.candidates(node);
        let mut next = Vec::new();
        for step in unclear {
            // One that changes nothing need not have been made.
            for state in
                node.place.state.after(&self.steps[step].made).filter(|state| *state != node.place.state)
            {
                let mut node = node.clone();
                node.place.state = state;
                let place = node.maybe.partition_point(|made| *made < step);
                node.maybe.insert(place, step);
                next.push(node);
            }
        }
        for step in certain.into_iter().rev() {
            if !self.is_turn_of(step, &node.place) {
                continue;
            }
            for state in node.place.state.after(&self.steps[step].made) {
                let after = Node { place: self.made(&node.place, step, state), maybe: node.maybe.clone() };
                // What changes nothing can as well be made now: whatever is possible without it stays possible.
                if state == node.place.state {
                    return vec![after];
                }
                next.push(after);
            }
        }
        next
    }

    fn is_turn_of(&self, step: usize, at: &Place) -> bool {
        let before = self.steps[step].before;
        self.rank[step].is_none_or(|rank| rank == at.numbered)
            && before.is_none_or(|before| !self.is_open(before, at))
    }

    fn is_open(&self, step: usize, at: &Place) -> bool {
        let open = self.certain.iter().enumerate().skip(at.all_before);
        open.filter(|(place, _)| !at.and.contains(place)).any(|(_, open)| *open == step)
    }

    fn made(&self, before: &Place, step: usize, state: State) -> Place {
        let mut at = Place { state, ..before.clone() };
        let from = self.steps[step].from;
        let first = self.certain.partition_point(|other| self.steps[*other].from < from);
        let place = (first..).zip(&self.certain[first..]).find(|(_, other)| **other == step);
        let place = place.map_or(first, |(place, _)| place);
        at.and.insert(at.and.partition_point(|made| *made < place), place);
        while at.and.first() == Some(&at.all_before) {
            at.and.remove(0);
            at.all_before += 1;
        }
        at.numbered += usize::from(self.rank[step].is_some());
        at
    }
}

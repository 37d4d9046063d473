//! The search for an order: depth first, from every state that was come to once only (after Wing and Gong, and Lowe).

use std::collections::HashSet;
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
#[derive(Clone, PartialEq, Eq, Hash)]
struct Node {
    state: State,
    /// All steps before this one, of those that were made for certain, in the order of their beginnings…
    all_before: usize,
    /// …and these.
    and: Vec<usize>,
    /// Of those that may have been made.
    maybe: Vec<usize>,
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
    let first = Node { state: State::NEW, all_before: 0, and: Vec::new(), maybe: Vec::new(), numbered: 0 };
    let mut furthest = (0, first.clone());
    let mut known = HashSet::from([first.clone()]);
    let mut open = vec![first];
    while let Some(node) = open.pop() {
        if node.all_before == search.certain.len() {
            return Outcome::Found;
        }
        let made = node.all_before + node.and.len();
        if made > furthest.0 {
            furthest = (made, node.clone());
        }
        for next in search.next(&node) {
            if known.insert(next.clone()) {
                open.push(next);
            }
        }
        if known.len() > limit {
            return Outcome::GaveUp;
        }
    }
    let node = furthest.1;
    let stuck = search.candidates(&node).0;
    let mut stuck: Vec<&Event> = stuck.iter().flat_map(|step| steps[*step].evidence.clone()).collect();
    stuck.sort_by_key(|event| event.at);
    Outcome::None { state: node.state, stuck }
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
        for (place, step) in self.certain.iter().enumerate().skip(node.all_before) {
            if self.steps[*step].from > end {
                break;
            }
            if !node.and.contains(&place) {
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
            for state in node.state.after(&self.steps[step].made) {
                let mut node = Node { state, ..node.clone() };
                let place = node.maybe.partition_point(|made| *made < step);
                node.maybe.insert(place, step);
                next.push(node);
            }
        }
        for step in certain.into_iter().rev() {
            if !self.is_turn_of(step, node) {
                continue;
            }
            for state in node.state.after(&self.steps[step].made) {
                let after = self.made(node, step, state);
                // What changes nothing can as well be made now: whatever is possible without it stays possible.
                if state == node.state {
                    return vec![after];
                }
                next.push(after);
            }
        }
        next
    }

    fn is_turn_of(&self, step: usize, node: &Node) -> bool {
        let before = self.steps[step].before;
        self.rank[step].is_none_or(|rank| rank == node.numbered)
            && before.is_none_or(|before| !self.is_open(before, node))
    }

    fn is_open(&self, step: usize, node: &Node) -> bool {
        let open = self.certain.iter().enumerate().skip(node.all_before);
        open.filter(|(place, _)| !node.and.contains(place)).any(|(_, open)| *open == step)
    }

    fn made(&self, node: &Node, step: usize, state: State) -> Node {
        let mut node = Node { state, ..node.clone() };
        let from = self.steps[step].from;
        let first = self.certain.partition_point(|other| self.steps[*other].from < from);
        let place = (first..).zip(&self.certain[first..]).find(|(_, other)| **other == step);
        let place = place.map_or(first, |(place, _)| place);
        let at = node.and.partition_point(|made| *made < place);
        node.and.insert(at, place);
        while node.and.first() == Some(&node.all_before) {
            node.and.remove(0);
            node.all_before += 1;
        }
        node.numbered += usize::from(self.rank[step].is_some());
        node
    }
}

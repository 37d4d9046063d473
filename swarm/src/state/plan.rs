//! What is to be written so that the record stays small: which keys go from it into pages, which pages are merged.
//!
//! So a transaction writes a record of some 20 KiB at most, now and then a page besides, whatever the size of the whole.
//! A key is written about three times before it lies in a page of the final size.

use std::collections::HashSet;
use std::sync::Arc;

use super::page::{item, weight};
use super::{Contents, Draft, Fresh, Hit, Needs, Page, Place, Shelf, State};
use crate::wire::Item;

/// A value of more bytes is never in the record.
const LARGE: usize = 4096;
/// When what is in the record weighs more, most of it goes into a page.
const FULL: usize = 12 * 1024;
/// What stays then, the newest: it is likely to be written again soon.
const KEEP: usize = 4 * 1024;
/// So much goes into one page, before it is packed; one value may be more.
const PAGE: usize = 700_000;
/// Pages that weigh less are small; less than the second, of medium size.
const SIZES: [usize; 2] = [64 * 1024, 350_000];
/// So many pages of one size are merged.
const MANY: usize = 8;
/// When there are more graves, pages are written anew so that some are not needed any more.
const GRAVES: usize = 128;

/// A state that is about to be written.
#[derive(Debug)]
pub(crate) struct Plan {
    state: State,
    /// The pages to make first.
    pub(crate) drafts: Vec<Draft>,
}

impl Plan {
    /// The state with its new pages, given the identities of their config objects, in order.
    pub(crate) fn complete(self, made: &[String]) -> (State, Vec<(Arc<Page>, Contents)>) {
        let mut state = self.state;
        let pages = self.drafts.iter().zip(made).map(|(draft, id)| {
            let (page, contents) = Page::open(id, draft.body());
            (Arc::new(page), contents)
        });
        let pages: Vec<_> = pages.collect();
        state.pages.extend(pages.iter().map(|(page, _)| Arc::clone(page)));
        (state, pages)
    }
}

/// What to write for this state, which follows on one of the revision before.
pub(crate) fn plan(mut state: State, shelf: &Shelf) -> Result<Plan, Needs> {
    let spilled = spilled(&state);
    let deleted = state.graves.iter().any(|grave| grave.revision == state.revision);
    if spilled.is_empty() && !deleted {
        return Ok(Plan { state, drafts: Vec::new() });
    }
    let dead: HashSet<String> =
        state.pages.iter().filter(|page| is_dead(&state, page)).map(|page| page.id.clone()).collect();
    let mut rewritten = if spilled.is_empty() { Vec::new() } else { rewritten(&state, &dead) };
    rewritten.retain(|page| !dead.contains(&page.id));
    let mut items = Vec::new();
    let mut needs = Needs::default();
    for page in &rewritten {
        for hit in living(&state, page) {
            let value = hit.value(shelf, &mut needs);
            let mark = hit.mark;
            items.extend(value.map(|value| item(hit.key, &Fresh { mark, value })));
        }
    }
    needs.or(())?;
    for key in spilled {
        if let Some(fresh) = state.fresh.remove(&key) {
            items.push(item(&key, &fresh));
        }
    }
    state.pages.retain(|page| !dead.contains(&page.id) && !rewritten.iter().any(|it| it.id == page.id));
    let drafts = cut(items);
    prune(&mut state);
    Ok(Plan { state, drafts })
}

/// The keys that go from the record into pages.
fn spilled(state: &State) -> Vec<String> {
    let mut movable: Vec<_> = state.fresh.iter().filter(|(_, fresh)| fresh.mark.lease == 0).collect();
    let (large, mut small): (Vec<_>, Vec<_>) =
        movable.drain(..).partition(|(_, fresh)| fresh.value.len() > LARGE);
    let mut spilled: Vec<String> = large.into_iter().map(|(key, _)| key.clone()).collect();
    if small.iter().map(|(key, fresh)| weight(key, fresh.value.len())).sum::<usize>() > FULL {
        small.sort_by_key(|(_, fresh)| std::cmp::Reverse(fresh.mark.modified));
        let mut kept = 0;
        for (key, fresh) in small {
            kept += weight(key, fresh.value.len());
            if kept > KEEP {
                spilled.push(key.clone());
            }
        }
    }
    spilled
}

/// The keys of a page of which nothing newer is known.
fn living<'a>(state: &'a State, page: &'a Page) -> impl Iterator<Item = Hit<'a>> {
    let hits = page.keys.iter().filter_map(|key| state.get(key));
    hits.filter(|hit| matches!(hit.value, Place::In(in_, _) if in_.id == page.id))
}

fn is_dead(state: &State, page: &Page) -> bool {
    living(state, page).next().is_none()
}

/// The pages to write anew: many of one size; one that is half dead; some, so that graves are not needed any more.
fn rewritten(state: &State, dead: &HashSet<String>) -> Vec<Arc<Page>> {
    let alive: Vec<&Arc<Page>> = state.pages.iter().filter(|page| !dead.contains(&page.id)).collect();
    let mut chosen: Vec<&Arc<Page>> = Vec::new();
    let mut least = 0;
    for most in SIZES {
        let mut same: Vec<_> =
            alive.iter().copied().filter(|page| (least..most).contains(&page.weight)).collect();
        if same.len() >= MANY {
            same.sort_by_key(|page| page.weight);
            chosen.extend(same);
            break;
        }
        least = most;
    }
    let turn = usize::try_from(state.revision).unwrap_or(0) % alive.len().max(1);
    chosen.extend(alive.get(turn).filter(|page| living(state, page).count() * 2 < page.keys.len()));
    if state.graves.len() > GRAVES {
        let mut buried: Vec<_> = alive.iter().copied().filter(|page| has_buried(state, page)).collect();
        buried.sort_by_key(|page| page.weight);
        chosen.extend(buried);
    }
    let mut sum = 0;
    let mut taken: Vec<Arc<Page>> = Vec::new();
    for page in chosen {
        let again = taken.iter().any(|it| it.id == page.id);
        if !again && (taken.is_empty() || sum + page.weight <= PAGE) {
            sum += page.weight;
            taken.push(Arc::clone(page));
        }
    }
    taken
}

fn has_buried(state: &State, page: &Page) -> bool {
    let mut told = page.keys.iter().zip(&page.marks);
    told.any(|(key, mark)| state.buried_at(key, mark.modified).is_some())
}

/// Removes the graves that bury nothing in any page.
fn prune(state: &mut State) {
    let pages = &state.pages;
    let (needed, over): (Vec<_>, Vec<_>) = std::mem::take(&mut state.graves).into_iter().partition(|grave| {
        pages
            .iter()
            .any(|page| page.within(&grave.span).any(|number| page.marks[number].modified < grave.revision))
    });
    state.graves = needed;
    state.floor = over.iter().map(|grave| grave.revision).max().unwrap_or(0).max(state.floor);
}

fn cut(mut items: Vec<Item>) -> Vec<Draft> {
    items.sort_by(|one, other| one.key.cmp(&other.key));
    let mut drafts = Vec::new();
    let mut part = Vec::new();
    let mut size = 0;
    for item in items {
        let weight = weight(&item.key, item.value.len());
        if size + weight > PAGE && !part.is_empty() {
            drafts.push(Draft::of(std::mem::take(&mut part)));
            size = 0;
        }
        size += weight;
        part.push(item);
    }
    if !part.is_empty() {
        drafts.push(Draft::of(part));
    }
    drafts
}

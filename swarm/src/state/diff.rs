//! What happened between two states.

use std::collections::{BTreeMap, HashSet};

use super::{Hit, Span, State};

/// Something that happened to a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change<'a> {
    /// It was written: what it is now.
    Put(Hit<'a>),
    /// It was deleted, at this revision.
    Delete(&'a str, i64),
}

/// What was deleted since then left no trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unknown {
    /// The oldest revision from which on everything can be told.
    pub(crate) oldest: i64,
}

impl Change<'_> {
    pub(crate) fn revision(&self) -> i64 {
        match self {
            Self::Put(hit) => hit.mark.modified,
            Self::Delete(_, revision) => *revision,
        }
    }

    fn key(&self) -> &str {
        match self {
            Self::Put(hit) => hit.key,
            Self::Delete(key, _) => key,
        }
    }
}

/// What happened to the keys of a span up to `new`, in order: since `old`, or without it from a revision on, if that can
/// be told. Of several writes to a key only the last shows.
pub(crate) fn changes<'a>(
    old: Option<&'a State>,
    new: &'a State,
    from: i64,
    span: &Span,
) -> Result<Vec<Change<'a>>, Unknown> {
    let mut found: BTreeMap<&str, Change<'a>> = BTreeMap::new();
    let since = old.map_or(from - 1, |old| old.revision);
    let known: HashSet<&str> =
        old.map(|old| old.pages.iter().map(|page| page.id.as_str()).collect()).unwrap_or_default();
    let later = new.fresh.iter().filter(|(_, fresh)| fresh.mark.modified > since).map(|(key, _)| key);
    let pages = new.pages.iter().filter(|page| !known.contains(page.id.as_str()));
    let paged = pages.flat_map(|page| {
        let later = page.keys.iter().zip(&page.marks).filter(|(_, mark)| mark.modified > since);
        later.map(|(key, _)| key)
    });
    for key in later.chain(paged).filter(|key| span.contains(key)) {
        if let Some(hit) = new.get(key).filter(|hit| hit.mark.modified > since) {
            found.insert(hit.key, Change::Put(hit));
        }
    }
    match old {
        Some(old) => {
            for key in lost(old, new).filter(|key| span.contains(key)) {
                if old.get(key).is_some() && new.get(key).is_none() {
                    let at = new.buried_at(key, since).unwrap_or(new.revision);
                    found.insert(key, Change::Delete(key, at));
                }
            }
        }
        None => buried_since(new, from, &mut found, span)?,
    }
    let mut changes: Vec<Change<'a>> = found.into_values().collect();
    changes.sort_by(|one, other| (one.revision(), one.key()).cmp(&(other.revision(), other.key())));
    Ok(changes)
}

/// Keys of `old` that may not be there any more.
fn lost<'a>(old: &'a State, new: &'a State) -> impl Iterator<Item = &'a str> {
    let known: HashSet<&str> = new.pages.iter().map(|page| page.id.as_str()).collect();
    let gone = old.pages.iter().filter(move |page| !known.contains(page.id.as_str()));
    let gone = gone.flat_map(|page| page.keys.iter().map(String::as_str));
    let since = old.revision;
    let graves = new.graves.iter().filter(move |grave| grave.revision > since);
    let buried = graves.flat_map(|grave| {
        old.pages.iter().flat_map(|page| page.keys[page.within(&grave.span)].iter().map(String::as_str))
    });
    old.fresh.keys().map(String::as_str).chain(gone).chain(buried)
}

// Without the state from before it is not known which keys a grave of many took.
fn buried_since<'a>(
    new: &'a State,
    from: i64,
    found: &mut BTreeMap<&'a str, Change<'a>>,
    span: &Span,
) -> Result<(), Unknown> {
    if from <= new.floor {
        return Err(Unknown { oldest: new.floor + 1 });
    }
    for grave in new.graves.iter().filter(|grave| grave.revision >= from) {
        match grave.span.one() {
            Some(key) if span.contains(key) && new.get(key).is_none() => {
                let told = found.entry(key).or_insert(Change::Delete(key, grave.revision));
                if told.revision() < grave.revision {
                    *told = Change::Delete(key, grave.revision);
                }
            }
            Some(_) => {}
            None if grave.span.meets(span) => return Err(Unknown { oldest: grave.revision + 1 }),
            None => {}
        }
    }
    Ok(())
}

//! The state in memory: every key with its value, at one revision.
//!
//! Values that come have memory of their own: they are young. As soon as they fill a block they are laid in one, side by
//! side. A block of which less than three quarters are still of use is given up, and what is left of it is young again: so
//! values take at most a third more than their size, and what a write may cost does not grow with the state.

use std::collections::HashMap;
use std::collections::btree_map::{BTreeMap, Entry};
use std::ops::Bound;
use std::sync::Arc;

use crate::value::{BLOCK, Laying, Value};
use crate::{Record, Revision};

/// What is longer keeps memory of its own, and a block has at most so much left over.
const LONG: usize = 64 * 1024;

/// A block with less of use than this is given up.
const WORTH: usize = BLOCK / 4 * 3;

/// So many keys of young values are looked through no sooner than as many have come.
const YOUNG: usize = 4096;

/// The state in memory.
#[derive(Clone, Default, Debug)]
pub(crate) struct Image {
    pub(crate) revision: Revision,
    records: BTreeMap<Arc<str>, Record>,
    young: Young,
    /// By what names their memory.
    blocks: HashMap<usize, Block>,
}

/// Values that have memory of their own, and are to be laid in blocks.
#[derive(Clone, Default, Debug)]
struct Young {
    /// The key of each; of some, again; and some of what is no longer young.
    keys: Vec<Arc<str>>,
    /// When that is to be put in order.
    full: usize,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Block {
    /// Whose values were laid in it.
    keys: Box<[Arc<str>]>,
    /// Bytes of the values that are still there.
    used: usize,
}

impl Image {
    /// One key, as the image has it, and its record.
    pub(crate) fn get(&self, key: &str) -> Option<(&Arc<str>, &Record)> {
        self.records.get_key_value(key)
    }

    /// The keys that begin with `prefix` and come after the key `after`, in order.
    pub(crate) fn range<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Record)> {
        let from = match after {
            Some(key) if key >= prefix => Bound::Excluded(key),
            _ => Bound::Included(prefix),
        };
        self.records
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// Everything, in order of the keys.
    pub(crate) fn all(&self) -> Vec<(Arc<str>, Record)> {
        self.records.iter().map(|(key, record)| (key.clone(), record.clone())).collect()
    }

    pub(crate) fn put(&mut self, key: &Arc<str>, mut record: Record) {
        if self.blocks.contains_key(&record.value.home()) {
            // Read here, and written under another key: what a block holds for a key is that key's alone.
            record.value = Value::from(&*record.value);
        }
        let length = record.value.len();
        // The key's memory is the one that is here already.
        let (key, before) = match self.records.entry(key.clone()) {
            Entry::Vacant(place) => (place.insert_entry(record).key().clone(), None),
            Entry::Occupied(mut place) => (place.key().clone(), Some(place.insert(record))),
        };
        if before.is_some_and(|before| self.left(&before.value)) && length <= LONG {
            // Young before and after.
            self.young.bytes += length;
        } else {
            self.came(key, length);
        }
        self.settle();
    }

    pub(crate) fn remove(&mut self, key: &str) {
        if let Some(before) = self.records.remove(key) {
            self.left(&before.value);
            self.settle();
        }
    }

    /// A value with memory of its own is there.
    fn came(&mut self, key: Arc<str>, length: usize) {
        if length <= LONG {
            self.young.keys.push(key);
            self.young.bytes += length;
        }
    }

    /// A value is there no more. Tells whether it was young.
    fn left(&mut self, value: &Value) -> bool {
        let young = self.is_young(value);
        if young {
            self.young.bytes -= value.len();
        } else if let Some(block) = self.blocks.get_mut(&value.home()) {
            block.used -= value.len();
            if block.used < WORTH {
                self.give_up(value.home());
            }
        }
        young
    }

    fn settle(&mut self) {
        if self.young.bytes >= BLOCK || self.young.keys.len() > self.young.full {
            while self.lay() {}
        }
    }

    /// Puts the young in order, and lays as many as fill a block. Returns false if there are too few for that.
    fn lay(&mut self) -> bool {
        let mut keys = std::mem::take(&mut self.young.keys);
        keys.sort_unstable();
        keys.dedup();
        let enough = self.young.bytes >= BLOCK;
        let mut laying = Laying::default();
        for key in keys {
            let value = self.records.get(&key).map(|record| &record.value);
            match value.filter(|value| self.is_young(value)) {
                Some(value) if enough && laying.fits(value.len()) => {
                    self.young.bytes -= value.len();
                    laying.add(key, value);
                }
                Some(_) => self.young.keys.push(key),
                None => {}
            }
        }
        self.young.full = 2 * self.young.keys.len() + YOUNG;
        let records = &mut self.records;
        self.blocks.extend(Block::of(laying, |key, value| {
            records.get_mut(&key)?.value = value;
            Some(key)
        }));
        enough
    }

    fn is_young(&self, value: &Value) -> bool {
        value.len() <= LONG && !self.blocks.contains_key(&value.home())
    }

    /// Moves what is left in a block out of it.
    fn give_up(&mut self, home: usize) {
        let Some(block) = self.blocks.remove(&home) else { return };
        for key in block.keys {
            let Some(record) = self.records.get_mut(&key) else { continue };
            if record.value.home() == home {
                record.value = Value::from(&*record.value);
                let length = record.value.len();
                self.came(key, length);
            }
        }
    }
}

impl Block {
    /// What is being laid, in a block. Each value is given to its owner, who tells its key.
    fn of<K>(laying: Laying<K>, mut give: impl FnMut(K, Value) -> Option<Arc<str>>) -> Option<(usize, Self)> {
        let mut home = None;
        let (mut keys, mut used) = (Vec::new(), 0);
        for (owner, value) in laying.in_block() {
            home = Some(value.home());
            used += value.len();
            keys.extend(give(owner, value));
        }
        home.map(|home| (home, Self { keys: keys.into(), used }))
    }
}

/// An image that is being made of everything at once, in order of the keys: its values are laid as they come.
#[derive(Default)]
pub(crate) struct Making {
    records: Vec<(Arc<str>, Record)>,
    laying: Laying<usize>,
    /// In the place of a value that is being laid.
    nothing: Value,
    image: Image,
}

impl Making {
    /// One more key. Its value is copied.
    pub(crate) fn add(&mut self, key: Arc<str>, value: &[u8], modified: Revision) {
        let long = value.len() > LONG;
        if !long && !self.laying.fits(value.len()) {
            let (laying, records) = (std::mem::take(&mut self.laying), &mut self.records);
            self.image.blocks.extend(Block::of(laying, |index: usize, value| {
                let (key, record) = records.get_mut(index)?;
                record.value = value;
                Some(key.clone())
            }));
        }
        if !long {
            self.laying.add(self.records.len(), value);
        }
        let value = if long { value.into() } else { self.nothing.clone() };
        self.records.push((key, Record { value, modified }));
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// The image, at this revision.
    pub(crate) fn done(mut self, revision: Revision) -> Image {
        for (index, value) in self.laying.apart() {
            let (key, record) = &mut self.records[index];
            self.image.came(key.clone(), value.len());
            record.value = value;
        }
        // In order: the map is built in one go.
        Image { revision, records: self.records.into_iter().collect(), ..self.image }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Image {
        /// What is said of the memory is what is there.
        fn check(&self) {
            let mut young = Young::default();
            let mut used = HashMap::new();
            for (key, record) in &self.records {
                let length = record.value.len();
                let home = record.value.home();
                if self.blocks.contains_key(&home) {
                    assert!(record.value.is_in_block());
                    *used.entry(home).or_insert(0) += length;
                    assert!(self.blocks[&home].keys.contains(key), "{key}");
                } else if length <= LONG {
                    assert!(!record.value.is_in_block(), "{key}");
                    young.bytes += length;
                    young.keys.push(key.clone());
                }
            }
            assert!(young.keys.iter().all(|key| self.young.keys.contains(key)));
            assert_eq!(young.bytes, self.young.bytes);
            assert!(self.young.bytes < BLOCK);
            assert_eq!(used, self.blocks.iter().map(|(home, block)| (*home, block.used)).collect());
            assert!(used.values().all(|used| (WORTH..=BLOCK).contains(used)));
        }

        fn shown(&self) -> BTreeMap<String, (Vec<u8>, Revision)> {
            let all = self.all().into_iter();
            all.map(|(key, record)| (key.to_string(), (record.value.to_vec(), record.modified))).collect()
        }
    }

    /// Some bytes that are different for each seed.
    fn bytes(seed: u64, length: usize) -> Vec<u8> {
        seed.to_le_bytes().into_iter().cycle().take(length).collect()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, usize),
        Remove(u8),
        /// What a key has is put under another.
        Copy(u8, u8),
        /// Written down as a snapshot is, and read back.
        Again,
    }

    fn step() -> impl Strategy<Value = Step> {
        // Keys are few enough to be replaced, and values long enough to fill several blocks.
        let length = prop_oneof![8 => 10_000..=LONG, 1 => Just(0), 1 => LONG + 1..LONG + 3];
        prop_oneof![
            60 => (any::<u8>(), length).prop_map(|(key, length)| Step::Put(key, length)),
            20 => any::<u8>().prop_map(Step::Remove),
            10 => any::<(u8, u8)>().prop_map(|(from, to)| Step::Copy(from, to)),
            1 => Just(Step::Again),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn it_shows_what_was_put_wherever_that_lies(steps in prop::collection::vec(step(), 300..600)) {
            let mut image = Image::default();
            let mut right = BTreeMap::new();
            for (revision, step) in (1_u64..).zip(steps) {
                match step {
                    Step::Put(key, length) => {
                        let (key, value) = (key.to_string(), bytes(revision, length));
                        let record = Record { value: value.clone().into(), modified: revision };
                        image.put(&key.as_str().into(), record);
                        right.insert(key, (value, revision));
                    }
                    Step::Remove(key) => {
                        image.remove(&key.to_string());
                        right.remove(&key.to_string());
                    }
                    Step::Copy(from, to) => {
                        let Some((_, record)) = image.get(&from.to_string()) else { continue };
                        let record = Record { value: record.value.clone(), modified: revision };
                        right.insert(to.to_string(), (record.value.to_vec(), revision));
                        image.put(&to.to_string().into(), record);
                    }
                    Step::Again => {
                        let mut making = Making::default();
                        for (key, record) in image.all() {
                            making.add(key, &record.value, record.modified);
                        }
                        image = making.done(revision);
                    }
                }
                image.check();
            }
            prop_assert_eq!(image.shown(), right);
        }
    }

    #[test]
    fn a_state_is_laid_in_blocks_and_takes_a_third_more_than_its_size_at_most() {
        const KEYS: u64 = 8 * BLOCK as u64 / 400;
        let mut image = Image::default();
        let put = |image: &mut Image, key: u64, revision| {
            let record = Record { value: bytes(revision, 400).into(), modified: revision };
            image.put(&format!("{key:06}").into(), record);
        };
        for key in 0..KEYS {
            put(&mut image, key, key);
        }
        assert_eq!(image.blocks.len(), 8);
        image.check();
        let mut most = 0;
        for revision in KEYS..5 * KEYS {
            // All over the place, so that every block is hollowed out.
            put(&mut image, revision.wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS, revision);
            most = most.max(image.blocks.len());
        }
        image.check();
        assert!(most <= 8 * 4 / 3 + 1, "{most} blocks for the contents of 8");
        // Who reads holds on to what was read.
        let (key, record) = image.range("", None).next().map(|(k, r)| (k.clone(), r.clone())).expect("a key");
        let before = record.value.to_vec();
        for revision in 5 * KEYS..6 * KEYS {
            put(&mut image, revision % KEYS, revision);
        }
        assert_ne!(*image.get(&key).expect("still there").1.value, before);
        assert_eq!(*record.value, before);
        for key in 0..KEYS {
            image.remove(&format!("{key:06}"));
        }
        image.check();
        assert!(image.blocks.is_empty() && image.young.bytes == 0);
    }
}

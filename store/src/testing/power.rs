//! A disk in memory that knows what a power cut takes away.
//!
//! What was written to a file is durable once the file was synced; a name, once its directory was. At a cut each write
//! that was not synced is lost, kept, kept in some of its sectors, or kept up to some byte; each change of a name is
//! lost or kept, whatever became of the others. That is more than file systems do to us.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::file::disk::{Disk, DiskFile};

/// A small generator of numbers, the same for the same seed.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall as `seed` says.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `sides`, which is not 0.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// What survives a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Only what was synced.
    Synced,
    /// Everything.
    All,
    /// What was synced, and of the rest what dice of this seed say.
    Dice(u64),
}

#[derive(Clone, Default)]
struct Inode {
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
    now: Vec<u8>,
}

#[derive(Clone)]
enum Change {
    Put(PathBuf, usize),
    Remove(PathBuf),
    Move(PathBuf, PathBuf),
    Dir(PathBuf),
}

#[derive(Clone, Default)]
struct Names {
    files: BTreeMap<PathBuf, usize>,
    dirs: BTreeSet<PathBuf>,
}

#[derive(Clone, Default)]
struct State {
    inodes: Vec<Inode>,
    durable: Names,
    unsynced: Vec<(PathBuf, Change)>,
    now: Names,
}

/// The disk. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<State>>);

impl MemoryDisk {
    /// An empty disk; the root directory exists.
    #[must_use]
    pub fn new() -> Self {
        let disk = Self::default();
        {
            let state = &mut *disk.lock();
            for names in [&mut state.durable, &mut state.now] {
                names.dirs.insert(PathBuf::from("/"));
            }
        }
        disk
    }

    /// Another disk: what is on this one after a power cut now.
    #[must_use]
    pub fn after_power_cut(&self, fate: Fate) -> Self {
        let state = self.lock();
        let seed = if let Fate::Dice(seed) = fate { seed } else { 0 };
        let mut dice = Dice::new(seed);
        let mut names = state.durable.clone();
        for (_, change) in &state.unsynced {
            let kept = match fate {
                Fate::Synced => false,
                Fate::All => true,
                Fate::Dice(_) => dice.roll(2) == 0,
            };
            if kept {
                names.apply(change);
            }
        }
        let inodes = state.inodes.iter().map(|inode| inode.after(fate, &mut dice)).collect();
        let state = State { inodes, durable: names.clone(), unsynced: Vec::new(), now: names };
        Self(Arc::new(Mutex::new(state)))
    }

    /// A copy that shares nothing.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.lock().clone())))
    }

    /// Every file and its content.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.lock();
        state.now.files.iter().map(|(path, id)| (path.clone(), state.inodes[*id].now.clone())).collect()
    }

    /// Changes the content of a file, as damage would.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        let id = state.now.files[path];
        let inode = &mut state.inodes[id];
        change(&mut inode.now);
        inode.durable.clone_from(&inode.now);
        inode.unsynced.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: Change) {
        let mut state = self.lock();
        state.now.apply(&change);
        let (Change::Put(path, _) | Change::Remove(path) | Change::Move(_, path) | Change::Dir(path)) =
            &change;
        let dir = path.parent().map(Path::to_owned).unwrap_or_default();
        state.unsynced.push((dir, change));
    }

    fn inode(&self, path: &Path) -> io::Result<usize> {
        self.lock().now.files.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Names {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Put(path, id) => drop(self.files.insert(path.clone(), *id)),
            Change::Remove(path) => drop(self.files.remove(path)),
            Change::Move(from, to) => {
                if let Some(id) = self.files.remove(from) {
                    self.files.insert(to.clone(), id);
                }
            }
            Change::Dir(path) => drop(self.dirs.insert(path.clone())),
        }
    }
}

impl Inode {
    fn after(&self, fate: Fate, dice: &mut Dice) -> Self {
        let mut content = match fate {
            Fate::All => self.now.clone(),
            _ => self.durable.clone(),
        };
        if let Fate::Dice(_) = fate {
            for (offset, bytes) in &self.unsynced {
                survive(&mut content, *offset, bytes, dice);
            }
        }
        Self { durable: content.clone(), unsynced: Vec::new(), now: content }
    }
}

fn survive(content: &mut Vec<u8>, offset: usize, bytes: &[u8], dice: &mut Dice) {
    const SECTOR: usize = 512;
    match dice.roll(4) {
        0 => {}
        1 => write(content, offset, bytes),
        2 => {
            let kept = usize::try_from(dice.roll(bytes.len() as u64 + 1)).unwrap();
            write(content, offset, &bytes[..kept]);
        }
        _ => {
            let mut from = 0;
            while from < bytes.len() {
                let until = bytes.len().min(from + SECTOR - (offset + from) % SECTOR);
                if dice.roll(2) == 0 {
                    write(content, offset + from, &bytes[from..until]);
                }
                from = until;
            }
        }
    }
}

fn write(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

impl Disk for MemoryDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        if self.lock().now.dirs.contains(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.change(Change::Dir(path.to_owned()));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.lock();
        if !state.now.dirs.contains(dir) {
            return Err(ErrorKind::NotFound.into());
        }
        let here = state.now.files.keys().filter(|path| path.parent() == Some(dir));
        Ok(here.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.inode(path).is_ok())
    }

    fn read(&self, path: &Path, offset: u64, limit: u64) -> io::Result<Vec<u8>> {
        let id = self.inode(path)?;
        let content = &self.lock().inodes[id].now;
        let from = content.len().min(usize::try_from(offset).unwrap());
        let until = content.len().min(from.saturating_add(usize::try_from(limit).unwrap()));
        Ok(content[from..until].to_vec())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        if self.inode(path).is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let id = {
            let mut state = self.lock();
            state.inodes.push(Inode::default());
            state.inodes.len() - 1
        };
        self.change(Change::Put(path.to_owned(), id));
        Ok(Box::new(MemoryFile { disk: self.clone(), id }))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let id = self.inode(path)?;
        MemoryFile { disk: self.clone(), id }.sync()
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let id = self.inode(from)?;
        if self.inode(to).is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.change(Change::Put(to.to_owned(), id));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inode(from)?;
        self.change(Change::Move(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inode(path)?;
        self.change(Change::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let state = &mut *state;
        state.unsynced.retain(|(where_, change)| {
            if where_ == dir {
                state.durable.apply(change);
            }
            where_ != dir
        });
        Ok(())
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    id: usize,
}

impl DiskFile for MemoryFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let inode = &mut self.disk.lock().inodes[self.id];
        write(&mut inode.now, offset, bytes);
        inode.unsynced.push((offset, bytes.to_vec()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let inode = &mut self.disk.lock().inodes[self.id];
        inode.durable.clone_from(&inode.now);
        inode.unsynced.clear();
        Ok(())
    }
}

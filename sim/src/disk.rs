//! The disk that all hosts share in the mode `os`, and the leader file on it.
//!
//! The disk itself is `om_store::testing::MemoryDisk`, which knows what a power cut takes away. A host that is cut off from it
//! gets errors; it fails now and then, and is full for a while.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use om_leadership::{Detector, Leadership};
use om_store::file::disk::{Disk, DiskFile};
use om_store::testing::{Fate, MemoryDisk};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::hub::{ETCD, Hub, Place};
use crate::places;
use crate::plant::Plant;

/// What hosts share.
pub(crate) struct Shared {
    disk: Arc<Mutex<MemoryDisk>>,
    /// Whose name stands in the leader file.
    pub(crate) named: Place,
    /// Writes fail until then: it is full.
    pub(crate) full_until: Duration,
    /// Every call may fail until then.
    pub(crate) bad_until: Duration,
}

impl Default for Shared {
    fn default() -> Self {
        let disk = Arc::new(Mutex::new(MemoryDisk::new()));
        Self { disk, named: Place(0), full_until: Duration::ZERO, bad_until: Duration::ZERO }
    }
}

impl Shared {
    /// The power goes, and comes back.
    pub(crate) fn cut_power(&mut self, seed: u64) {
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let after = disk.after_power_cut(Fate::Dice(seed));
        *disk = after;
    }
}

/// A host's way to the disk.
#[derive(Clone)]
pub(crate) struct SimDisk {
    hub: Hub,
    place: Place,
}

struct SimFile {
    way: SimDisk,
    file: Box<dyn DiskFile>,
}

impl SimDisk {
    pub(crate) fn new(hub: Hub, place: Place) -> Self {
        Self { hub, place }
    }

    /// The disk, if it can be reached and does not fail.
    fn reach(&self) -> io::Result<MemoryDisk> {
        let now = self.hub.now();
        let state = &mut *self.hub.lock();
        if state.is_cut(self.place, ETCD) || state.is_cut(ETCD, self.place) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        if now < state.shared.bad_until && state.dice.one_in(10) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let disk = state.shared.disk.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(disk.clone())
    }

    fn write(&self) -> io::Result<MemoryDisk> {
        let disk = self.reach()?;
        if self.hub.now() < self.hub.lock().shared.full_until {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        Ok(disk)
    }

    fn skips_sync(&self) -> bool {
        self.hub.lock().plant == Some(Plant::NoSync)
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.write()?.create_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.reach()?.list(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.reach()?.exists(path)
    }

    fn read(&self, path: &Path, offset: u64, limit: u64) -> io::Result<Vec<u8>> {
        self.reach()?.read(path, offset, limit)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = self.write()?.create(path)?;
        Ok(Box::new(SimFile { way: self.clone(), file }))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let disk = self.reach()?;
        if self.skips_sync() { Ok(()) } else { disk.sync(path) }
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.write()?.link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.write()?.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.reach()?.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let disk = self.reach()?;
        if self.skips_sync() { Ok(()) } else { disk.sync_dir(dir) }
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.way.write()?;
        self.file.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.way.reach()?;
        if self.way.skips_sync() { Ok(()) } else { self.file.sync() }
    }
}

/// Looks into the leader file.
pub(crate) struct SimDetector {
    seen: watch::Receiver<Leadership>,
    _looking: JoinSet<()>,
}

impl SimDetector {
    /// To be called within a runtime.
    pub(crate) fn start(hub: Hub, place: Place) -> Self {
        let (say, seen) = watch::channel(Leadership::not_looked());
        let mut looking = JoinSet::new();
        looking.spawn(async move {
            loop {
                let now = look(&hub, place);
                say.send_if_modified(|seen| {
                    let news = *seen != now;
                    *seen = now;
                    news
                });
                let pause =
                    hub.dice(|dice| dice.within(Duration::from_millis(5), Duration::from_millis(120)));
                // sleeps: it is looked at now and then
                tokio::time::sleep(pause).await;
            }
        });
        Self { seen, _looking: looking }
    }
}

fn look(hub: &Hub, place: Place) -> Leadership {
    let state = hub.lock();
    if state.is_cut(place, ETCD) || state.is_cut(ETCD, place) {
        return Leadership::Unknown { why: "the leader file cannot be read".to_owned() };
    }
    let named = state.shared.named;
    if named == place {
        Leadership::Leading
    } else {
        Leadership::Following { leader: Some(places::replica(named)) }
    }
}

#[async_trait]
impl Detector for SimDetector {
    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.seen.clone()
    }

    fn describe(&self) -> String {
        "the leader file".to_owned()
    }

    async fn resign(&self) {}
}

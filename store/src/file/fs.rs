//! The directory: whole files in and out, each step through the seam.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::disk::{Disk, DiskFile};
use super::names::{self, Inventory, SegmentId};
use super::wire::{Format, SegmentHeader};
use crate::envelope::{self, Kind};
use crate::{Error, Result};

/// Sizes and pauses; the defaults are for production.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuning {
    /// Journal files grow by so many zeros at a time, at most.
    pub(crate) chunk: u64,
    /// Between two looks at something that seems damaged but may only be changing.
    pub(crate) patience: Duration,
    /// Between two looks of a watch for what others wrote.
    pub(crate) poll: Duration,
    /// Between two looks of a handle that does not write for what others wrote.
    pub(crate) catch_up: Duration,
    /// So many claims before the newest stay at a compaction, for people.
    pub(crate) claims: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            chunk: 256 * 1024,
            patience: Duration::from_millis(5),
            poll: Duration::from_millis(100),
            catch_up: Duration::from_secs(1),
            claims: 16,
        }
    }
}

pub(crate) struct Fs {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    pub(crate) tuning: Tuning,
    /// The disk never waits: everything is done where it is asked for.
    pub(crate) in_place: bool,
    /// The store that this handle has seen here. Another one, or none, is not taken for it.
    known: OnceLock<String>,
}

impl Fs {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf, tuning: Tuning) -> Self {
        Self { disk, dir, tuning, in_place: false, known: OnceLock::new() }
    }

    pub(crate) fn in_place(disk: Arc<dyn Disk>, dir: PathBuf) -> Self {
        Self { in_place: true, ..Self::new(disk, dir, Tuning::default()) }
    }

    /// Looks at the disk where that holds up nobody. `None`: the runtime is ending.
    pub(crate) async fn aside<T: Send + 'static>(
        self: &Arc<Self>,
        look: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Option<T> {
        if self.in_place {
            return Some(look(self));
        }
        let fs = self.clone();
        tokio::task::spawn_blocking(move || look(&fs)).await.ok()
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn place(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(crate) fn corrupt(&self, name: &str, why: impl std::fmt::Display) -> Error {
        Error::Corrupt { what: format!("{}: {why}", self.place(name)) }
    }

    fn failed(&self, verb: &str, name: &str, error: io::Error) -> Error {
        Error::io(format!("{verb} {}", self.place(name)), error)
    }

    /// What is here; nothing if the directory does not exist.
    pub(crate) fn list(&self) -> Result<Inventory> {
        match self.disk.list(&self.dir) {
            Ok(names) => Ok(Inventory::of(names)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Inventory::default()),
            Err(error) => Err(Error::io(format!("read the state directory {}", self.dir.display()), error)),
        }
    }

    pub(crate) fn exists(&self, name: &str) -> Result<bool> {
        self.disk.exists(&self.path(name)).map_err(|error| self.failed("look for", name, error))
    }

    /// The bytes of a file from `offset` on; `None` if there is no such file.
    pub(crate) fn read(&self, name: &str, offset: u64, limit: u64) -> Result<Option<Vec<u8>>> {
        match self.disk.read(&self.path(name), offset, limit) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("read", name, error)),
        }
    }

    pub(crate) fn sync(&self, name: &str) -> Result<()> {
        match self.disk.sync(&self.path(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(self.corrupt(name, "is missing")),
            other => other.map_err(|error| self.failed("sync", name, error)),
        }
    }

    pub(crate) fn sync_dir(&self) -> Result<()> {
        let what = || format!("sync the state directory {}", self.dir.display());
        self.disk.sync_dir(&self.dir).map_err(|error| Error::io(what(), error))
    }

    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        match self.disk.remove(&self.path(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.failed("remove", name, error)),
            _ => Ok(()),
        }
    }

    pub(crate) fn create(&self, name: &str) -> Result<Box<dyn DiskFile>> {
        self.disk.create(&self.path(name)).map_err(|error| self.failed("create", name, error))
    }

    /// A new file under a temporary name, filled and durable but for the name.
    pub(crate) fn temporary(&self, bytes: &[u8]) -> Result<Temporary<'_>> {
        let temporary = Temporary { fs: self, name: names::temporary() };
        let file = self.create(&temporary.name)?;
        let failed = |verb, error| self.failed(verb, &temporary.name, error);
        file.write_at(0, bytes).map_err(|error| failed("write", error))?;
        file.sync().map_err(|error| failed("sync", error))?;
        Ok(temporary)
    }

    /// Makes sure that a store is begun here: the directory, its identity, the file every chain begins with; all of it
    /// durable. Two replicas that do this at once agree.
    pub(crate) fn begin(&self) -> Result<()> {
        self.make_dir(&self.dir)?;
        if !self.list()?.format {
            let format = Format { cluster: uuid::Uuid::new_v4().to_string() };
            self.temporary(&envelope::encode(Kind::Format, &format))?.link(names::FORMAT)?;
        }
        // Durable before anything that is worth nothing without it, whoever made it.
        self.sync_dir()?;
        let genesis = SegmentId::GENESIS;
        if self.list()?.segments.is_empty() {
            let header = SegmentHeader { cluster: self.cluster()?, ..SegmentHeader::default() };
            self.temporary(&super::segment::beginning(&header, self.tuning.chunk))?
                .link(&genesis.to_string())?;
        }
        self.sync_dir()
    }

    /// Makes a directory and those above it, durably. Each is durable before the next is made, so of those that are
    /// there only the lowest may not be: somebody may have made it a moment ago.
    fn make_dir(&self, dir: &Path) -> Result<()> {
        let failed = |verb: &str, dir: &Path, error| Error::io(format!("{verb} {}", dir.display()), error);
        let parent = dir.parent().map(|parent| match parent.as_os_str().is_empty() {
            true => Path::new("."),
            false => parent,
        });
        let exists = match self.disk.list(dir) {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(failed("read the directory", dir, error)),
        };
        let Some(parent) = parent.filter(|_| dir != Path::new(".")) else { return Ok(()) };
        if !exists {
            self.make_dir(parent)?;
            match self.disk.create_dir(dir) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(failed("make the directory", dir, error));
                }
                _ => {}
            }
        }
        match self.disk.sync_dir(parent) {
            // Who may not read the directory above did not make this one.
            Err(error) if exists && error.kind() == ErrorKind::PermissionDenied => Ok(()),
            other => other.map_err(|error| failed("sync the directory", parent, error)),
        }
    }

    /// The store's identity.
    pub(crate) fn cluster(&self) -> Result<String> {
        let Some(bytes) = self.read(names::FORMAT, 0, u64::MAX)? else {
            return Err(self.corrupt(names::FORMAT, "is missing, but there is a state beside it"));
        };
        let place = self.place(names::FORMAT);
        let format: Format = envelope::decode_whole(Kind::Format, &place, &bytes)?;
        if format.cluster.is_empty() {
            return Err(self.corrupt(names::FORMAT, "does not name the store"));
        }
        let known = self.known.get_or_init(|| format.cluster.clone());
        if *known == format.cluster {
            Ok(format.cluster)
        } else {
            Err(self.gone(&format!("store {}", format.cluster)))
        }
    }

    /// What a directory without a store is: fresh, unless there was one.
    pub(crate) fn empty(&self) -> Result<()> {
        if self.known.get().is_some() { Err(self.gone("nothing")) } else { Ok(()) }
    }

    fn gone(&self, found: &str) -> Error {
        let known = self.known.get().map_or("", String::as_str);
        let what = format!("{}: {found} is where store {known} was", self.dir.display());
        Error::Corrupt { what }
    }

    pub(crate) fn same_cluster(&self, name: &str, found: &str, cluster: &str) -> Result<()> {
        if found == cluster {
            return Ok(());
        }
        Err(self.corrupt(name, format!("belongs to store {found}, not to {cluster}")))
    }
}

/// A file that has no name that counts yet. Dropped, it is removed.
pub(crate) struct Temporary<'a> {
    pub(crate) fs: &'a Fs,
    pub(crate) name: String,
}

impl Temporary<'_> {
    /// Gives it a name that must be free. Says whether it was.
    pub(crate) fn link(self, name: &str) -> Result<bool> {
        match self.fs.disk.link(&self.fs.path(&self.name), &self.fs.path(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(self.fs.failed("link", name, error)),
        }
    }

    /// Gives it a name, whatever had it before, and makes the name durable. On an error it may have the name.
    pub(crate) fn rename(self, name: &str) -> Result<()> {
        let done = self.fs.disk.rename(&self.fs.path(&self.name), &self.fs.path(name));
        done.map_err(|error| self.fs.failed("name", name, error))?;
        self.fs.sync_dir()
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        // What stays behind is found at a compaction.
        drop(self.fs.remove(&self.name));
    }
}

//! A disk whose n-th call goes wrong.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::file::disk::{Disk, DiskFile};

/// One call of a disk, about to be made.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The first is 1.
    pub number: u64,
    /// The method.
    pub what: &'static str,
    /// The file or directory; where two are named, the new name.
    pub path: &'a Path,
}

/// What becomes of a call.
pub enum Twist {
    /// It is made.
    Go,
    /// It is not made, and fails.
    Refuse(io::Error),
    /// It is made, and reported as failed.
    Lie(io::Error),
    /// Of a write, the first half is written; then this runs, and the call fails with what it returns. Any other call
    /// is not made.
    Half(Box<dyn FnOnce() -> io::Error>),
}

type Hook = dyn Fn(Call<'_>) -> Twist + Send + Sync;

/// A disk that asks before each call what to do. The answer may also never come, or end the process.
#[derive(Clone)]
pub struct TwistedDisk {
    inner: Arc<dyn Disk>,
    calls: Arc<AtomicU64>,
    hook: Arc<Hook>,
}

impl TwistedDisk {
    /// `inner`, with `hook` asked before every call.
    pub fn new(inner: Arc<dyn Disk>, hook: impl Fn(Call<'_>) -> Twist + Send + Sync + 'static) -> Self {
        Self { inner, calls: Arc::default(), hook: Arc::new(hook) }
    }

    /// Calls until now.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    fn call<T>(
        &self,
        what: &'static str,
        path: &Path,
        go: impl FnOnce() -> io::Result<T>,
        half: impl FnOnce(),
    ) -> io::Result<T> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        match (self.hook)(Call { number, what, path }) {
            Twist::Go => go(),
            Twist::Refuse(error) => Err(error),
            Twist::Lie(error) => go().and(Err(error)),
            Twist::Half(then) => {
                half();
                Err(then())
            }
        }
    }
}

impl Disk for TwistedDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call("create_dir", path, || self.inner.create_dir(path), || {})
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.call("list", dir, || self.inner.list(dir), || {})
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.call("exists", path, || self.inner.exists(path), || {})
    }

    fn read(&self, path: &Path, offset: u64, limit: u64) -> io::Result<Vec<u8>> {
        self.call("read", path, || self.inner.read(path, offset, limit), || {})
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let inner = self.call("create", path, || self.inner.create(path), || {})?;
        Ok(Box::new(TwistedFile { disk: self.clone(), path: path.into(), inner }))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.call("sync", path, || self.inner.sync(path), || {})
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("link", to, || self.inner.link(from, to), || {})
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("rename", to, || self.inner.rename(from, to), || {})
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call("remove", path, || self.inner.remove(path), || {})
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.call("sync_dir", dir, || self.inner.sync_dir(dir), || {})
    }
}

struct TwistedFile {
    disk: TwistedDisk,
    path: Box<Path>,
    inner: Box<dyn DiskFile>,
}

impl DiskFile for TwistedFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        // A half that cannot be written is no half: nothing is.
        let half = || drop(self.inner.write_at(offset, &bytes[..bytes.len() / 2]));
        self.disk.call("write", &self.path, || self.inner.write_at(offset, bytes), half)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.call("sync", &self.path, || self.inner.sync(), || {})
    }
}

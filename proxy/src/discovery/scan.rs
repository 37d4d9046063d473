//! Looking at the plugins directory, and being told when to.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use super::Directory;

/// Which file stands at a name: a socket bound anew is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    device: u64,
    inode: u64,
    /// Inode numbers are used again at once by some file systems. Not the time of change: setting the mode changes it.
    born: Option<SystemTime>,
}

impl Found {
    /// The file of this number, in a directory that numbers each anew.
    #[must_use]
    pub fn numbered(number: u64) -> Self {
        Self { device: 0, inode: number, born: None }
    }

    fn of(found: &Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino(), born: found.created().ok() }
    }
}

pub(super) struct Scanner {
    dir: PathBuf,
    changed: Arc<Notify>,
    armed: Option<Armed>,
    complained: bool,
}

/// What inotify watches: the directory, or its nearest ancestor while it does not exist.
struct Armed {
    path: PathBuf,
    id: Found,
    _watcher: RecommendedWatcher,
}

impl Scanner {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, changed: Arc::default(), armed: None, complained: false }
    }

    fn arm(&mut self) {
        let Some((path, id)) = nearest(&self.dir) else { return };
        if self.armed.as_ref().is_some_and(|armed| armed.path == path && armed.id == id) {
            return;
        }
        self.armed = None;
        match watch(&path, self.changed.clone()) {
            Ok(watcher) => {
                self.complained = false;
                self.armed = Some(Armed { path, id, _watcher: watcher });
                // It may have come into being between the look for it and the watch.
                self.changed.notify_one();
            }
            Err(cause) if !self.complained => {
                self.complained = true;
                tracing::warn!("cannot watch {}, looking every {:?}: {cause}", path.display(), super::POLL);
            }
            Err(_) => {}
        }
    }
}

impl Directory for Scanner {
    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.changed.notified())
    }

    fn look(&mut self, only: Option<&[String]>) -> io::Result<BTreeMap<String, Found>> {
        // First: a change during the look then causes another one.
        self.arm();
        let mut sockets = BTreeMap::new();
        let mut add = |name: &str, path: &Path| {
            if let Ok(found) = std::fs::symlink_metadata(path)
                && found.file_type().is_socket()
                && om_api::names::check_socket(name).is_ok()
            {
                sockets.insert(name.to_owned(), Found::of(&found));
            }
        };
        if let Some(only) = only {
            // Without listing: the right to pass through the directory is enough.
            only.iter().for_each(|name| add(name, &self.dir.join(name)));
            return Ok(sockets);
        }
        let entries = match std::fs::read_dir(&self.dir) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(sockets),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if let Some(name) = entry.file_name().to_str() {
                add(name, &entry.path());
            }
        }
        Ok(sockets)
    }
}

fn watch(path: &Path, changed: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Our own look opens the directory; that must not cause the next one.
        if !matches!(event, Ok(notify::Event { kind: EventKind::Access(_), .. })) {
            changed.notify_one();
        }
    })?;
    watcher.watch(path, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

fn nearest(dir: &Path) -> Option<(PathBuf, Found)> {
    dir.ancestors().find_map(|path| {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let found = std::fs::metadata(path).ok().filter(Metadata::is_dir)?;
        Some((path.to_owned(), Found::of(&found)))
    })
}

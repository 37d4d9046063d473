//! inotify on everything that the leader file's path leads through.
//!
//! A file is replaced, its directory is removed and made again, a link on the way to it is swapped: each changes what
//! the path means, and each happens in another directory. So the path is walked as the kernel walks it, and every
//! directory on the way is watched for the one name that is looked up in it; the file itself is watched for its content.
//! A directory is watched before the name is looked up in it: what comes in between is told by an event.

use std::collections::{HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

/// As many links as the kernel follows.
const MOST_LINKS: usize = 40;

/// The inotify descriptor, for whoever waits until it is readable.
#[derive(Debug)]
pub(super) struct Events(OwnedFd);

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

pub(super) struct Trail {
    events: Arc<Events>,
    marks: HashMap<i32, Mark>,
    complained: bool,
}

enum Mark {
    /// A directory, and the names that are looked up in it.
    Directory(Vec<OsString>),
    /// The file itself.
    File,
}

impl Trail {
    pub(super) fn new() -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Self { events: Arc::new(Events(fd)), marks: HashMap::new(), complained: false })
    }

    pub(super) fn events(&self) -> Arc<Events> {
        Arc::clone(&self.events)
    }

    /// Takes all events that have come; true if one of them may have changed what the path leads to.
    pub(super) fn drain(&self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.events.0, &mut buffer);
        let mut matters = false;
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    matters |= self.concerns(event.wd(), event.events(), name);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return matters,
                // Cannot be: to look once too often is safe.
                Err(_) => return true,
            }
        }
    }

    fn concerns(&self, wd: i32, events: ReadFlags, name: Option<&OsStr>) -> bool {
        // What the kernel says when it drops a watch, after the event that tells why.
        if events == ReadFlags::IGNORED {
            return false;
        }
        match (self.marks.get(&wd), name) {
            (Some(Mark::Directory(names)), Some(name)) => names.iter().any(|wanted| wanted == name),
            // A directory itself; the file; an overflow of the queue; the rest of a watch that was given up.
            _ => true,
        }
    }

    /// Watches everything that `path` (absolute) leads through now, and nothing else.
    pub(super) fn follow(&mut self, path: &Path) {
        let mut marks = HashMap::new();
        let mut here = PathBuf::from("/");
        let mut ahead: VecDeque<OsString> = steps(path).collect();
        let mut links = 0;
        while let Some(step) = ahead.pop_front() {
            if step == ".." {
                here.pop();
                continue;
            }
            if let Some(wd) = self.watch(&here, directory_flags()) {
                match marks.entry(wd).or_insert_with(|| Mark::Directory(Vec::new())) {
                    Mark::Directory(names) => names.push(step.clone()),
                    Mark::File => {}
                }
            }
            let next = here.join(&step);
            let Ok(metadata) = std::fs::symlink_metadata(&next) else { break };
            if metadata.is_symlink() {
                links += 1;
                let Ok(target) = std::fs::read_link(&next) else { break };
                if links > MOST_LINKS {
                    break;
                }
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                for step in steps(&target).rev() {
                    ahead.push_front(step);
                }
            } else if metadata.is_dir() {
                here = next;
            } else {
                if metadata.is_file()
                    && ahead.is_empty()
                    && let Some(wd) = self.watch(&next, file_flags())
                {
                    marks.insert(wd, Mark::File);
                }
                break;
            }
        }
        for wd in self.marks.keys().filter(|wd| !marks.contains_key(wd)) {
            // An error means that the kernel has dropped it already.
            let _ = inotify::remove_watch(&self.events.0, *wd);
        }
        self.marks = marks;
    }

    fn watch(&mut self, path: &Path, flags: WatchFlags) -> Option<i32> {
        match inotify::add_watch(&self.events.0, path, flags) {
            Ok(wd) => Some(wd),
            // Gone just now: its parent is watched.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => None,
            Err(error) => {
                if !self.complained {
                    let (path, error) = (path.display(), io::Error::from(error));
                    let hint = "some changes of the leader file are seen by polling only; \
                                see fs.inotify.max_user_watches if there is no space left";
                    tracing::warn!(%path, %error, "cannot watch: {hint}");
                    self.complained = true;
                }
                None
            }
        }
    }
}

fn directory_flags() -> WatchFlags {
    WatchFlags::ONLYDIR
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::ATTRIB
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
}

fn file_flags() -> WatchFlags {
    WatchFlags::DONT_FOLLOW
        | WatchFlags::MODIFY
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::ATTRIB
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
}

fn steps(path: &Path) -> impl DoubleEndedIterator<Item = OsString> + '_ {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

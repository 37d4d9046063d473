//! Making a socket.
//!
//! What must hold: of several starters exactly one gets the path; a path whose owner lives is refused; a path whose
//! owner is gone, however it died, is taken at once; nobody can connect before mode and group are set.
//!
//! The way there: whoever binds first takes a lock on the *directory* (flock, which the kernel drops with its holder)
//! for the moment of looking, removing and binding. Under it, connecting tells a live socket (accepted, or its queue
//! is full) from a stale one (refused: the kernel closed the listener when its process died). A socket file takes no
//! connections between bind and listen; in between it gets its mode and group. So nothing but the socket itself is
//! left in the directory, and nothing outlives a `kill -9`.

use std::fs::{DirBuilder, File, Metadata, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::UnixListener;
use tokio::time::Sleep;
use tokio_stream::Stream;

use super::{Address, LocalStream};

/// The longest path of a unix socket, in bytes (`sun_path` without its final NUL, unix(7)).
pub const MAX_PATH_BYTES: usize = 107;

const BACKLOG: i32 = 4096;
/// Others hold the directory's lock for well under a millisecond.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_RETRY: Duration = Duration::from_millis(2);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who may connect to a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Permission bits of the socket's file.
    pub mode: u32,
    /// The group it belongs to: a name in `/etc/group`, or a number. `None`: the process's.
    pub group: Option<String>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self { mode: 0o600, group: None }
    }
}

/// Why a socket could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The kernel takes no path of this length.
    #[error(
        "the socket path {} has {length} bytes, more than the {MAX_PATH_BYTES} that a unix socket can have; \
         give a shorter --plugins-dir or a shorter --name", path.display()
    )]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// Somebody listens there.
    #[error(
        "the socket {} is already served by a running program; stop it, or give another --name",
        path.display()
    )]
    Live {
        /// The path.
        path: PathBuf,
    },
    /// Something else is there; it is left alone.
    #[error("{} exists and is not a socket; remove it, or give another --name or --plugins-dir", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// Another program held the directory's lock for two seconds: it is frozen while starting.
    #[error("another program has been starting in {} for too long; is one stopped or hanging there?", directory.display())]
    Busy {
        /// The directory.
        directory: PathBuf,
    },
    /// No such group.
    #[error("there is no group {group:?} in /etc/group for the socket; give another --socket-group")]
    NoGroup {
        /// As given.
        group: String,
    },
    /// The system refused a step.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

fn failed<E: Into<io::Error>>(doing: &'static str, path: &Path) -> impl FnOnce(E) -> BindError {
    let path = path.to_owned();
    move |source| BindError::Io { doing, path, source: source.into() }
}

/// Binds and listens. The directory is made (0700) if it is missing and left as it is if not.
///
/// Blocks for microseconds; up to two seconds when another starter hangs. Must be called within a tokio runtime.
///
/// # Errors
/// See [`BindError`]; then nothing was changed but, perhaps, a directory made.
pub fn bind(path: &Path, options: &SocketOptions) -> Result<BoundSocket, BindError> {
    let length = path.as_os_str().as_bytes().len();
    if length > MAX_PATH_BYTES {
        return Err(BindError::TooLong { path: path.to_owned(), length });
    }
    let group = options.group.as_deref().map(group_id).transpose()?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(failed("make the directory", directory))?;
    let _starting = lock(directory)?;
    clear(path)?;

    let socket = stream_socket().map_err(failed("make a socket for", path))?;
    let address = SocketAddrUnix::new(path).map_err(failed("use the path", path))?;
    rustix::net::bind(&socket, &address).map_err(failed("bind the socket", path))?;
    let id = std::fs::symlink_metadata(path).map(|found| Id::of(&found));
    let id = id.map_err(failed("look at the socket", path))?;
    let listener = listen(socket, path, options.mode, group).inspect_err(|_| {
        // Under the directory's lock nobody else can have put anything there.
        let _ = std::fs::remove_file(path);
    })?;
    Ok(BoundSocket { listener, path: path.to_owned(), id, pause: None })
}

fn listen(socket: OwnedFd, path: &Path, mode: u32, group: Option<u32>) -> Result<UnixListener, BindError> {
    if group.is_some() {
        std::os::unix::fs::chown(path, None, group).map_err(failed("set the group of", path))?;
    }
    std::fs::set_permissions(path, Permissions::from_mode(mode & 0o777))
        .map_err(failed("set the mode of", path))?;
    rustix::net::listen(&socket, BACKLOG).map_err(failed("listen on", path))?;
    UnixListener::from_std(socket.into()).map_err(failed("listen on", path))
}

fn stream_socket() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

fn lock(directory: &Path) -> Result<File, BindError> {
    let file = File::open(directory).map_err(failed("open the directory", directory))?;
    let give_up = crate::clock::since_boot() + LOCK_PATIENCE;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK | Errno::INTR) if crate::clock::since_boot() < give_up => {
                std::thread::sleep(LOCK_RETRY);
            }
            Err(Errno::WOULDBLOCK) => return Err(BindError::Busy { directory: directory.to_owned() }),
            Err(errno) => return Err(failed("lock the directory", directory)(errno)),
        }
    }
}

/// Removes a socket that nobody serves.
fn clear(path: &Path) -> Result<(), BindError> {
    let found = match std::fs::symlink_metadata(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(failed("look at", path))?,
    };
    if !found.file_type().is_socket() {
        return Err(BindError::NotASocket { path: path.to_owned() });
    }
    let probe = stream_socket().map_err(failed("make a socket for", path))?;
    let address = SocketAddrUnix::new(path).map_err(failed("use the path", path))?;
    match rustix::net::connect(&probe, &address) {
        // EAGAIN: its queue is full. EPROTOTYPE: a datagram socket, which a process holds open.
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => Err(BindError::Live { path: path.to_owned() }),
        Err(Errno::CONNREFUSED) => {
            std::fs::remove_file(path).map_err(failed("remove the stale socket", path))
        }
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(failed("tell whether anybody serves", path)(errno)),
    }
}

fn group_id(group: &str) -> Result<u32, BindError> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let path = Path::new("/etc/group");
    let text = std::fs::read_to_string(path).map_err(failed("read", path))?;
    text.lines()
        .map(|line| line.split(':'))
        .find_map(|mut fields| (fields.next() == Some(group)).then(|| fields.nth(1)?.parse().ok()).flatten())
        .ok_or_else(|| BindError::NoGroup { group: group.to_owned() })
}

/// The file that a socket was bound to. As long as the listener is open the kernel keeps its inode, so nothing else
/// can come to have the same numbers.
#[derive(Debug, PartialEq, Eq)]
struct Id {
    device: u64,
    inode: u64,
}

impl Id {
    fn of(found: &Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }
}

/// A listening socket and the file that it is found by. As a stream it yields connections, for
/// `serve_with_incoming`; it never ends, and waits out a shortage of descriptors instead of failing.
///
/// Dropping it removes the file, if it still is its own, and then stops listening.
#[derive(Debug)]
pub struct BoundSocket {
    listener: UnixListener,
    path: PathBuf,
    id: Id,
    pause: Option<Pin<Box<Sleep>>>,
}

impl BoundSocket {
    /// Where it is found.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same as an endpoint.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::Unix(self.path.clone())
    }

    /// The listener, for who accepts by himself.
    #[must_use]
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Whether the path still leads to this socket: somebody may have removed it, or emptied the directory.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|found| Id::of(&found) == self.id)
    }
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        // Still listening here: no other starter takes the path between the look and the removal.
        if self.is_in_place() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Stream for BoundSocket {
    type Item = io::Result<LocalStream>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            let accepted = ready!(self.listener.poll_accept(context));
            match accepted.and_then(|(stream, _)| LocalStream::new(stream)) {
                Ok(stream) => return Poll::Ready(Some(Ok(stream))),
                // Too many open files, no memory, a peer that is gone already: the next one may do better.
                Err(_) => self.pause = Some(Box::pin(tokio::time::sleep(ACCEPT_PAUSE))),
            }
        }
    }
}

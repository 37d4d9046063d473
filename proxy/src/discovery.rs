//! Who is there: the sockets in the plugins directory, each with the answer to its handshake.
//!
//! A [`Registry`] looks at the directory when inotify says so and every [`POLL`] besides (some file systems tell
//! nothing). Each socket has a task of its own that connects, shakes hands, notices a loss and tries again; so a
//! plugin that hangs or answers garbage holds up no other. What it finds is one value, [`Peers`], for everybody.
//!
//! What must hold: a peer is `Ready` only while the connection stands over which it answered a good handshake. A
//! manager is not taken for a plugin unless it is named. The program's own socket is never taken.

mod keeper;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use om_api::socket::{Dialer, system};
use om_api::v1;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Upstream;
use keeper::Keeper;
use scan::Scanner;

pub use scan::Found;

/// How often the directory is looked at without being told.
pub const POLL: Duration = Duration::from_secs(2);

/// How long the answer to a handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a registry is started with.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// The plugins directory. It need not exist yet.
    pub dir: PathBuf,
    /// Only these names (`--proxy-for`), and these even if they are managers. `None`: every plugin.
    pub only: Option<Vec<String>>,
    /// Name of this program's own socket.
    pub own_name: String,
    /// How this program calls itself in handshakes.
    pub caller: String,
}

/// Where sockets are looked for.
pub trait Directory: Send + Sync {
    /// The sockets that are there, by name; of `only`, where given. A directory that does not exist has none.
    ///
    /// # Errors
    /// It cannot be read.
    fn look(&mut self, only: Option<&[String]>) -> io::Result<BTreeMap<String, Found>>;

    /// Returns when it may have changed since the last look; it need not tell of every change. Cancel safe.
    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// A directory of this machine.
#[must_use]
pub fn directory(path: &Path) -> Box<dyn Directory> {
    Box::new(Scanner::new(path.to_owned()))
}

/// Everybody found, by name.
pub type Peers = Arc<BTreeMap<String, Peer>>;

/// One socket in the directory, or one that is waited for.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its name, which is the socket's file name.
    pub name: String,
    /// The socket.
    pub socket: PathBuf,
    /// The way to it.
    pub upstream: Upstream,
    /// How it is.
    pub state: PeerState,
}

/// How a peer is.
#[derive(Clone, Debug, PartialEq)]
pub enum PeerState {
    /// Found; its first handshake is under way.
    Connecting,
    /// It answered. A restarted plugin has another `instance`.
    Ready(Arc<v1::HandshakeResponse>),
    /// It answered, and is not to be used.
    Refused(Refusal),
    /// It does not answer: why. Tried again.
    Unreachable(String),
}

impl PeerState {
    /// The handshake of a peer that is ready.
    #[must_use]
    pub fn ready(&self) -> Option<&Arc<v1::HandshakeResponse>> {
        match self {
            Self::Ready(handshake) => Some(handshake),
            _ => None,
        }
    }
}

/// Why a peer that answers is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It speaks another protocol, or none.
    #[error("speaks {found:?}, and this program {:?}; run versions that fit together", om_api::PROTOCOL)]
    Protocol {
        /// What it said.
        found: String,
    },
    /// It calls itself something else than its socket.
    #[error("calls itself {found:?}, unlike its socket; a socket is named after its program")]
    Name {
        /// What it said.
        found: String,
    },
    /// It stands before plugins itself.
    #[error("is a manager; name it with --proxy-for to stand before it")]
    Manager,
    /// The handshake lacks something.
    #[error("gives no {0} in its handshake")]
    Incomplete(&'static str),
}

/// The running search. Dropping it ends the search and forgets the peers; calls under way go on.
#[derive(Debug)]
pub struct Registry {
    peers: watch::Receiver<Peers>,
    _search: JoinSet<()>,
}

impl Registry {
    /// Starts to look. Must be called within a tokio runtime.
    #[must_use]
    pub fn start(options: RegistryOptions) -> Self {
        Self::look_in(directory(&options.dir), system(), options)
    }

    /// The same in a directory of the caller's, whose sockets are connected to by a way of the caller's.
    #[must_use]
    pub fn look_in(directory: Box<dyn Directory>, dialer: Dialer, options: RegistryOptions) -> Self {
        let (publish, peers) = watch::channel(Peers::default());
        let mut search = JoinSet::new();
        search.spawn(Search::new(directory, dialer, options, publish).run());
        Self { peers, _search: search }
    }

    /// Everybody found, as it changes.
    #[must_use]
    pub fn peers(&self) -> watch::Receiver<Peers> {
        self.peers.clone()
    }
}

struct Search {
    options: Arc<RegistryOptions>,
    publish: Arc<watch::Sender<Peers>>,
    directory: Box<dyn Directory>,
    dialer: Dialer,
    files: HashMap<String, watch::Sender<Option<Found>>>,
    keepers: JoinSet<String>,
    complaint: String,
}

impl Search {
    fn new(
        directory: Box<dyn Directory>,
        dialer: Dialer,
        options: RegistryOptions,
        publish: watch::Sender<Peers>,
    ) -> Self {
        Self {
            directory,
            dialer,
            options: Arc::new(options),
            publish: Arc::new(publish),
            files: HashMap::new(),
            keepers: JoinSet::new(),
            complaint: String::new(),
        }
    }

    async fn run(mut self) {
        loop {
            self.look();
            tokio::select! {
                () = self.directory.changed() => {}
                () = tokio::time::sleep(POLL) => {}
                // Gone by itself, with its socket. If that is back already, the next look finds it.
                Some(ended) = self.keepers.join_next() => {
                    if let Ok(name) = ended {
                        self.files.remove(&name);
                    }
                }
            }
        }
    }

    fn look(&mut self) {
        let found = match self.directory.look(self.options.only.as_deref()) {
            Ok(found) => found,
            Err(cause) => {
                // What cannot be read is not empty: those who are known stay known.
                let complaint =
                    format!("cannot read the plugins directory {}: {cause}", self.options.dir.display());
                if self.complaint != complaint {
                    tracing::warn!("{complaint}");
                    self.complaint = complaint;
                }
                return;
            }
        };
        self.complaint.clear();
        for (name, file) in &self.files {
            let now = found.get(name).copied();
            file.send_if_modified(|was| std::mem::replace(was, now) != now);
        }
        for (name, file) in &found {
            if *name != self.options.own_name && !self.files.contains_key(name) {
                self.keep(name, Some(*file));
            }
        }
        for name in self.options.clone().only.iter().flatten() {
            if *name != self.options.own_name && !self.files.contains_key(name) {
                self.keep(name, None);
            }
        }
    }

    fn keep(&mut self, name: &str, file: Option<Found>) {
        let (tell, file) = watch::channel(file);
        self.files.insert(name.to_owned(), tell);
        let upstream = Upstream::by(self.dialer.clone(), self.options.dir.join(name));
        let keeper = Keeper::new(name, upstream, self.options.clone(), self.publish.clone(), file);
        self.keepers.spawn(keeper.run());
    }
}

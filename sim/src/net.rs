//! Sockets and connections between processes.
//!
//! What is written on one end is read at the other after a while, in order; where the way is cut it waits, as by TCP. A
//! process that is killed leaves its socket files, and its connections end at once; one whose host is lost says nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use om_api::socket::{Address, Connection, Dialer};
use om_proxy::discovery::{Directory, Found};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, mpsc, oneshot};
use tonic::transport::server::Connected;

use crate::hub::{Hub, Pid, Place};

/// Connections that wait to be taken.
const BACKLOG: usize = 128;

#[derive(Default)]
pub(crate) struct Sockets {
    /// By address, as text.
    listeners: BTreeMap<String, Listener>,
    /// Socket files, also those that nobody serves any more: the place and the number of each.
    files: BTreeMap<PathBuf, (Place, u64)>,
    number: u64,
    /// Told when socket files change.
    changed: BTreeMap<Place, Arc<Notify>>,
    /// Hosts that are gone: they say nothing.
    lost: BTreeSet<Place>,
}

struct Listener {
    place: Place,
    owner: Pid,
    taker: mpsc::Sender<End>,
}

impl Sockets {
    fn notify(&mut self, place: Place) -> Arc<Notify> {
        self.changed.entry(place).or_default().clone()
    }
}

impl Hub {
    /// Serves at an address.
    pub(crate) fn bind(&self, owner: Pid, place: Place, address: &Address) -> mpsc::Receiver<End> {
        let (taker, connections) = mpsc::channel(BACKLOG);
        let mut state = self.lock();
        let sockets = &mut state.sockets;
        sockets.listeners.insert(address.to_string(), Listener { place, owner, taker });
        if let Address::Unix(path) = address {
            sockets.number += 1;
            let number = sockets.number;
            sockets.files.insert(path.clone(), (place, number));
        }
        drop(state);
        self.directory_changed(place);
        connections
    }

    /// Whatever a process served it serves no more; if it ended in order, its socket files go, too.
    pub(crate) fn unbind(&self, owner: Pid, in_order: bool) {
        let mut state = self.lock();
        let sockets = &mut state.sockets;
        let mut gone = Vec::new();
        let mut places = BTreeSet::new();
        sockets.listeners.retain(|address, listener| {
            let own = listener.owner == owner;
            if own {
                places.insert(listener.place);
                gone.push((address.clone(), listener.taker.clone()));
            }
            !own
        });
        if in_order {
            for (address, _) in &gone {
                if let Some(path) = address.strip_prefix("unix://") {
                    sockets.files.remove(Path::new(path));
                }
            }
        }
        drop(state);
        // Not under the lock: connections that waited are dropped, too.
        drop(gone);
        places.into_iter().for_each(|place| self.directory_changed(place));
    }

    fn directory_changed(&self, place: Place) {
        self.after(Duration::from_millis(1), move |hub| {
            let notify = hub.lock().sockets.notify(place);
            notify.notify_one();
        });
    }

    /// A host is lost, or back.
    pub(crate) fn lose(&self, place: Place, lost: bool) {
        let sockets = &mut self.lock().sockets;
        if lost {
            sockets.lost.insert(place);
            sockets.files.retain(|_, (at, _)| *at != place);
        } else {
            sockets.lost.remove(&place);
        }
    }

    fn is_lost(&self, place: Place) -> bool {
        self.lock().sockets.lost.contains(&place)
    }

    /// The way of a process at `place` to others.
    pub(crate) fn dialer(&self, place: Place) -> Dialer {
        let hub = self.clone();
        Arc::new(move |address, _| {
            let (hub, address) = (hub.clone(), address.clone());
            Box::pin(async move {
                let (tell, told) = oneshot::channel();
                let to = match &address {
                    Address::Unix(_) => place,
                    Address::Tcp { host, .. } => place_of(host),
                };
                hub.send((place, to), Duration::ZERO, move |hub| {
                    if hub.is_lost(to) {
                        // Never answered: kept until whoever dials gives up.
                        hub.after(Duration::from_secs(60), move |_| drop(tell));
                        return;
                    }
                    let answer = hub.accept(place, to, &address);
                    hub.send((to, place), Duration::ZERO, move |_| {
                        // Who dialled may have given up; then the connection ends.
                        let _ = tell.send(answer);
                    });
                });
                let end: End = told.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                Ok(Box::new(end) as Box<dyn Connection>)
            })
        })
    }

    fn accept(&self, from: Place, to: Place, address: &Address) -> io::Result<End> {
        let text = address.to_string();
        let state = self.lock();
        let listener = state.sockets.listeners.get(&text).filter(|listener| listener.place == to);
        let Some(taker) = listener.map(|listener| listener.taker.clone()) else {
            let there = match address {
                Address::Unix(path) => state.sockets.files.get(path).is_some_and(|(place, _)| *place == to),
                Address::Tcp { .. } => true,
            };
            let kind = if there { io::ErrorKind::ConnectionRefused } else { io::ErrorKind::NotFound };
            return Err(kind.into());
        };
        drop(state);
        let (there, back) = (Pipe::new(from, to), Pipe::new(to, from));
        let near = End { hub: self.clone(), read: back.clone(), write: there.clone() };
        let far = End { hub: self.clone(), read: there, write: back };
        taker.try_send(far).map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        Ok(near)
    }

    /// The sockets at a place.
    pub(crate) fn directory(&self, place: Place, dir: PathBuf) -> Box<dyn Directory> {
        let changed = self.lock().sockets.notify(place);
        Box::new(Sight { hub: self.clone(), place, dir, changed })
    }
}

/// `h2` is place 2.
fn place_of(host: &str) -> Place {
    Place(host.trim_start_matches('h').parse().unwrap_or(u8::MAX))
}

struct Sight {
    hub: Hub,
    place: Place,
    dir: PathBuf,
    changed: Arc<Notify>,
}

impl Directory for Sight {
    fn look(&mut self, only: Option<&[String]>) -> io::Result<BTreeMap<String, Found>> {
        let state = self.hub.lock();
        let own =
            state.sockets.files.iter().filter(|(path, (place, _))| {
                *place == self.place && path.parent() == Some(self.dir.as_path())
            });
        let named = own.filter_map(|(path, (_, number))| {
            Some((path.file_name()?.to_str()?.to_owned(), Found::numbered(*number)))
        });
        Ok(named.filter(|(name, _)| only.is_none_or(|only| only.contains(name))).collect())
    }

    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.changed.notified())
    }
}

/// One direction of a connection.
struct Pipe {
    from: Place,
    to: Place,
    arrived: VecDeque<u8>,
    /// Nothing more will come.
    ended: bool,
    /// Whoever reads is gone.
    unread: bool,
    reader: Option<Waker>,
    /// When the last piece arrives.
    last: Duration,
}

impl Pipe {
    fn new(from: Place, to: Place) -> Arc<Mutex<Self>> {
        let (arrived, last) = (VecDeque::new(), Duration::ZERO);
        Arc::new(Mutex::new(Self { from, to, arrived, ended: false, unread: false, reader: None, last }))
    }
}

fn lock(pipe: &Mutex<Pipe>) -> MutexGuard<'_, Pipe> {
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One end of a connection.
pub(crate) struct End {
    hub: Hub,
    read: Arc<Mutex<Pipe>>,
    write: Arc<Mutex<Pipe>>,
}

impl End {
    /// Changes what the other end reads, after whatever was sent before.
    fn tell(&self, change: impl FnOnce(&mut Pipe) + Send + 'static) {
        let pipe = self.write.clone();
        let (way, last) = {
            let pipe = lock(&pipe);
            ((pipe.from, pipe.to), pipe.last)
        };
        let arriving = pipe.clone();
        let at = self.hub.send(way, last, move |_| {
            let reader = {
                let mut pipe = lock(&arriving);
                change(&mut pipe);
                pipe.reader.take()
            };
            if let Some(reader) = reader {
                reader.wake();
            }
        });
        lock(&pipe).last = at;
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let from = lock(&self.write).from;
        if self.hub.is_lost(from) {
            return;
        }
        let other = self.read.clone();
        self.tell(move |pipe| {
            pipe.ended = true;
            lock(&other).unread = true;
        });
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut pipe = lock(&self.read);
        if pipe.arrived.is_empty() && !pipe.ended {
            pipe.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let (first, _) = pipe.arrived.as_slices();
        let taken = first.len().min(buffer.remaining());
        buffer.put_slice(&first[..taken]);
        pipe.arrived.drain(..taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if lock(&self.write).unread {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let piece = bytes.to_vec();
        self.tell(move |pipe| pipe.arrived.extend(piece));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tell(|pipe| pipe.ended = true);
        Poll::Ready(Ok(()))
    }
}

impl Connected for End {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

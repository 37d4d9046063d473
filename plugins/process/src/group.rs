//! All that belongs to a member, and how it ends.
//!
//! To a member belong its process (the leader of its session), whatever is in that session, whatever carries its mark
//! in the environment, and every descendant of these: so also an orphan whose leader died, and a daemon that left the
//! session. What escapes is a process that left the session, cleared its environment, and lost its parent before
//! anybody looked.
//!
//! A session's number is used again once it is empty, so the number proves nothing by itself: the session is the
//! member's own only while its leader is there with the remembered start time, or while something in it carries the mark.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use om_api::clock;
use om_plugin_sdk::Failed;
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::procfs::{self, Seen};
use crate::text;

/// A process that cannot be mistaken for another: held by a pidfd, which no reuse of its pid can redirect.
#[derive(Debug)]
pub(crate) struct Handle {
    fd: AsyncFd<OwnedFd>,
}

impl Handle {
    /// The living process of this pid and start time, if there is one.
    ///
    /// # Errors
    /// No file descriptors are left, or the like.
    pub(crate) fn open(pid: i32, start: u64) -> io::Result<Option<Self>> {
        let Some(number) = (pid > 0).then(|| Pid::from_raw(pid)).flatten() else { return Ok(None) };
        let fd = match pidfd_open(number, PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(Errno::SRCH) => return Ok(None),
            Err(other) => return Err(other.into()),
        };
        // The descriptor first, the look second: what is seen now is what the descriptor holds.
        if procfs::alive(pid, start)?.is_none() {
            return Ok(None);
        }
        #[expect(
            deprecated,
            reason = "sound for an OwnedFd, which stays the same; its successor is unsafe to call"
        )]
        let fd = AsyncFd::with_interest(fd, Interest::READABLE)?;
        Ok(Some(Self { fd }))
    }

    /// Waits until it has ended. Works for processes that are not children.
    pub(crate) async fn ended(&self) {
        // Readable means ended, for good; an error of the reactor itself can only come while the runtime goes down.
        let _ = self.fd.readable().await;
    }

    /// How a child ended, for people, without taking note of it: it stays a zombie, and its pid taken. `None` if it is
    /// no child of this program, or has not ended.
    pub(crate) fn ending(&self) -> Option<String> {
        let how = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::PidFd(self.fd.get_ref().as_fd()), how).ok()??;
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Some(format!("exited with code {code}")),
            (None, Some(signal)) => Some(format!("killed by {}", text::signal_name(signal))),
            (None, None) => None,
        }
    }

    /// Sends a signal. To one that has ended: nothing.
    ///
    /// # Errors
    /// Not permitted: it changed its user.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(self.fd.get_ref(), signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }
}

/// Looks at all processes; many who ask at the same time share one look.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    begun: AtomicU64,
    last: tokio::sync::Mutex<(u64, Arc<Vec<Seen>>)>,
}

impl Scanner {
    /// All processes, as they were at some moment after this was called.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub(crate) async fn look(&self) -> io::Result<Arc<Vec<Seen>>> {
        let asked = self.begun.load(Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if last.0 > asked {
            return Ok(last.1.clone());
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let seen = tokio::task::spawn_blocking(procfs::snapshot).await.map_err(io::Error::other)??;
        *last = (number, Arc::new(seen));
        Ok(last.1.clone())
    }
}

/// Whose belongings are meant: as remembered when it was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Pid of the member, and number of its session.
    pub(crate) pid: i32,
    /// Start time in ticks.
    pub(crate) start: u64,
    /// Mark in the environment.
    pub(crate) run: String,
}

/// How to end it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// Said first.
    pub(crate) signal: Signal,
    /// From then until KILL.
    pub(crate) timeout: Duration,
}

/// A process: pid and start time.
pub(crate) type Identity = (i32, u64);

/// The living processes that belong to a target; `known` are some that did at an earlier look.
pub(crate) fn belongings(
    target: &Target,
    known: &BTreeSet<Identity>,
    seen: &[Seen],
    myself: i32,
) -> BTreeSet<Identity> {
    let marked = |one: &Seen| one.mark.as_deref() == Some(target.run.as_str());
    let leader = |one: &Seen| one.stat.pid == target.pid && one.stat.start == target.start;
    let own_session = seen.iter().any(|one| leader(one) || marked(one) && one.stat.session == target.pid);
    let mut ours: BTreeSet<Identity> = BTreeSet::new();
    let mut pids: BTreeSet<i32> = BTreeSet::new();
    let mut add = |one: &Seen, pids: &mut BTreeSet<i32>| {
        one.stat.pid != myself && pids.insert(one.stat.pid) && ours.insert((one.stat.pid, one.stat.start))
    };
    for one in seen {
        let in_session = own_session && one.stat.session == target.pid;
        if leader(one) || marked(one) || in_session || known.contains(&(one.stat.pid, one.stat.start)) {
            add(one, &mut pids);
        }
    }
    // Descendants: until a round finds none. A child is younger than its parent, and none of ours is older than the leader.
    let mut grown = true;
    while grown {
        grown = false;
        for one in seen.iter().filter(|one| one.stat.start >= target.start) {
            if pids.contains(&one.stat.parent) && add(one, &mut pids) {
                grown = true;
            }
        }
    }
    let dead =
        |id: &Identity| seen.iter().any(|one| (one.stat.pid, one.stat.start) == *id && one.stat.is_dead());
    ours.into_iter().filter(|id| !dead(id)).collect()
}

/// Ends a member and all that belongs to it; done when nothing of it is left. First the leader gets the signal, so that
/// it can see to its own children; what outlives it gets the signal too, and when the time is up all get KILL.
///
/// Safe to drop at any await, and to begin anew.
///
/// # Errors
/// The permission has lapsed, or a process cannot be signalled.
pub(crate) async fn end(
    scanner: &Scanner,
    target: &Target,
    manner: Manner,
    permit: &(dyn Fn() -> Result<(), Failed> + Send + Sync),
) -> Result<(), Failed> {
    let myself = i32::try_from(std::process::id()).unwrap_or(0);
    let deadline = clock::since_boot() + manner.timeout;
    // Before the tree falls apart: who hangs on it now?
    let mut known = belongings(target, &BTreeSet::new(), &scanner.look().await?, myself);
    let mut told = BTreeSet::new();
    if let Some(leader) = Handle::open(target.pid, target.start)? {
        tell(&leader, manner.signal, permit)?;
        told.insert((target.pid, target.start));
        let _ = tokio::time::timeout(manner.timeout, leader.ended()).await;
    }
    let mut pause = Duration::from_millis(5);
    loop {
        let left = belongings(target, &known, &scanner.look().await?, myself);
        if left.is_empty() {
            return Ok(());
        }
        let late = clock::since_boot() >= deadline;
        let signal = if late { Signal::KILL } else { manner.signal };
        for id in &left {
            if (late || told.insert(*id))
                && let Some(process) = Handle::open(id.0, id.1)?
            {
                tell(&process, signal, permit)?;
            }
        }
        known.extend(left);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}

fn tell(
    process: &Handle,
    signal: Signal,
    permit: &(dyn Fn() -> Result<(), Failed> + Send + Sync),
) -> Result<(), Failed> {
    permit()?;
    process.signal(signal)?;
    if signal != Signal::KILL {
        // One that is stopped hears nothing else.
        process.signal(Signal::CONT)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

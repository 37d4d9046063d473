//! The leader file: whoever's name stands in it leads.
//!
//! The whole content counts, without the white space around it and without a byte order mark. The file is looked at
//! at once when anything on the way to it changes (inotify), and every `poll` besides: on NFS and FUSE no event comes for
//! what another machine did. (NFS caches names as well; mount it with `actimeo=1` or `noac` for a quick failover.)
//!
//! | the file | is taken as |
//! | --- | --- |
//! | holds our name | `Leading` |
//! | holds another name | `Following` it |
//! | is missing, or holds nothing but white space, for the `settle` time | `Following` nobody |
//! | cannot be opened or read in time; is no file; a link into nothing; not one short line of text | `Unknown` |
//!
//! Missing and empty are not believed at once, for `echo name > file` empties the file before it writes. A name seen
//! meanwhile counts at once. To change the file without such a moment, write another beside it and rename that over it.
//!
//! Nothing here blocks the runtime: one thread does all that touches the file system, and when it hangs there,
//! the leadership becomes `Unknown` after `patience`.

mod content;
mod eye;
mod sight;
mod trail;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::eye::{Cause, Eye, Look};
use self::sight::Sight;
use crate::{Detector, Leadership};

/// How a leader file is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// Time between two looks when no event comes, at least 1 ms. 5 s by default.
    pub poll: Duration,
    /// How long the file must be missing or empty to be taken so. 100 ms by default.
    pub settle: Duration,
    /// How long a look may take, at least 1 ms. 2 s by default.
    pub patience: Duration,
    /// Whether to use inotify. By default, yes; without it only the poll sees changes.
    pub events: bool,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(5),
            settle: Duration::from_millis(100),
            patience: Duration::from_secs(2),
            events: true,
        }
    }
}

/// The detector that reads a leader file. It never writes it: resigning leaves it as it is.
#[derive(Debug)]
pub struct FileDetector {
    path: PathBuf,
    seen: watch::Receiver<Leadership>,
    /// Dropped with the detector, it ends the watcher, which ends the thread.
    _task: JoinSet<()>,
}

impl FileDetector {
    /// Starts to look at `path`; `name` is this replica's own. To be called within a tokio runtime with I/O and time
    /// enabled. Whatever is wrong with the path is an observation, not an error.
    #[must_use]
    pub fn start(path: impl AsRef<Path>, name: impl Into<String>, options: FileOptions) -> Self {
        let path = std::path::absolute(path.as_ref()).unwrap_or_else(|_| path.as_ref().to_owned());
        let to_look_at = path.clone();
        Self::start_with(path, name.into(), options, move || eye::looker(&to_look_at, options.events))
    }

    fn start_with(
        path: PathBuf,
        name: String,
        options: FileOptions,
        new_look: impl FnMut() -> (Look, Option<Arc<trail::Events>>) + Send + 'static,
    ) -> Self {
        let (seen, reader) = watch::channel(Leadership::not_looked());
        let least = Duration::from_millis(1);
        let options =
            FileOptions { poll: options.poll.max(least), patience: options.patience.max(least), ..options };
        let watcher = Watcher { checked: path.display().to_string(), name, options, seen, void_since: None };
        let mut task = JoinSet::new();
        task.spawn(watcher.run(new_look));
        Self { path, seen: reader, _task: task }
    }
}

#[async_trait]
impl Detector for FileDetector {
    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.seen.clone()
    }

    fn describe(&self) -> String {
        format!("file {}", self.path.display())
    }

    /// Does nothing: the file belongs to whoever writes names into it.
    async fn resign(&self) {}
}

struct Watcher {
    checked: String,
    name: String,
    options: FileOptions,
    seen: watch::Sender<Leadership>,
    /// Since when the file has been seen missing or empty, and nothing else, without that being believed yet.
    void_since: Option<Instant>,
}

impl Watcher {
    /// Watches for ever. The thread is started anew if it ever ends (or cannot be started).
    async fn run(mut self, mut new_look: impl FnMut() -> (Look, Option<Arc<trail::Events>>) + Send) {
        loop {
            let (look, events) = new_look();
            let why = match Eye::open(look, events) {
                Ok(eye) => {
                    self.watch(eye).await;
                    "the thread that looks at it has failed".to_owned()
                }
                Err(error) => format!("cannot start the thread that looks at it: {error}"),
            };
            self.unknown(format!("the leader file {}: {why}", self.checked));
            tokio::time::sleep(self.options.poll).await;
        }
    }

    /// Until the eye fails.
    async fn watch(&mut self, mut eye: Eye) {
        let mut cause = Cause::Time;
        let mut looked = Instant::now();
        loop {
            if !eye.ask(cause) {
                return;
            }
            let asked = Instant::now();
            let answer = tokio::time::timeout(self.options.patience, eye.answer()).await;
            let sight = match answer {
                Ok(Some(sight)) => sight,
                Ok(None) => return,
                Err(_late) => {
                    let patience = self.options.patience;
                    self.unknown(format!(
                        "looking at the leader file {} takes longer than {patience:?}; check the file system it is on",
                        self.checked
                    ));
                    // What comes so late may be old: look again.
                    if eye.answer().await.is_none() {
                        return;
                    }
                    cause = Cause::Time;
                    continue;
                }
            };
            if let Some(sight) = sight {
                looked = asked;
                self.judge(sight, asked);
            }
            let polled = looked + self.options.poll;
            let settled = self.void_since.map_or(polled, |since| since + self.options.settle);
            cause = tokio::select! {
                // The time first: a directory in which something else stirs all the while must not keep it off.
                biased;
                () = tokio::time::sleep_until(settled.min(polled)) => Cause::Time,
                () = eye.stirred() => Cause::Event,
            };
        }
    }

    /// Takes what was seen by a look that began at `asked`.
    fn judge(&mut self, sight: Sight, asked: Instant) {
        let nobody = Leadership::Following { leader: None };
        let seen = match sight {
            Sight::Named(name) if name == self.name => Leadership::Leading,
            Sight::Named(name) => Leadership::Following { leader: Some(name) },
            Sight::Unreadable(why) => return self.unknown(why),
            Sight::Void => {
                let since = *self.void_since.get_or_insert(asked);
                if *self.seen.borrow() != nobody && asked < since + self.options.settle {
                    return;
                }
                nobody
            }
        };
        self.void_since = None;
        seen.log_check(&self.checked);
        self.publish(seen);
    }

    fn unknown(&mut self, why: String) {
        self.void_since = None;
        self.publish(Leadership::Unknown { why });
    }

    fn publish(&self, new: Leadership) {
        self.seen.send_if_modified(|seen| {
            let changed = *seen != new;
            *seen = new;
            changed
        });
    }
}

//! A served probe, and waiting with a reason.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use om_api::clock::{self, Clock};
use om_api::{Error, Reason};
use om_plugin_sdk::testing::{Manager, PATIENCE};
use om_plugin_sdk::{Options, ServeError, bind_apart};
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

use crate::probe::{Journal, Probe};

/// Long enough not to end by itself on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// Short enough to be waited for.
pub(crate) const SHORT: Duration = Duration::from_millis(1500);

pub(crate) struct Host {
    pub(crate) journal: Arc<Journal>,
    pub(crate) socket: PathBuf,
    pub(crate) shutdown: CancellationToken,
    pub(crate) served: AbortOnDropHandle<Result<(), ServeError>>,
    ahead: Arc<AtomicU64>,
    _dir: tempfile::TempDir,
    _unblock: Unblock,
}

/// A test that fails must not wait for a blocked thread.
struct Unblock(Arc<Journal>);

impl Drop for Unblock {
    fn drop(&mut self) {
        self.0.unblock();
    }
}

/// A runtime with one thread, which may be blocked when it ends.
pub(crate) struct OneThread(Option<Runtime>);

impl OneThread {
    pub(crate) fn start() -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Self(Some(builder.worker_threads(1).enable_all().build().expect("a runtime")))
    }

    pub(crate) fn handle(&self) -> Handle {
        self.0.as_ref().expect("runs").handle().clone()
    }
}

impl Drop for OneThread {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Host {
    pub(crate) fn start() -> Self {
        Self::start_apart(Handle::current())
    }

    /// The plugin's own code runs on `works`.
    pub(crate) fn start_apart(works: Handle) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let journal = Arc::new(Journal::default());
        let ahead = Arc::new(AtomicU64::new(0));
        let hand = ahead.clone();
        let clock: Clock =
            Arc::new(move || clock::since_boot() + Duration::from_secs(hand.load(Ordering::SeqCst)));
        let options = Options {
            name: "probe".to_owned(),
            version: "1.2.3".to_owned(),
            plugins_dir: dir.path().to_owned(),
            socket_mode: 0o600,
            socket_group: None,
            host: "here".to_owned(),
            clock,
        };
        let serving = bind_apart(Arc::new(Probe(journal.clone())), &options, works).expect("a socket");
        let socket = serving.path().to_owned();
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let task: JoinHandle<_> = tokio::runtime::Handle::current().spawn(serving.run(stop));
        let served = AbortOnDropHandle::new(task);
        let _unblock = Unblock(journal.clone());
        Self { _unblock, journal, socket, shutdown, served, ahead, _dir: dir }
    }

    /// The machine slept for an hour.
    pub(crate) fn an_hour_passes(&self) {
        self.ahead.fetch_add(3600, Ordering::SeqCst);
    }

    pub(crate) async fn manager(&self, cluster: &str, term: u64) -> Manager {
        Manager::connect(&self.socket, cluster, term).await.expect("connects")
    }
}

/// Waits until `done`.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"));
}

/// The error of ours in a status.
pub(crate) fn error(status: &Status) -> Error {
    Error::from_status(status).unwrap_or_else(|| panic!("not ours: {status:?}"))
}

/// The refusal, which must be for this reason.
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, Status>, reason: Reason) -> Error {
    let error = error(&result.expect_err("to be refused"));
    assert_eq!(error.reason, reason, "{error}");
    error
}

pub(crate) fn fenced<T: std::fmt::Debug>(result: Result<T, Status>) -> Error {
    refused(result, Reason::Fenced)
}

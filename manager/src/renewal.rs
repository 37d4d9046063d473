//! Certificates that are renewed while the program runs.
//!
//! The files are looked at every few seconds and at SIGHUP; what cannot be used is said once and tried again, and what
//! was there before stays in use. A poll sees whatever way the files are replaced in: written over, renamed, or a
//! symbolic link turned to another directory.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use om_api::socket::Credentials;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

const POLL: Duration = Duration::from_secs(5);

/// What tells one content of a file from another, short of reading it.
type Stamp = [Option<(u64, u64, i64, i64)>; 3];

fn stamp(credentials: &Credentials) -> Stamp {
    let files = credentials.files();
    [&files.cert, &files.key, &files.ca].map(|path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    })
}

/// Renews for ever.
pub(crate) async fn renew(credentials: Credentials) {
    let mut hangup = signal(SignalKind::hangup())
        .inspect_err(|error| warn!(%error, "SIGHUP cannot be listened to; certificates are still looked at"))
        .ok();
    // The first look reads them once more: they may have changed since the program started.
    let mut seen = None;
    let mut said = String::new();
    loop {
        let asked = tokio::select! {
            () = tokio::time::sleep(POLL) => false,
            Some(()) = async { hangup.as_mut()?.recv().await } => true,
        };
        let own = credentials.clone();
        let before = seen;
        let looked = tokio::task::spawn_blocking(move || {
            let now = stamp(&own);
            (asked || before != Some(now)).then(|| (now, own.renew()))
        });
        match looked.await {
            Ok(Some((now, Ok(())))) => {
                if asked || seen.is_some() {
                    info!("the certificates were read again; they count from the next connection on");
                }
                seen = Some(now);
                said.clear();
            }
            Ok(Some((_, Err(error)))) => {
                let text = error.to_string();
                if asked || text != said {
                    warn!(error = %text, "the certificates cannot be renewed; those from before stay in use");
                }
                said = text;
            }
            Ok(None) | Err(_) => {}
        }
    }
}

//! Members that others started: found again, left where they are, ended.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use om_api::clock;
use om_plugin_sdk::{Declared, Failed, Service};
use tokio::sync::watch;
use tracing::info;

use super::live::{Doing, Live};
use super::{Keeper, manner, outlook, read, target};
use crate::group::{self, Manner};
use crate::member::{self, Process};
use crate::shared::Shared;
use crate::state::{Record, State};
use crate::{procfs, spec};

impl Keeper {
    /// Takes over what runs; what does not run any more, and what was being stopped, is seen to.
    pub(super) async fn adopt(&mut self) -> Result<(), Failed> {
        let now = clock::since_boot();
        let records: Vec<(u32, Record)> =
            self.state.members.iter().map(|(index, record)| (*index, record.clone())).collect();
        for (index, record) in records {
            let mut live = Live {
                restarts: record.restarts,
                failures: record.failures,
                adopted: true,
                ..Live::down(now)
            };
            let permit = || self.service.permit().map(drop).map_err(Failed::from);
            let process = member::adopt(&target(&record), &permit).await?;
            let runs = process.is_some();
            if let Some(Process { handle, child }) = process {
                live.doing = Doing::Up;
                live.health = self.template_of(index).health.clone();
                live.began = now.saturating_sub(procfs::age(record.start, now));
                (live.handle, live.child) = (Some(Arc::new(handle)), child);
            }
            self.live.insert(index, live);
            if record.stopping {
                self.finish(index, Doing::Stopping);
            } else if runs {
                info!(service = self.service.name(), member = index, pid = record.pid, "adopted");
                self.watch(index);
                self.look(index, Duration::ZERO);
            } else {
                self.crashed(index, false, "ended while nobody looked after it".to_owned());
                self.finish(index, Doing::Sweeping);
            }
        }
        Ok(())
    }
}

/// The members belong to another host, which cannot be reached from here: say so, and start nothing.
pub(super) async fn elsewhere(
    service: &Service,
    state: &State,
    mut declared: watch::Receiver<Arc<Declared>>,
) -> Result<(), Failed> {
    loop {
        let revision = declared.borrow_and_update().revision;
        service.report_at(revision, outlook::elsewhere(service.name(), state));
        if declared.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Ends all members of a service, for good. Idempotent.
pub(crate) async fn end_all(service: &Service, shared: &Shared) -> Result<(), Failed> {
    let Some(state) = State::read(&service.state())? else { return Ok(()) };
    if state.members.is_empty() {
        return Ok(());
    }
    if state.host != service.host() {
        return Err(Failed(format!(
            "its members belong to the host {}, which is not this one ({})",
            state.host,
            service.host()
        )));
    }
    if state.boot != procfs::boot()? {
        return Ok(());
    }
    let declared = service.declared().borrow().clone();
    let manner = read(&declared).map_or_else(|_| manner_by_default(), |spec| manner(&spec));
    let permit = || service.permit().map(drop).map_err(Failed::from);
    let mut ends: FuturesUnordered<_> = state
        .members
        .values()
        .map(|record| async {
            let target = target(record);
            // A gate that some stopped program may yet let through ends like any process.
            group::end(&shared.scanner, &target, manner, &permit).await
        })
        .collect();
    while let Some(ended) = ends.next().await {
        ended?;
    }
    Ok(())
}

fn manner_by_default() -> Manner {
    let stop = spec::Stop::default();
    Manner { signal: stop.signal(), timeout: stop.timeout.0 }
}

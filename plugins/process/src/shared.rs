//! What all services of this plugin share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};

use crate::group::Scanner;
use crate::keeper::Command;
use crate::keeper::outlook::Progress;
use crate::logs::Limits;
use crate::ports::Ports;

/// What all services of this plugin share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Program that is executed as the gate.
    pub(crate) gate: PathBuf,
    /// Where directories and logs of members are.
    pub(crate) root: PathBuf,
    /// When logs are rotated.
    pub(crate) logs: Limits,
    /// Looks at processes.
    pub(crate) scanner: Scanner,
    /// Who claims which port.
    pub(crate) ports: Ports,
    /// Who looks after what.
    pub(crate) desks: Desks,
}

/// Where actions find whoever looks after a service here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Desks(Arc<Mutex<BTreeMap<String, Desk>>>);

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    /// To ask.
    pub(crate) ask: mpsc::Sender<Command>,
    /// How far the members are.
    pub(crate) progress: watch::Receiver<Progress>,
}

/// Closes the desk when dropped.
#[derive(Debug)]
pub(crate) struct Open {
    desks: Desks,
    service: String,
    ask: mpsc::Sender<Command>,
}

impl Desks {
    fn table(&self) -> MutexGuard<'_, BTreeMap<String, Desk>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the desk of a service.
    pub(crate) fn open(
        &self,
        service: &str,
        ask: mpsc::Sender<Command>,
        progress: watch::Receiver<Progress>,
    ) -> Open {
        self.table().insert(service.to_owned(), Desk { ask: ask.clone(), progress });
        Open { desks: self.clone(), service: service.to_owned(), ask }
    }

    /// The desk of a service, if it is looked after here.
    pub(crate) fn find(&self, service: &str) -> Option<Desk> {
        self.table().get(service).cloned()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut table = self.desks.table();
        // Another may have opened meanwhile.
        if table.get(&self.service).is_some_and(|desk| desk.ask.same_channel(&self.ask)) {
            table.remove(&self.service);
        }
    }
}

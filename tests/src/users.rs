//! Clients as they are meant to be: each by the client library, a call at a time, as fast as it is answered.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use om_api::clock::since_boot;
use om_api::socket::Address;
use om_client::{Client, Deadline, Options, services};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::Spec;

const CALL: Duration = Duration::from_secs(30);
const PACE: Duration = Duration::from_millis(5);

/// What users met with.
#[derive(Clone, Debug, Default)]
pub struct Met {
    /// Calls that were answered: when they began, and how long they took.
    pub done: Vec<(Duration, Duration)>,
    /// Errors that a user saw.
    pub failed: Vec<String>,
}

impl Met {
    /// The longest that a call took.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.done.iter().map(|(_, took)| *took).max().unwrap_or_default()
    }
}

/// Users at work.
pub struct Users {
    runtime: Runtime,
    met: Arc<Mutex<Met>>,
    end: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Users {
    /// So many users of the replicas that serve these sockets, each with a service of its own: the given one, with the
    /// user's number behind the name and a new label each time.
    ///
    /// # Panics
    /// If no runtime can be had.
    #[must_use]
    pub fn start(sockets: &[PathBuf], spec: &Spec, users: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (met, end) = (Arc::<Mutex<Met>>::default(), Arc::new(AtomicBool::new(false)));
        let mut tasks = JoinSet::new();
        for number in 0..users {
            let mut spec = spec.clone();
            spec.name = format!("{}-{number}", spec.name);
            let client = Client::new(Options::new(sockets.iter().map(|socket| Address::from(&**socket))));
            tasks.spawn_on(user(client, spec, met.clone(), end.clone()), runtime.handle());
        }
        Self { runtime, met, end, tasks }
    }

    /// How many calls were answered up to now.
    #[must_use]
    pub fn done(&self) -> usize {
        self.met.lock().unwrap_or_else(PoisonError::into_inner).done.len()
    }

    /// Ends: calls under way are waited for.
    ///
    /// # Panics
    /// If a user did.
    #[must_use]
    pub fn stop(mut self) -> Met {
        self.end.store(true, Ordering::SeqCst);
        self.runtime.block_on(async {
            while let Some(ended) = self.tasks.join_next().await {
                ended.expect("a user");
            }
        });
        std::mem::take(&mut *self.met.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn user(mut client: Client, spec: Spec, met: Arc<Mutex<Met>>, end: Arc<AtomicBool>) {
    for number in 1.. {
        if end.load(Ordering::SeqCst) {
            return;
        }
        let request = spec.clone().label("number", number).commit();
        let asked = since_boot();
        client.deadline = Deadline::after(CALL);
        let commit = |channel, request| async move { services(channel).commit(request).await };
        let answer = client.call(&request, commit).await;
        {
            let mut met = met.lock().unwrap_or_else(PoisonError::into_inner);
            match answer {
                Ok(_) => met.done.push((asked, since_boot() - asked)),
                Err(error) => met.failed.push(error.to_string()),
            }
        }
        tokio::time::sleep(PACE).await;
    }
}

//! What a manager answers: the same interface as a plugin, and what only a manager knows.

mod attend;
mod events;
mod manager;
mod router;
mod service_plugin;

pub(crate) use router::ManagerRouter;

use std::sync::Arc;

use crate::replica::Replica;

/// Serves both interfaces in the name of a replica.
#[derive(Clone)]
pub(crate) struct Front {
    replica: Replica,
    instance: String,
    superior: Arc<attend::Superior>,
}

impl Front {
    pub(crate) fn new(replica: Replica) -> Self {
        let instance = uuid::Uuid::new_v4().to_string();
        Self { replica, instance, superior: Arc::default() }
    }
}

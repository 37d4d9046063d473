//! What a manager answers: the same interface as a plugin, and what only a manager knows.

mod attend;
mod events;
mod manager;
mod router;
mod service_plugin;

pub(crate) use router::ManagerRouter;

use std::pin::Pin;
use std::sync::Arc;

use tokio_stream::Stream;
use tonic::{Response, Status};

use crate::replica::Replica;

type Answer<T> = Result<Response<T>, Status>;
type Pieces<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The most that a page holds, whatever is asked for.
const LARGEST_PAGE: usize = 1000;

/// How many a page holds: what was asked for, within reason, or the usual number.
fn page(asked: u32, usual: usize) -> usize {
    if asked == 0 { usual } else { (asked as usize).min(LARGEST_PAGE) }
}

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

//! The mandate's only giver: begins it, extends it, ends it, and publishes the standing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{Clock, Leadership, Mandate, Standing};

pub(super) struct Post {
    clock: Clock,
    standing: watch::Sender<Standing>,
    reign: Option<Reign>,
}

struct Reign {
    deadline: watch::Sender<Duration>,
    ended: CancellationToken,
}

impl Post {
    pub(super) fn new(clock: Clock) -> (Self, watch::Receiver<Standing>) {
        let (standing, reader) = watch::channel(Standing::Unknown { why: Leadership::NOT_LOOKED.to_owned() });
        (Self { clock, standing, reign: None }, reader)
    }

    pub(super) fn begin(&mut self, term: u64, deadline: Duration) {
        self.end();
        let (deadline, reader) = watch::channel(deadline);
        let ended = CancellationToken::new();
        let mandate = Mandate::new(term, Arc::clone(&self.clock), reader, ended.clone());
        self.reign = Some(Reign { deadline, ended });
        self.standing.send_replace(Standing::Leading(mandate));
    }

    pub(super) fn extend(&self, deadline: Duration) {
        if let Some(reign) = &self.reign {
            reign.deadline.send_replace(deadline);
        }
    }

    /// Ends the mandate. Whoever is woken by it may still read `Leading`, with a mandate that says `None`.
    pub(super) fn end(&mut self) {
        if let Some(reign) = self.reign.take() {
            reign.ended.cancel();
        }
    }

    pub(super) fn publish(&mut self, standing: Standing) {
        self.end();
        self.standing.send_replace(standing);
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        if self.reign.is_some() {
            self.publish(Standing::Unknown { why: "the campaign has ended".to_owned() });
        }
    }
}

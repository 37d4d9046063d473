//! A detector that says what a test tells it to.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{Detector, Leadership};

/// Says what it is told to say.
#[derive(Debug)]
pub struct ScriptedDetector {
    seen: watch::Sender<Leadership>,
    resignations: AtomicUsize,
}

impl ScriptedDetector {
    /// A detector that has not looked yet.
    #[must_use]
    pub fn new() -> Self {
        let seen = watch::Sender::new(Leadership::not_looked());
        Self { seen, resignations: AtomicUsize::new(0) }
    }

    /// Says this from now on.
    pub fn say(&self, new: Leadership) {
        self.seen.send_if_modified(|seen| {
            let changed = *seen != new;
            *seen = new;
            changed
        });
    }

    /// Names this replica.
    pub fn name_it(&self) {
        self.say(Leadership::Leading);
    }

    /// Names another.
    pub fn name_other(&self, leader: &str) {
        self.say(Leadership::Following { leader: Some(leader.to_owned()) });
    }

    /// Names nobody.
    pub fn name_nobody(&self) {
        self.say(Leadership::Following { leader: None });
    }

    /// Sees nothing.
    pub fn blind(&self, why: &str) {
        self.say(Leadership::Unknown { why: why.to_owned() });
    }

    /// How often it was told to resign.
    #[must_use]
    pub fn resignations(&self) -> usize {
        self.resignations.load(Ordering::SeqCst)
    }
}

impl Default for ScriptedDetector {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Detector for ScriptedDetector {
    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.seen.subscribe()
    }

    fn describe(&self) -> String {
        "a script".to_owned()
    }

    async fn resign(&self) {
        self.resignations.fetch_add(1, Ordering::SeqCst);
    }
}

//! The detector for one replica alone: nobody else could lead.

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{Detector, Leadership};

/// Always leads, until it resigns.
#[derive(Debug)]
pub struct Solo {
    seen: watch::Sender<Leadership>,
}

impl Solo {
    /// A detector that says `Leading` from the start.
    #[must_use]
    pub fn new() -> Self {
        Leadership::Leading.log_check("this replica is alone");
        Self { seen: watch::Sender::new(Leadership::Leading) }
    }
}

impl Default for Solo {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Detector for Solo {
    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.seen.subscribe()
    }

    fn describe(&self) -> String {
        "nothing: this replica is alone".to_owned()
    }

    async fn resign(&self) {
        self.seen.send_if_modified(|seen| {
            let nobody = Leadership::Following { leader: None };
            let changed = *seen != nobody;
            *seen = nobody;
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lone_replica_leads_until_it_resigns() {
        let solo = Solo::new();
        let mut seen = solo.leadership();
        assert_eq!(*seen.borrow_and_update(), Leadership::Leading);
        solo.resign().await;
        assert!(seen.has_changed().unwrap());
        assert_eq!(*seen.borrow_and_update(), Leadership::Following { leader: None });
        solo.resign().await;
        assert!(!seen.has_changed().unwrap(), "resigning twice says nothing new");
        drop(solo);
        assert!(seen.changed().await.is_err());
    }
}

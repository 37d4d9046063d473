//! The writes of a reign that are under way.
//!
//! To confirm a term is to read, and what keeps the state may answer reads while it writes nothing any more: a disk that
//! hangs, a cluster without a quorum to log to. A leader there would lead on and do nothing. So a term is not confirmed
//! while a write has been under way for too long; by and by the reign ends, and another replica may fare better.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use om_api::clock::Clock;
use om_leadership::OfficeError;

/// How long a write may be under way before the term is no longer confirmed.
const PATIENCE: Duration = Duration::from_secs(1);

/// When each write that is under way began. Clones share it.
#[derive(Clone)]
pub(crate) struct Writes(Arc<Inner>);

struct Inner {
    clock: Clock,
    /// The number of the last one, and those under way.
    begun: Mutex<(u64, BTreeMap<u64, Duration>)>,
}

/// A write that is under way until this is dropped.
pub(crate) struct UnderWay {
    writes: Writes,
    number: u64,
}

impl Writes {
    pub(crate) fn new(clock: Clock) -> Self {
        Self(Arc::new(Inner { clock, begun: Mutex::default() }))
    }

    /// A write begins.
    pub(crate) fn begin(&self) -> UnderWay {
        let now = (self.0.clock)();
        let mut begun = self.begun();
        begun.0 += 1;
        let number = begun.0;
        begun.1.insert(number, now);
        UnderWay { writes: self.clone(), number }
    }

    /// Whether writes come to their end.
    ///
    /// # Errors
    /// [`OfficeError::Unavailable`] if one does not.
    pub(super) fn flow(&self) -> Result<(), OfficeError> {
        let oldest = self.begun().1.first_key_value().map(|(_, begun)| *begun);
        let since = oldest.map_or(Duration::ZERO, |begun| (self.0.clock)().saturating_sub(begun));
        if since <= PATIENCE {
            return Ok(());
        }
        Err(OfficeError::Unavailable(format!("a write to the store has been under way for {since:.1?}")))
    }

    fn begun(&self) -> std::sync::MutexGuard<'_, (u64, BTreeMap<u64, Duration>)> {
        self.0.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.writes.begun().1.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use om_leadership::Office as _;
    use om_leadership::testing::TestClock;
    use om_store::{Candidate, memory::MemoryStore};

    use super::super::StoreOffice;
    use super::*;

    #[tokio::test]
    async fn a_leader_whose_writes_hang_is_not_confirmed_though_reads_work() {
        let clock = TestClock::new();
        let writes = Writes::new(clock.clock());
        let candidate = Candidate { name: "a".to_owned(), endpoint: String::new(), authority_ms: 2000 };
        let office = StoreOffice::new(Arc::new(MemoryStore::new().handle()), candidate, writes.clone());
        let term = office.claim().await.expect("claimed");
        let (older, newer) = (writes.begin(), writes.begin());
        clock.jump(Duration::from_millis(900));
        assert!(office.confirm(term).await.is_ok(), "writes take a while");
        clock.jump(Duration::from_millis(900));
        let hung = office.confirm(term).await;
        assert!(matches!(&hung, Err(OfficeError::Unavailable(why)) if why.contains("1.8s")), "{hung:?}");
        // One that is through proves nothing about another.
        let _newest = writes.begin();
        drop(older);
        assert!(office.confirm(term).await.is_err());
        drop(newer);
        assert!(office.confirm(term).await.is_ok());
    }
}

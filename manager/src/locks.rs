//! One lock per name: calls about one service wait for each other, and for nobody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as Lock, OwnedMutexGuard};

/// Locks made when first asked for and forgotten when nobody holds or awaits them.
#[derive(Default)]
pub(crate) struct Locks(Mutex<HashMap<String, Weak<Lock<()>>>>);

impl Locks {
    /// Waits for the lock of `name` and holds it until the guard is dropped.
    pub(crate) async fn hold(&self, name: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if locks.len() > 1024 && locks.len() == locks.capacity() {
                locks.retain(|_, lock| lock.strong_count() > 0);
            }
            let known = locks.get(name).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let made = Arc::new(Lock::new(()));
                locks.insert(name.to_owned(), Arc::downgrade(&made));
                made
            })
        };
        lock.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_name_waits_and_another_does_not() {
        let locks = Locks::default();
        let held = locks.hold("a").await;
        let other = locks.hold("b").await;
        let mut again = std::pin::pin!(locks.hold("a"));
        assert!(futures_util::poll!(&mut again).is_pending());
        drop(held);
        again.await;
        drop(other);
    }
}

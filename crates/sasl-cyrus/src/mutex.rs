//! Locks for libsasl2: it locks and unlocks in separate calls, so a guard can't stand for the lock.

use std::sync::{Condvar, Mutex, PoisonError};

/// A lock that is not tied to a scope.
#[derive(Debug, Default)]
pub(crate) struct SplitMutex {
    is_held: Mutex<bool>,
    released: Condvar,
}

impl SplitMutex {
    pub(crate) fn lock(&self) {
        let is_held = self.is_held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_held = self
            .released
            .wait_while(is_held, |is_held| *is_held)
            .unwrap_or_else(PoisonError::into_inner);
        *is_held = true;
    }

    pub(crate) fn unlock(&self) {
        *self.is_held.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.released.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn one_at_a_time() {
        let (lock, count) = (SplitMutex::default(), AtomicU32::new(0));
        let count_up = || {
            for _ in 0..1_000 {
                lock.lock();
                let before = count.load(Ordering::Relaxed);
                std::thread::yield_now();
                count.store(before + 1, Ordering::Relaxed);
                lock.unlock();
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(count_up);
            }
        });
        assert_eq!(count.into_inner(), 4_000);
    }
}

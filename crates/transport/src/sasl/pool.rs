//! Where PBKDF2 runs: a few blocking threads, and a short queue before them.

use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

/// Log-ins that may wait for a thread; each one more is refused.
const WAITING_MAX: usize = 256;

/// A bounded number of computations at once.
pub(super) struct HashPool {
    /// As many as half the processors, so that a flood of log-ins leaves the rest alone.
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
}

/// Why a computation gave no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PoolError {
    /// The queue is full.
    Full,
    /// The computation panicked, or the runtime is stopping.
    Lost,
}

impl HashPool {
    pub(super) fn new() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self::with(processors.div_ceil(2), WAITING_MAX)
    }

    fn with(running: usize, waiting: usize) -> Self {
        Self {
            running: Arc::new(Semaphore::new(running)),
            admitted: Arc::new(Semaphore::new(running + waiting)),
        }
    }

    /// One that admits nothing.
    #[cfg(test)]
    pub(super) fn closed() -> Self {
        Self::with(0, 0)
    }

    /// Runs `work` on a blocking thread. If the future is dropped while it runs, it runs to its
    /// end and still counts until then.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        let admitted = Arc::clone(&self.admitted)
            .try_acquire_owned()
            .map_err(|_| PoolError::Full)?;
        let running = Arc::clone(&self.running)
            .acquire_owned()
            .await
            .map_err(|_| PoolError::Lost)?;
        let permits: [OwnedSemaphorePermit; 2] = [running, admitted];
        spawn_blocking(move || {
            let result = work();
            drop(permits);
            result
        })
        .await
        .map_err(|_| PoolError::Lost)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn the_queue_has_an_end() {
        let pool = Arc::new(HashPool::with(1, 1));
        let (release, gate) = mpsc::channel::<()>();
        let first = {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move { pool.run(move || gate.recv().is_ok()).await })
        };
        while pool.running.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let second = {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move { pool.run(|| 2).await })
        };
        while pool.admitted.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.run(|| 3).await, Err(PoolError::Full));
        release.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Ok(true));
        assert_eq!(second.await.unwrap(), Ok(2));
        assert_eq!(pool.run(|| 4).await, Ok(4));
    }
}

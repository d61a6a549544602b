//! Threads for what may block: a fixed number of them, and a short queue before them.
//!
//! They are not the runtime's blocking threads, since a runtime waits for those when it ends, and a
//! saslauthd that hangs would keep it from ending.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;
use tracing::error;

type Job = Box<dyn FnOnce() + Send>;

/// Threads that take jobs until this value is gone.
#[derive(Debug, Clone)]
pub(crate) struct Threads {
    jobs: SyncSender<Job>,
}

/// Why a job gave no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotRun {
    /// The queue is full.
    Full,
    /// The job panicked.
    Lost,
}

impl Threads {
    /// Starts `count` threads; beyond them `waiting_max` jobs may wait.
    pub(crate) fn start(name: &str, count: usize, waiting_max: usize) -> io::Result<Self> {
        let (jobs, queue) = sync_channel::<Job>(waiting_max);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..count {
            let queue = Arc::clone(&queue);
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || work(&queue))?;
        }
        Ok(Self { jobs })
    }

    /// Runs `work` on one of the threads. If the future is dropped, the job runs all the same.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotRun> {
        let (answer, result) = oneshot::channel();
        let job = move || {
            // Nobody waits any more: the session has ended.
            drop(answer.send(work()));
        };
        self.submit(job)?;
        result.await.map_err(|_| NotRun::Lost)
    }

    /// Lets one of the threads run `work`; nobody waits for it.
    pub(crate) fn submit(&self, work: impl FnOnce() + Send + 'static) -> Result<(), NotRun> {
        self.jobs.try_send(Box::new(work)).map_err(|_| NotRun::Full)
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            error!("a step of a log-in panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn the_queue_has_an_end_and_a_panic_has_none() {
        let threads = Threads::start("test", 1, 1).unwrap();
        let (release, gate) = mpsc::channel::<()>();
        let (started, has_started) = oneshot::channel();
        threads
            .submit(move || {
                started.send(()).unwrap();
                gate.recv().unwrap();
            })
            .unwrap();
        has_started.await.unwrap();
        threads.submit(|| panic!("a plugin's bug")).unwrap();
        assert_eq!(threads.run(|| 1).await, Err(NotRun::Full));
        release.send(()).unwrap();
        while threads.run(|| 2).await != Ok(2) {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            threads.run(|| panic!("another")).await,
            Err::<(), _>(NotRun::Lost)
        );
        assert_eq!(threads.run(|| 3).await, Ok(3));
    }
}

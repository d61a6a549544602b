//! The dump pool: threads that walk lists so that nobody else has to.

use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error};

/// Jobs that may wait for a thread; a session beyond that waits for its place.
const QUEUE_JOBS_MAX: usize = 256;
/// Added to the threads' nice value: a dump yields to whoever answers a NOOP.
const NICE: i32 = 10;

type Job = Box<dyn FnOnce() + Send>;

/// Threads of lower priority for work whose length grows with the list. Cheap to clone; the threads
/// end when the last clone is gone.
#[derive(Clone)]
pub struct DumpPool {
    jobs: mpsc::Sender<Job>,
}

impl DumpPool {
    /// Starts `threads` threads.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(threads: NonZeroUsize) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE_JOBS_MAX);
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..threads.get() {
            let queue = Arc::clone(&queue);
            thread::Builder::new()
                .name(format!("dump-{number}"))
                .spawn(move || work(&queue))?;
        }
        Ok(Self { jobs })
    }

    /// Carries `job` out on the pool and returns what it made; `None` when the job panicked or the
    /// pool is gone. Waits while [`QUEUE_JOBS_MAX`] others wait.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, result) = oneshot::channel();
        let job = move || {
            if done.send(job()).is_err() {
                debug!("nobody waits for this page any more");
            }
        };
        self.jobs.send(Box::new(job)).await.ok()?;
        result.await.ok()
    }
}

fn work(queue: &Mutex<mpsc::Receiver<Job>>) {
    if let Err(cause) = rustix::process::setpriority_process(None, NICE) {
        debug!(%cause, "dump thread keeps its priority");
    }
    while let Some(job) = next_job(queue) {
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            error!("a dump job panicked; its session ends");
        }
    }
}

fn next_job(queue: &Mutex<mpsc::Receiver<Job>>) -> Option<Job> {
    queue
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .blocking_recv()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panicking_job_ends_alone() {
        let pool = DumpPool::start(NonZeroUsize::MIN).unwrap();
        assert_eq!(pool.run(|| panic!("on purpose")).await, None::<u8>);
        assert_eq!(pool.run(|| 7).await, Some(7));
    }
}

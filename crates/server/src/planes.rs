//! The dump pool: threads that walk lists so that nobody else has to.

use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, error};

/// Jobs that may wait for a thread; a session beyond that waits for its place.
const QUEUE_JOBS_MAX: usize = 256;
/// Added to the threads' nice value: a dump yields to whoever answers a NOOP.
const NICE: i32 = 10;

type Work = Box<dyn FnOnce() + Send>;

/// Threads of lower priority for work whose length grows with the list. Cheap to clone; the threads
/// end when the last clone is gone.
#[derive(Clone)]
pub struct DumpPool {
    jobs: mpsc::Sender<Work>,
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

    /// Carries `work` out on the pool and returns what it made; `None` when the work panicked or the
    /// pool is gone. Waits while [`QUEUE_JOBS_MAX`] others wait.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.start_job(work).result().await
    }

    /// Hands work to the pool at once, or in turn where [`QUEUE_JOBS_MAX`] others wait.
    pub(crate) fn start_job<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Job<T> {
        let (job, result) = to_job(work);
        // A task of its own would have its turn only when that of the session ends, which sends a page first.
        match self.jobs.try_send(job) {
            Ok(()) | Err(TrySendError::Closed(_)) => Job(Place::Queued(result)),
            Err(TrySendError::Full(job)) => {
                let jobs = self.jobs.clone();
                Job::of_task(async move {
                    jobs.send(job).await.ok()?;
                    result.await.ok()
                })
            }
        }
    }

    /// As [`DumpPool::start_job`], once something has happened; a future that is given up with the job.
    pub(crate) fn start_job_after<T: Send + 'static>(
        &self,
        before: impl Future<Output = ()> + Send + 'static,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Job<T> {
        let pool = self.clone();
        Job::of_task(async move {
            before.await;
            pool.run(work).await
        })
    }
}

/// Work that the pool does for a session while the session does something else. Given up with it.
pub(crate) struct Job<T>(Place<T>);

enum Place<T> {
    /// In the pool's queue, or in work.
    Queued(oneshot::Receiver<T>),
    /// Before it.
    Outside(AbortOnDropHandle<Option<T>>),
}

impl<T: Send + 'static> Job<T> {
    fn of_task(task: impl Future<Output = Option<T>> + Send + 'static) -> Self {
        Self(Place::Outside(AbortOnDropHandle::new(tokio::spawn(task))))
    }

    /// What it made; `None` when it failed. May be cancelled and called again, but not once it has
    /// answered.
    pub(crate) async fn result(&mut self) -> Option<T> {
        match &mut self.0 {
            Place::Queued(result) => result.await.ok(),
            Place::Outside(task) => task.await.ok().flatten(),
        }
    }
}

fn to_job<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> (Work, oneshot::Receiver<T>) {
    let (done, result) = oneshot::channel();
    let work = move || {
        if done.send(work()).is_err() {
            debug!("nobody waits for this page any more");
        }
    };
    (Box::new(work), result)
}

fn work(queue: &Mutex<mpsc::Receiver<Work>>) {
    if let Err(cause) = rustix::process::setpriority_process(None, NICE) {
        debug!(%cause, "dump thread keeps its priority");
    }
    while let Some(job) = next_job(queue) {
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            error!("a dump job panicked; its session ends");
        }
    }
}

fn next_job(queue: &Mutex<mpsc::Receiver<Work>>) -> Option<Work> {
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

    /// Those that find the queue full wait outside; those given up are not waited for.
    #[tokio::test]
    async fn every_job_has_its_turn() {
        let pool = DumpPool::start(NonZeroUsize::MIN).unwrap();
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let first = pool.start_job(move || gate.recv().is_err());
        let numbers = 0..2 * QUEUE_JOBS_MAX;
        let jobs: Vec<_> = numbers
            .clone()
            .map(|number| pool.start_job(move || number))
            .collect();
        drop(first);
        drop(open);
        for (number, mut job) in numbers.zip(jobs) {
            if number % 3 > 0 {
                assert_eq!(job.result().await, Some(number));
            }
        }
    }
}

//! Threads of the bench, each with a runtime of its own: what one measures does not wait for the tasks of another, only
//! for a processor.

use std::thread;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// Work under way on a thread of its own. Dropping it does not end it; its token does.
pub struct Worker<T> {
    name: &'static str,
    result: oneshot::Receiver<Option<Result<T, Error>>>,
}

impl<T: Send + 'static> Worker<T> {
    /// Begins `work`, which is dropped where it waits when `cancel` is cancelled.
    pub fn start<F>(
        name: &'static str,
        cancel: &CancellationToken,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> Result<Self, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let (sender, result) = oneshot::channel();
        let cancel = cancel.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::system("start a runtime"))?;
        let run = move || {
            let done = runtime.block_on(cancel.run_until_cancelled(work()));
            // Nobody may want to know any more.
            sender.send(done).unwrap_or_default();
        };
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .map_err(Error::system("start a thread"))?;
        Ok(Self { name, result })
    }

    /// What came of it; nothing if it was cancelled.
    pub async fn ended(self) -> Result<Option<T>, Error> {
        match self.result.await {
            Ok(done) => done.transpose(),
            Err(_) => Err(Error::Thread { name: self.name }),
        }
    }

    /// What came of work that nobody cancels.
    pub async fn done(self) -> Result<T, Error> {
        let name = self.name;
        self.ended().await?.ok_or(Error::Thread { name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[tokio::test]
    async fn work_is_done_elsewhere_and_ends_when_told() {
        let cancel = CancellationToken::new();
        let worker = Worker::start("seven", &cancel, || async { Ok(7) }).unwrap();
        assert_eq!(worker.done().await.unwrap(), 7);
        let endless = Worker::start("endless", &cancel, pending::<Result<(), Error>>).unwrap();
        cancel.cancel();
        assert!(endless.ended().await.unwrap().is_none());
    }
}

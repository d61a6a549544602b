//! The handle of a running exporter.

use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use store::{Sequence, Store};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::error;

use crate::worker::{Told, Worker};
use crate::{ExporterConfig, Health};

/// An exporter at work in a thread of its own. Dropped, it stops by itself; [`shutdown`] waits for
/// that.
///
/// [`shutdown`]: Self::shutdown
#[derive(Debug)]
pub struct Exporter {
    reached: watch::Receiver<Sequence>,
    ready: watch::Receiver<bool>,
    health: watch::Receiver<Health>,
    stop: DropGuard,
    ended: oneshot::Receiver<()>,
    thread: JoinHandle<()>,
}

impl Exporter {
    /// Starts to keep the file equal to the list of `store`, which must be **complete**: what it
    /// lacks is deleted from the file. Fails only if no thread can be started; trouble with the
    /// file shows in [`health`](Self::health).
    ///
    /// The exporter holds the store: shut it down before the store, or the store does not end.
    pub fn start(store: Store, config: ExporterConfig) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let (reached, ready) = (watch::Sender::new(Sequence(0)), watch::Sender::new(false));
        let health = watch::Sender::new(Health::Good);
        let (end, ended) = oneshot::channel();
        let receivers = (reached.subscribe(), ready.subscribe(), health.subscribe());
        let told = Told {
            reached,
            ready,
            health,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        let token = stop.clone();
        let thread = thread::Builder::new()
            .name("exporter".into())
            .spawn(move || {
                // Dropped however the thread ends, which tells whoever waits.
                let _end: oneshot::Sender<()> = end;
                Worker::new(store, config, told, token).run(&runtime);
            })?;
        Ok(Self {
            reached: receivers.0,
            ready: receivers.1,
            health: receivers.2,
            stop: stop.drop_guard(),
            ended,
            thread,
        })
    }

    /// Tells up to which change of the store all is in the file. Never goes back; while a file that
    /// others have replaced is compared, it stands still.
    pub fn reached(&self) -> watch::Receiver<Sequence> {
        self.reached.clone()
    }

    /// Waits until a change is in the file, at most so long; `false` if it is not there then.
    pub async fn wait_for(&self, sequence: Sequence, at_most: Duration) -> bool {
        let mut reached = self.reached.clone();
        let there = reached.wait_for(|&reached| reached >= sequence);
        matches!(tokio::time::timeout(at_most, there).await, Ok(Ok(_)))
    }

    /// Tells `true` once the file has been compared, or found as we left it, and holds what the
    /// store held at the start.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    /// Tells how exporting goes.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// Writes what the store has already, for a bounded time, keeps the position, and ends.
    pub async fn shutdown(self) {
        let Self {
            stop,
            ended,
            thread,
            ..
        } = self;
        drop(stop);
        // Never sent, only dropped: an error is the end.
        ended.await.unwrap_or_default();
        if thread.join().is_err() {
            error!("the exporter has panicked");
        }
    }
}

//! The host's `mailboxes.db`: an exporter that begins when the list is complete, and what waits for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use exporter::{Exporter, ExporterConfig, Health};
use store::{Sequence, Store};
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

/// The place of an exporter. Clones share it. The exporter deletes what the list lacks, so it is
/// started only when the list is known to be complete.
#[derive(Clone)]
pub(crate) struct Export {
    store: Store,
    config: Arc<ExporterConfig>,
    exporter: Arc<Mutex<State>>,
}

enum State {
    Waiting,
    Running(Exporter),
    Ended,
}

impl Export {
    pub(crate) fn new(store: Store, config: ExporterConfig) -> Self {
        Self {
            store,
            config: Arc::new(config),
            exporter: Arc::new(Mutex::new(State::Waiting)),
        }
    }

    /// The list is complete: exporting begins, if it has not begun.
    pub(crate) fn begin(&self) {
        let mut state = self.lock();
        if !matches!(*state, State::Waiting) {
            return;
        }
        match Exporter::start(self.store.clone(), (*self.config).clone()) {
            Ok(exporter) => {
                info!(path = %self.config.mailboxes_db.display(), "export to mailboxes.db begins");
                *state = State::Running(exporter);
            }
            Err(cause) => error!(%cause, "exporter can't be started"),
        }
    }

    /// Waits until a change is in the file; `false` if it is not there in time, or not exported at all.
    pub(crate) async fn wait_for(&self, sequence: Sequence, at_most: Duration) -> bool {
        let Some(mut reached) = self.reached() else {
            return false;
        };
        let there = reached.wait_for(|&reached| reached >= sequence);
        matches!(tokio::time::timeout(at_most, there).await, Ok(Ok(_)))
    }

    /// Waits until a change is in the file, as long as it takes.
    pub(crate) async fn wait(&self, sequence: Sequence) {
        let Some(mut reached) = self.reached() else {
            return;
        };
        let there = reached.wait_for(|&reached| reached >= sequence).await;
        if there.is_err() {
            debug!("exporting has ended while somebody waited for it");
        }
    }

    /// How exporting goes; `None`: it has not begun.
    pub(crate) fn health(&self) -> Option<Health> {
        match &*self.lock() {
            State::Running(exporter) => Some(exporter.health().borrow().clone()),
            State::Waiting | State::Ended => None,
        }
    }

    /// Whether exporting has begun.
    pub(crate) fn is_running(&self) -> bool {
        matches!(&*self.lock(), State::Running(_))
    }

    /// Ends exporting, for good.
    pub(crate) async fn end(&self) {
        let before = std::mem::replace(&mut *self.lock(), State::Ended);
        if let State::Running(exporter) = before {
            exporter.shutdown().await;
        }
    }

    fn reached(&self) -> Option<watch::Receiver<Sequence>> {
        match &*self.lock() {
            State::Running(exporter) => Some(exporter.reached()),
            State::Waiting | State::Ended => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.exporter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An OK that waits for the file: with a bound, since a stopped process may hold the file's lock.
#[derive(Clone)]
pub(crate) struct BeforeOk {
    pub(crate) export: Export,
    pub(crate) at_most: Duration,
    /// The bound was reached, and the alarm given, since the file was last in time.
    pub(crate) alarmed: Arc<std::sync::atomic::AtomicBool>,
}

impl BeforeOk {
    pub(crate) async fn wait(self, sequence: Sequence) {
        use std::sync::atomic::Ordering::Relaxed;
        if !self.export.is_running() {
            return;
        }
        if self.export.wait_for(sequence, self.at_most).await {
            if self.alarmed.swap(false, Relaxed) {
                info!("mailboxes.db is in time again");
            }
        } else if !self.alarmed.swap(true, Relaxed) {
            warn!(health = ?self.export.health(), "mailboxes.db is late: edits are answered before they are in it");
        }
    }
}

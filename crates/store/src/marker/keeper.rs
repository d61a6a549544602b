//! Keeping the marker up to date.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tracing::{error, info, warn};

use crate::Store;
use crate::file::FileSystem;
use crate::marker::Marker;
use crate::store::Watcher;

/// Pause between two markers.
const PAUSE: Duration = Duration::from_secs(1);

/// Writes the marker of a store, at most about once a second and at the end. In recovery it keeps the
/// figures from before.
pub struct Keeper {
    recovery: Arc<AtomicBool>,
    /// Wakes the thread; dropped, it ends it.
    wake: SyncSender<()>,
    thread: thread::JoinHandle<()>,
}

impl Keeper {
    /// Starts keeping. `before` is the marker that was found, and `recovery` whether this start is in
    /// recovery. The first marker is written before this returns.
    pub fn start(
        fs: impl FileSystem,
        path: PathBuf,
        store: &Store,
        before: Option<Marker>,
        recovery: bool,
    ) -> io::Result<Self> {
        let recovery = Arc::new(AtomicBool::new(recovery));
        let (wake, wakes) = sync_channel(1);
        let mut keeping = Keeping {
            fs: Box::new(fs),
            path,
            versions: store.watcher(),
            before,
            written: None,
            recovery: Arc::clone(&recovery),
        };
        keeping.write()?;
        let thread = thread::Builder::new().name("store-marker".into());
        let thread = thread.spawn(move || {
            loop {
                let woken = wakes.recv_timeout(PAUSE);
                keeping.try_write();
                if woken == Err(RecvTimeoutError::Disconnected) {
                    break;
                }
            }
        })?;
        Ok(Self {
            recovery,
            wake,
            thread,
        })
    }

    /// Enters or ends recovery; the marker follows at once.
    pub fn set_recovery(&self, recovery: bool) {
        self.recovery.store(recovery, Ordering::Release);
        if self.wake.try_send(()).is_err() {
            // Full: the wake that is in it is as good as this one.
        }
    }

    /// Writes the last marker. To be called after the store's shutdown.
    pub fn stop(self) {
        drop(self.wake);
        if self.thread.join().is_err() {
            error!("the thread that keeps the state file has panicked");
        }
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper")
            .field("recovery", &self.recovery)
            .finish_non_exhaustive()
    }
}

struct Keeping {
    fs: Box<dyn FileSystem>,
    path: PathBuf,
    versions: Watcher,
    before: Option<Marker>,
    /// What stands in the file, or that the last attempt failed.
    written: Option<Result<Marker, ()>>,
    recovery: Arc<AtomicBool>,
}

impl Keeping {
    fn try_write(&mut self) {
        let failed_before = self.written == Some(Err(()));
        match self.write() {
            Err(cause) if !failed_before => {
                warn!(path = %self.path.display(), %cause, "state file can't be written");
                self.written = Some(Err(()));
            }
            Ok(()) if failed_before => {
                info!(path = %self.path.display(), "state file written again");
            }
            Ok(()) | Err(_) => {}
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let marker = self.wanted();
        if self.written != Some(Ok(marker)) {
            marker.write(&*self.fs, &self.path)?;
            self.written = Some(Ok(marker));
        }
        Ok(())
    }

    fn wanted(&mut self) -> Marker {
        let now = Marker::of(&self.versions.current());
        if self.recovery.load(Ordering::Acquire) {
            let before = *self.before.get_or_insert(now);
            return Marker {
                recovery: true,
                ..before
            };
        }
        self.before = Some(now);
        now
    }
}

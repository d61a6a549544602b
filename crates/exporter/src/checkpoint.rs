//! When the file is written anew, and the thread that does it.

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cyrusdb::Error;
use cyrusdb::mailboxes::{KeyStyle, Record};
use cyrusdb::twoskip::{Checkpointed, Database};
use nix::sys::statvfs::statvfs;
use store::Version;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{CheckpointPolicy, ExporterConfig};

/// What a record takes in the file beside its key and value, on average.
const RECORD_OVERHEAD: u64 = 52;
/// Entries looked at to learn how long a record is.
const SAMPLES: usize = 1000;
/// Pause after a checkpoint that failed.
const RETRY_PAUSE: Duration = Duration::from_mins(1);
/// How long the swap may wait for others' locks.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(1);

type Outcome = Result<Checkpointed, Error>;

/// Checkpoints, one at a time, each in a thread of its own: the export goes on meanwhile.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    running: Option<(Receiver<Outcome>, JoinHandle<()>)>,
    not_before: Instant,
}

impl Checkpoints {
    pub(crate) fn new() -> Self {
        Self {
            running: None,
            not_before: Instant::now(),
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Starts one if it is time. `committed` and `records` are the file's.
    pub(crate) fn consider(
        &mut self,
        config: &ExporterConfig,
        (committed, records): (u64, u64),
        record_bytes: u64,
        stop: &CancellationToken,
    ) {
        if self.running.is_some() || Instant::now() < self.not_before {
            return;
        }
        let live = records.saturating_mul(record_bytes).max(336);
        let free = free_bytes(config);
        let in_window = config.checkpoint.window.is_none_or(crate::Window::is_now);
        if !is_due(&config.checkpoint, committed, live, free, in_window) {
            return;
        }
        if free.is_some_and(|free| free < live) {
            warn!(path = %config.mailboxes_db.display(), "too little space to write mailboxes.db anew");
            self.not_before = Instant::now() + RETRY_PAUSE;
            return;
        }
        self.start(config, stop.clone());
    }

    fn start(&mut self, config: &ExporterConfig, stop: CancellationToken) {
        let (told, outcome) = sync_channel(1);
        let path = config.mailboxes_db.clone();
        let mut options = config.options();
        options.lock_wait_max = LOCK_WAIT_MAX;
        let run = move || {
            let opened = Database::open_path(&path, options);
            let done = opened.and_then(|mut database| database.checkpoint(|_| go_on(&stop)));
            // Whoever no longer listens will compare.
            told.send(done).unwrap_or_default();
        };
        let thread = thread::Builder::new().name("export-checkpoint".into());
        match thread.spawn(run) {
            Ok(thread) => self.running = Some((outcome, thread)),
            Err(error) => {
                warn!(cause = %error, "can't start a thread for a checkpoint");
                self.not_before = Instant::now() + RETRY_PAUSE;
            }
        }
    }

    /// The outcome of one that has ended; waits for it at most that long.
    pub(crate) fn ended(&mut self, wait_max: Duration) -> Option<Checkpointed> {
        let (outcome, _) = self.running.as_ref()?;
        let ended = if wait_max.is_zero() {
            match outcome.try_recv() {
                Ok(outcome) => Some(outcome),
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => None,
            }
        } else {
            match outcome.recv_timeout(wait_max) {
                Ok(outcome) => Some(outcome),
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => None,
            }
        };
        self.running = None;
        match ended {
            Some(Ok(done)) => {
                info!(
                    bytes_before = done.bytes_before,
                    bytes_after = done.bytes_after,
                    locked_for_ms = done.locked_for.as_millis(),
                    "mailboxes.db written anew"
                );
                return Some(done);
            }
            Some(Err(Error::GivenUp)) => debug!("checkpoint given up"),
            Some(Err(error)) => warn!(cause = %error, "checkpoint failed, it is tried again later"),
            None => warn!("checkpoint ended without an outcome"),
        }
        self.not_before = Instant::now() + RETRY_PAUSE;
        None
    }

    /// Waits for a running one, which has been told to stop.
    pub(crate) fn join(&mut self) -> Option<Checkpointed> {
        let (outcome, thread) = self.running.take()?;
        if thread.join().is_err() {
            warn!("a checkpoint has panicked");
        }
        outcome.try_recv().ok()?.ok()
    }
}

fn go_on(stop: &CancellationToken) -> ControlFlow<()> {
    if stop.is_cancelled() {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}

/// Whether a file of `committed` bytes, of which about `live` count, should be written anew.
fn is_due(
    policy: &CheckpointPolicy,
    committed: u64,
    live: u64,
    free: Option<u64>,
    in_window: bool,
) -> bool {
    let beyond = |factor: u64| committed > live.saturating_mul(factor);
    let disk_low = free.is_some_and(|free| free < policy.free_bytes_min);
    committed > policy.bytes_min
        && (beyond(policy.factor_max)
            || in_window && beyond(policy.factor)
            || disk_low && beyond(2))
}

fn free_bytes(config: &ExporterConfig) -> Option<u64> {
    let found = statvfs(&config.mailboxes_db).ok()?;
    Some(
        found
            .blocks_available()
            .saturating_mul(found.fragment_size()),
    )
}

/// How long a record of this list is on average, in bytes of the file.
pub(crate) fn record_bytes(version: &Version, style: KeyStyle) -> u64 {
    let step = version.len() / SAMPLES + 1;
    let (mut bytes, mut count) = (0_u64, 0_u64);
    for listed in version.walk().step_by(step) {
        let value = Record::encode(style, listed.entry, 1_000_000_000);
        let len = u64::try_from(listed.mailbox.len() + value.len()).unwrap_or_default();
        bytes += len + RECORD_OVERHEAD;
        count += 1;
    }
    bytes.checked_div(count).unwrap_or(2 * RECORD_OVERHEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_anew_when_little_of_it_lives() {
        let policy = CheckpointPolicy::default();
        let mega = 1 << 20;
        let due = |committed, free, in_window| {
            is_due(&policy, committed * mega, 10 * mega, Some(free), in_window)
        };
        assert!(!due(20, u64::MAX, true));
        assert!(due(21, u64::MAX, true));
        assert!(!due(21, u64::MAX, false) && !due(40, u64::MAX, false));
        assert!(due(41, u64::MAX, false));
        assert!(due(21, mega, false) && !due(20, mega, false));
        assert!(!is_due(&policy, 10_000, 1, None, true));
    }
}

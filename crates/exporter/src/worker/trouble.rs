//! Failures: told once, tried again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::Worker;
use crate::{ExportError, Health, holder};

/// First pause after a failure; each further one is twice as long.
const RETRY_MIN: Duration = Duration::from_millis(100);

/// Failures since the last success.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    since: Option<Instant>,
    failures: u32,
}

impl Worker {
    /// A step went well.
    pub(super) fn succeeded(&mut self) {
        if self.alarm.since.is_none() {
            return;
        }
        self.alarm = Alarm::default();
        if self.told.health.send_replace(Health::Good) != Health::Good {
            info!("mailboxes.db is being kept again");
        }
    }

    /// A step failed: what is under way stays, except that the file is opened anew. Returns the
    /// pause before the next try.
    pub(super) fn failed(&mut self, error: ExportError) -> Duration {
        let since = *self.alarm.since.get_or_insert_with(Instant::now);
        if error.is_locked() {
            if since.elapsed() >= self.config.lock_alarm {
                self.tell_lock_held();
            }
            return Duration::from_millis(1);
        }
        let doublings = self.alarm.failures.min(16);
        self.alarm.failures += 1;
        self.table = None;
        if let ExportError::Database { source, .. } = &error
            && (source.is_corrupt() || matches!(source, cyrusdb::Error::OtherFormat { .. }))
        {
            self.misfit(error);
        } else {
            self.tell_failing(&error);
        }
        (RETRY_MIN * 2_u32.saturating_pow(doublings)).min(self.config.retry_max)
    }

    /// A file that can't be kept, found while it was in use.
    fn misfit(&mut self, error: ExportError) {
        let version = self.store.current();
        match super::rebuild(&self.config, error, self.style, &version) {
            Ok(()) => self.lose("mailboxes.db was replaced by a new file"),
            Err(error) => self.tell_failing(&error),
        }
    }

    fn tell_lock_held(&mut self) {
        let holder = holder::of(&self.config.mailboxes_db);
        let (pid, stopped) = holder.map_or((None, false), |h| (Some(h.pid), h.stopped));
        let health = Health::LockHeld { pid, stopped };
        let before = self.told.health.send_replace(health);
        if !matches!(before, Health::LockHeld { .. }) {
            error!(
                pid, stopped, path = %self.config.mailboxes_db.display(),
                "another process holds the lock of mailboxes.db, the export waits"
            );
        }
    }

    fn tell_failing(&mut self, failure: &ExportError) {
        let why: Arc<str> = failure.to_string().into();
        let before = self.told.health.send_replace(Health::Failing {
            why: Arc::clone(&why),
        });
        if matches!(&before, Health::Failing { why: told } if *told == why) {
            return;
        }
        if self.stop.is_cancelled() {
            warn!(cause = %failure, "mailboxes.db can't be kept");
        } else {
            error!(cause = %failure, "mailboxes.db can't be kept, it is tried again");
        }
    }
}

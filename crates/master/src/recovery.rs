//! Whether the master trusts its own list.
//!
//! A Cyrus slave deletes what a dump lacks, and a backend's `ctl_mboxlist -m` deletes *real mailboxes*
//! when FIND names another host. So a master whose store is missing, empty or older than it was
//! starts in recovery: backends may push their lists, nobody is told anything that could delete.
//! An operator ends it.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The state of recovery, shared by everything that has to know.
#[derive(Debug, Default)]
pub struct Recovery {
    reason: Mutex<Option<String>>,
}

impl Recovery {
    /// The list is trusted.
    pub fn off() -> Self {
        Self::default()
    }

    /// The list is not to be trusted from here on.
    pub fn begin(&self, reason: &str) {
        *self.lock() = Some(reason.to_owned());
    }

    /// An operator says that the list is complete. False when there was no recovery.
    pub fn end(&self) -> bool {
        self.lock().take().is_some()
    }

    /// Whether the master is in recovery.
    pub fn is_on(&self) -> bool {
        self.lock().is_some()
    }

    /// Why it is.
    pub fn reason(&self) -> Option<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! How exporting goes, for whoever watches.

use std::sync::Arc;

/// How exporting goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Health {
    /// All is well.
    #[default]
    Good,
    /// Another process holds the file's lock for longer than it should; exporting goes on when it
    /// lets go.
    LockHeld {
        /// Its process id, where the system tells.
        pid: Option<u32>,
        /// Whether it is stopped, as by a debugger.
        stopped: bool,
    },
    /// The file can't be written, for instance because the disk is full; tried again.
    Failing {
        /// Why.
        why: Arc<str>,
    },
}

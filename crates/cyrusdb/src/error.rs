//! What can go wrong with a database file.

use std::io;

use thiserror::Error;

use crate::Format;

/// Why a database file could not be read or written. The caller knows the file's name and adds it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, as in "failed to …".
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The file is not what its writers can have left.
    #[error("damaged at offset {offset:#x}: {what}")]
    Corrupt {
        /// Where in the file, in bytes from its start.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The file has another format.
    #[error("is a {found} file, not twoskip: {}", .found.advice())]
    OtherFormat {
        /// The format that its first bytes show.
        found: Format,
    },
    /// A later version of twoskip than 1.
    #[error("has twoskip version {0}, which is not known")]
    Version(u32),
    /// Other processes held the lock for all of the time that we were told to wait.
    #[error("another process holds the lock for more than {seconds} s")]
    Locked {
        /// How long we waited.
        seconds: u64,
    },
    /// The file keeps being replaced while we try to lock it, or was replaced during a checkpoint.
    #[error("the file was replaced meanwhile")]
    Replaced,
    /// Another checkpoint of the same file is running.
    #[error("another checkpoint of this file is running")]
    CheckpointRunning,
    /// Others write faster than the checkpoint can follow.
    #[error("too much is written meanwhile: try at a quieter time")]
    TooBusy,
    /// The caller's progress callback ended the checkpoint; the file is as it was.
    #[error("given up on request, the file is as it was")]
    GivenUp,
    /// A key without a single byte.
    #[error("a key can't be empty")]
    EmptyKey,
    /// The transaction does not fit into memory bounds.
    #[error("a transaction can't be larger than {max} bytes")]
    TransactionTooLarge {
        /// The bound.
        max: usize,
    },
    /// A transaction that met an error before.
    #[error("the transaction was given up after an earlier error")]
    Aborted,
    /// The database was opened for reading.
    #[error("opened for reading only")]
    ReadOnly,
}

impl Error {
    /// For `map_err`: an I/O error with what was tried.
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }

    /// Damage at an offset.
    pub(crate) fn corrupt(offset: u64, what: &'static str) -> Self {
        Self::Corrupt { offset, what }
    }

    /// Whether this tells of damage, with an offset.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }
}

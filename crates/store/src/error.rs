//! What ends an opening or a request.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a request to the writer has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EditError {
    /// The disk failed while the edits were made durable: they may or may not be there after a
    /// restart. The session must be closed without an answer.
    #[error("disk failed while making edits durable, their outcome is unknown")]
    OutcomeUnknown,
    /// The log can't be written: nothing was done. Edits are answered with
    /// [`proto::Refusal::Storage`] instead.
    #[error("log can't be written")]
    Refused,
    /// The store has been shut down.
    #[error("store has stopped")]
    Stopped,
}

/// Why a store can't be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it.
    #[error("data directory {} is in use by another process", dir.display())]
    Locked {
        /// The data directory.
        dir: PathBuf,
    },
    /// A file can't be read or written.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file was written by a later version.
    #[error("{} has format {found}, which this version does not know", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// A file is damaged where that can't be the trace of a crash.
    #[error(
        "{} is damaged at offset {offset}: {what}; restore the directory from a backup, or move it \
         away and start from a peer or an export (and keep the state file, so that the server \
         starts in recovery)",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage begins, in octets.
        offset: u64,
        /// What is wrong.
        what: String,
    },
}

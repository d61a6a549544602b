//! What an opening found.

use std::path::PathBuf;

use thiserror::Error;

/// How a store was opened.
#[derive(Debug, Default)]
pub struct OpenReport {
    /// There was none, and a new one was made.
    pub created: bool,
    /// The snapshot it started from.
    pub snapshot: Option<PathBuf>,
    /// Its length in octets.
    pub snapshot_bytes: u64,
    /// Groups replayed from the log.
    pub replayed_groups: u64,
    /// Their octets.
    pub replayed_bytes: u64,
    /// What was not as it should be, for the log and the operator; what reading the history finds
    /// comes later ([`Store::history_findings`](crate::Store::history_findings)). The list is right
    /// all the same, but after a [`Finding::CutOff`] it may lack acknowledged changes: the marker tells.
    pub findings: Vec<Finding>,
}

/// Something that was not as it should be, and what was done about it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Finding {
    /// The end of the log was no whole group, as after a crash.
    #[error(
        "{}: {bytes} octets at offset {offset} are no whole group and were cut off",
        path.display()
    )]
    CutOff {
        /// The segment.
        path: PathBuf,
        /// Where they began.
        offset: u64,
        /// How many.
        bytes: u64,
    },
    /// A snapshot could not be used; an older one, or the whole log, was.
    #[error("{}: snapshot unusable at offset {offset}: {what}", path.display())]
    SnapshotUnusable {
        /// The snapshot.
        path: PathBuf,
        /// Where the damage is, in octets.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A part of the log that only history needs is damaged: feeds can't resume from before it.
    #[error("{}: damaged at offset {offset}, history begins after it", path.display())]
    HistoryDamaged {
        /// The segment.
        path: PathBuf,
        /// Where the damage begins, in octets.
        offset: u64,
    },
    /// A part of the log that only history needs can't be read: feeds can't resume from before it.
    #[error("{}: can't be read, history begins after it: {what}", path.display())]
    HistoryUnreadable {
        /// The segment.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// The store is a copy, or was brought back from one: others may have continued its history. It
    /// stays one until [`Store::renew_token`](crate::Store::renew_token).
    #[error("{}: the store has been copied or brought back: {what}", path.display())]
    Copied {
        /// The directory.
        path: PathBuf,
        /// How it is known.
        what: String,
    },
    /// A segment without a group, left by an attempt to begin it, was removed.
    #[error("{}: begun but never used, removed", path.display())]
    Abandoned {
        /// The segment.
        path: PathBuf,
    },
}

//! What a store is remembered by outside its directory (`docs/store-format.md`, "Marker").

mod keeper;
mod text;

use std::io::{self, ErrorKind};
use std::path::Path;

use thiserror::Error;

use crate::file::{FileSystem, Open, read_full, replace};
use crate::{Epoch, Root, Sequence, Version};

pub use keeper::Keeper;

/// Longest marker that is read, in octets.
const MARKER_BYTES_MAX: usize = 4096;

/// How far a store had come when it was last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// The history it was in.
    pub epoch: Epoch,
    /// Its last change.
    pub sequence: Sequence,
    /// Number of entries.
    pub count: u64,
    /// Digest of all entries.
    pub root: Root,
    /// The server was in recovery: the figures are from before it.
    pub recovery: bool,
}

/// Why there is no marker to go by.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MarkerError {
    /// It can't be read.
    #[error("can't read state file: {0}")]
    Io(#[from] io::Error),
    /// It is not what was written.
    #[error("state file is damaged")]
    Damaged,
}

/// Why a start must be in recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecoveryReason {
    /// The last recovery has not been ended.
    #[error("the last recovery has not been ended")]
    NotEnded,
    /// There was a list, and now there is none.
    #[error("the store is new, but there was a list of {count} entries at {sequence}")]
    Missing {
        /// Entries of the lost list.
        count: u64,
        /// Its last change.
        sequence: Sequence,
    },
    /// The store belongs to another history.
    #[error("the store is of epoch {found}, not {expected}")]
    OtherEpoch {
        /// That of the store.
        found: Epoch,
        /// That of the marker.
        expected: Epoch,
    },
    /// The store has lost its latest changes.
    #[error("the store ends at {found}, but had come to {expected}")]
    Older {
        /// The store's last change.
        found: Sequence,
        /// The marker's.
        expected: Sequence,
    },
    /// Same sequence, other content.
    #[error("the store at {sequence} is not the list that was there at {sequence}")]
    Differs {
        /// The last change of both.
        sequence: Sequence,
    },
    /// The marker is there but can't be read, so it can't vouch for the store.
    #[error("the state file is damaged")]
    MarkerDamaged,
}

impl Marker {
    /// The marker of a version.
    pub fn of(version: &Version) -> Self {
        Self {
            epoch: version.epoch(),
            sequence: version.sequence(),
            count: version.count(),
            root: version.root(),
            recovery: false,
        }
    }

    /// Reads it; `None`: there is none.
    pub fn read(fs: &dyn FileSystem, path: &Path) -> Result<Option<Self>, MarkerError> {
        let file = match fs.open(path, Open::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut octets = vec![0; MARKER_BYTES_MAX];
        let filled = read_full(&*file, &mut octets, 0)?;
        octets.truncate(filled);
        text::parse(&octets).map(Some).ok_or(MarkerError::Damaged)
    }

    /// Replaces it, durably.
    pub fn write(&self, fs: &dyn FileSystem, path: &Path) -> io::Result<()> {
        replace(fs, path, text::print(self).as_bytes())
    }

    /// Whether a store that opens with `version` must not be trusted to be what it was, and why.
    /// Without a marker there is nothing to compare with, and no reason.
    pub fn assess(
        marker: &Result<Option<Self>, MarkerError>,
        version: &Version,
    ) -> Option<RecoveryReason> {
        let marker = match marker {
            Ok(None) => return None,
            Ok(Some(marker)) => marker,
            Err(_) => return Some(RecoveryReason::MarkerDamaged),
        };
        let (found, expected) = (version.sequence(), marker.sequence);
        if marker.recovery {
            return Some(RecoveryReason::NotEnded);
        }
        if expected == Sequence::default() && version.is_empty() {
            return None;
        }
        if !version.lineage().includes(marker.epoch, expected) {
            return Some(marker.other_history(version));
        }
        if found < expected {
            return Some(RecoveryReason::Older { found, expected });
        }
        let same = version.count() == marker.count && version.root() == marker.root;
        (found == expected && !same).then_some(RecoveryReason::Differs { sequence: found })
    }

    fn other_history(&self, version: &Version) -> RecoveryReason {
        if version.is_empty() {
            return RecoveryReason::Missing {
                count: self.count,
                sequence: self.sequence,
            };
        }
        RecoveryReason::OtherEpoch {
            found: version.epoch(),
            expected: self.epoch,
        }
    }
}

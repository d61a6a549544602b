//! The log: segment files of groups of changes (`docs/store-format.md`, "Log").

pub(crate) mod append;
pub(crate) mod group;
pub(crate) mod group_reader;
mod read;
pub(crate) mod record;
pub(crate) mod scan;
pub(crate) mod segment;

pub use group::Group;
pub use read::{Groups, ReadError, read};
pub use record::{Change, Operation, Origin, Record, What};

/// A place in the log: the end of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// Number of the segment.
    pub segment: u64,
    /// Offset into its file, in octets.
    pub offset: u64,
}

//! Cyrus's own database files, read and written while Cyrus processes do the same.
//!
//! - [`twoskip`]: the file format: reading, transactions, recovery, checkpoint, integrity check.
//! - [`mailboxes`]: the records of `mailboxes.db`, in both key styles, with reverse ACLs.
//! - [`detect`]: formats told apart by their first bytes.
//! - [`dlist`], [`listing`]: the text forms inside values, and of listings.
//!
//! The format is described in `docs/mailboxes-db-format.md`, whose sections the code cites.

pub mod detect;
pub mod dlist;
mod error;
pub mod file;
pub mod listing;
pub mod lock;
pub mod mailboxes;
pub mod twoskip;

pub use detect::Format;
pub use error::Error;

/// A length in memory as a length in a file.
pub(crate) fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

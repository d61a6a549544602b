//! The other way: a `mailboxes.db` read, for a master that takes over from Cyrus's.
//!
//! An empty store takes the whole file ([`into_empty`]). A store that has a list already stands; of
//! the file it takes only what was written later than our last export *and* than the store's own
//! last change of that name ([`later`]), and loses what a later writer removed ([`gone`]): what a Cyrus
//! master did while ours was not running.

mod gone;
mod into;
mod read;
mod times;

pub use gone::{Gone, gone};
pub use into::{ImportError, Imported, into_empty, later};
pub use read::{FileEntry, FileList, Unused, Why, read};
pub use times::ChangeTimes;

//! The twoskip format: databases that Cyrus processes read and write at the same time.
//!
//! ```no_run
//! use cyrusdb::twoskip::{Database, Options};
//! # fn main() -> Result<(), cyrusdb::Error> {
//! let mut database = Database::open_path("/var/lib/cyrus/mailboxes.db".as_ref(), Options::default())?;
//! let mut transaction = database.write()?;
//! transaction.put(b"key", b"value")?;
//! transaction.commit()?;
//! assert_eq!(database.get(b"key")?.as_deref(), Some(b"value".as_slice()));
//! # Ok(()) }
//! ```

mod build;
mod check;
mod checkpoint;
mod cursor;
mod database;
mod header;
mod load;
mod pages;
mod peek;
mod read;
mod record;
mod recover;
mod txn;
mod write;

pub use build::build;
pub use check::{Check, Fault, Totals};
pub use checkpoint::{Checkpointed, Progress};
pub use cursor::Order;
pub use database::{Database, Identity, Options};
pub use header::Header;
pub use read::{Pair, Reading};
pub use txn::TRANSACTION_BYTES_MAX;
pub use write::Transaction;

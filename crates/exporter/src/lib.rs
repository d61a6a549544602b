//! Keeps a Cyrus `mailboxes.db` equal to the list of a store, and reads such a file.
//!
//! [`Exporter`] has a thread of its own. It follows the store's history in short transactions, under
//! Cyrus's own locks, beside Cyrus's own readers and writers; whatever others do to the file under it
//! is noticed and answered by a comparison, after which only differences are written. What it relies
//! on, and its state file, are described in `docs/exporter.md`.
//!
//! **Start it only with a complete list.** What the store lacks is deleted from the file: a store that
//! is new, or still being filled for the first time, must not have an exporter yet.
//!
//! [`import`] goes the other way, for a master that takes over from Cyrus's, and for a slave that has no list of its own yet.

mod apply;
mod bulk;
mod checkpoint;
mod config;
mod differences;
mod error;
mod handle;
mod health;
mod holder;
mod holders;
pub mod import;
mod place;
mod position;
mod rebuild;
mod scan;
mod state;
mod style;
mod table;
mod track;
mod window;
mod worker;

pub use config::{CheckpointPolicy, ExporterConfig, Misfit, StyleSetting, TransactionBounds};
pub use error::ExportError;
pub use handle::Exporter;
pub use health::Health;
pub use state::{InvalidState, State};
pub use window::{InvalidWindow, Window};

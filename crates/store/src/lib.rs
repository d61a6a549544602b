//! The mailbox list and the log of changes that it adds up to.
//!
//! A **writer** decides edits one after the other, appends them to the log in groups, and publishes
//! an immutable [`Version`] for each group once it is durable. Everybody else reads versions and
//! never waits for the writer. A [`Feed`] is a cursor into the latest changes. Snapshots shorten the
//! next start. All files and what they assume of a disk: `docs/store-format.md`.
//!
//! No socket and no role: what an edit may do is decided by the [`Rules`] that the store is opened
//! with.

#![warn(clippy::wildcard_enum_match_arm)]

mod buckets;
mod bytes;
mod config;
mod digest;
mod digests;
mod draft;
mod error;
mod feed;
mod file;
pub mod fuzz;
mod guard;
mod history;
mod ids;
mod intern;
mod list;
pub mod log;
pub mod marker;
mod octets;
mod place;
mod recover;
mod rules;
mod scrub;
#[cfg(feature = "sim")]
pub mod sim;
mod snapshot;
mod store;
mod sum;
mod token;
mod version;
mod writer;

pub use buckets::Buckets;
pub use config::StoreConfig;
pub use digest::Digester;
pub use error::{EditError, OpenError};
pub use feed::{Chunk, Feed, FellBehind, HostFilter, Stopped};
pub use file::{File, FileSystem, Identity, Open, OsFileSystem};
pub use guard::looks_like_loss;
pub use history::{History, Note};
pub use ids::{Epoch, Fork, Lineage, Root, Sequence};
pub use list::{Listed, Matching};
pub use log::Origin;
pub use octets::Octets;
pub use place::{Followed, Following, Mismatch, OwnerHistory, Place, Reached, Standing};
pub use recover::{Finding, OpenReport};
pub use rules::{Answer, AsTold, Batch, Committed, Decision, Rules};
pub use scrub::{ScrubFinding, ScrubReport, Scrubbed, Scrubber};
pub use snapshot::Snapshotter;
pub use store::{Health, Stepped, Store};
pub use sum::Sum;
pub use version::{EntryHash, Stored, Version};
pub use writer::{Flow, Writer};

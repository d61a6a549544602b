//! How a role decides about edits.

use proto::{Edit, Entry, Refusal};

use crate::{Origin, Sequence, Stored};

/// What is to become of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is set.
    Set {
        /// The new entry.
        entry: Entry,
        /// The old one is contradicted, and kept beside it until the conflicts are forgotten.
        conflict: bool,
    },
    /// It is removed.
    Remove,
    /// It is already as wished: OK without a change.
    Nothing,
    /// NO.
    Refuse(Refusal),
}

/// A role's rules. The writer calls them with the entry as the edits before have left it.
pub trait Rules: Send {
    /// Decides one edit.
    fn decide(&mut self, current: Option<&Stored>, edit: &Edit, origin: &Origin) -> Decision;
}

/// Edits of one peer, to be answered together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Who wishes for them.
    pub origin: Origin,
    /// What is wished for, in order.
    pub edits: Vec<Edit>,
}

/// An edit that was carried out, and is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The first sequence whose list holds its outcome.
    pub sequence: Sequence,
    /// Whether there was anything to do.
    pub changed: bool,
}

/// Answer to one edit.
pub type Answer = Result<Committed, Refusal>;

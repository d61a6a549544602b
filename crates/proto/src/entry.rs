//! What the directory holds about a mailbox.

use crate::{Acl, Location};

/// What the directory knows of one mailbox. A mailbox it does not know has no entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Entry {
    /// The mailbox exists (MAILBOX on the wire).
    Active {
        /// Where it is.
        location: Location,
        /// Who may do what.
        acl: Acl,
    },
    /// A backend holds the name and may yet activate it (RESERVE on the wire). Has no ACL.
    Reserved {
        /// Who holds it.
        location: Location,
        /// The command that made it a reservation.
        by: ReservedBy,
    },
}

/// How a reservation came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReservedBy {
    /// RESERVE: a mailbox that is about to be created.
    Reserve,
    /// DEACTIVATE: a mailbox on the move between backends.
    Deactivate,
}

impl Entry {
    /// Where the mailbox is, or who has reserved it.
    pub fn location(&self) -> &Location {
        match self {
            Self::Active { location, .. } | Self::Reserved { location, .. } => location,
        }
    }

    /// The ACL of an active mailbox.
    pub fn acl(&self) -> Option<&Acl> {
        match self {
            Self::Active { acl, .. } => Some(acl),
            Self::Reserved { .. } => None,
        }
    }
}

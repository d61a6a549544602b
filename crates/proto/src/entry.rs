//! What the directory holds about a mailbox.

use crate::{Acl, AclRef, Location, LocationRef};

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
    /// The same entry, lent.
    pub fn lend(&self) -> EntryRef<'_> {
        self.into()
    }

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

/// An entry whose octets lie in memory that is somebody else's, as that of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryRef<'a> {
    /// [`Entry::Active`]
    Active {
        /// Where it is.
        location: LocationRef<'a>,
        /// Who may do what.
        acl: AclRef<'a>,
    },
    /// [`Entry::Reserved`]
    Reserved {
        /// Who holds it.
        location: LocationRef<'a>,
        /// The command that made it a reservation.
        by: ReservedBy,
    },
}

impl<'a> EntryRef<'a> {
    /// Where the mailbox is, or who has reserved it.
    pub fn location(self) -> LocationRef<'a> {
        match self {
            Self::Active { location, .. } | Self::Reserved { location, .. } => location,
        }
    }

    /// The ACL of an active mailbox.
    pub fn acl(self) -> Option<AclRef<'a>> {
        match self {
            Self::Active { acl, .. } => Some(acl),
            Self::Reserved { .. } => None,
        }
    }

    /// An entry of its own.
    pub fn to_entry(self) -> Entry {
        match self {
            Self::Active { location, acl } => Entry::Active {
                location: location.to_location(),
                acl: acl.to_acl(),
            },
            Self::Reserved { location, by } => Entry::Reserved {
                location: location.to_location(),
                by,
            },
        }
    }
}

impl<'a> From<&'a Entry> for EntryRef<'a> {
    fn from(entry: &'a Entry) -> Self {
        match entry {
            Entry::Active { location, acl } => Self::Active {
                location: location.lend(),
                acl: acl.lend(),
            },
            Entry::Reserved { location, by } => Self::Reserved {
                location: location.lend(),
                by: *by,
            },
        }
    }
}

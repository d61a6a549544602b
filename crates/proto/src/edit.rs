//! Wishes to change the directory, and why one may be refused.

use thiserror::Error;

use crate::{
    Acl, Entry, InvalidAcl, InvalidLocation, InvalidMailboxName, Location, MailboxName, ReservedBy,
};

/// A wish to change one mailbox's entry (RFC 3656 sections 4.2, 4.3, 4.4, 4.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The mailbox.
    pub mailbox: MailboxName,
    /// What is to become of it.
    pub kind: EditKind,
}

/// What an [`Edit`] asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditKind {
    /// ACTIVATE: the mailbox exists, here, with this ACL.
    Activate {
        /// Where it is.
        location: Location,
        /// Who may do what.
        acl: Acl,
    },
    /// RESERVE: nobody else may create the mailbox.
    Reserve {
        /// Who asks.
        location: Location,
    },
    /// DEACTIVATE: the mailbox becomes a reservation.
    Deactivate {
        /// Who holds it from now on.
        location: Location,
    },
    /// DELETE: forget the mailbox.
    Delete,
}

impl EditKind {
    /// The entry that it leads to where it is carried out; `None`: there is none any more.
    pub fn into_entry(self) -> Option<Entry> {
        let (location, by) = match self {
            Self::Activate { location, acl } => return Some(Entry::Active { location, acl }),
            Self::Reserve { location } => (location, ReservedBy::Reserve),
            Self::Deactivate { location } => (location, ReservedBy::Deactivate),
            Self::Delete => return None,
        };
        Some(Entry::Reserved { location, by })
    }
}

/// Why an edit is answered NO. An answer, not an error: the session goes on.
///
/// The text of each is the one on the wire; the first three are Cyrus's own.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Another server holds the name.
    #[error("mailbox already exists")]
    Exists,
    /// DEACTIVATE of a mailbox that another server has reserved.
    #[error("mailbox not currently active")]
    NotActive,
    /// DEACTIVATE, or with `mupdate_strict` DELETE, of a name without an entry.
    #[error("mailbox doesn't exist")]
    DoesNotExist,
    /// The name can't be stored without hurting a peer.
    #[error(transparent)]
    MailboxName(#[from] InvalidMailboxName),
    /// The name is longer than `mupdate_max_name` allows.
    #[error("mailbox name is longer than {max} octets")]
    NameTooLong {
        /// The configured bound, in octets.
        max: usize,
    },
    /// The location can't be stored.
    #[error(transparent)]
    Location(#[from] InvalidLocation),
    /// The ACL can't be stored.
    #[error(transparent)]
    Acl(#[from] InvalidAcl),
    /// The master does not yet trust its own list.
    #[error("master is in recovery, see 'mupdatectl recovery'")]
    InRecovery,
    /// A slave takes no edits.
    #[error("read-only session")]
    ReadOnly,
    /// The disk is full or broken: the list can be read, not changed.
    #[error("master cannot write its log, try again later")]
    Storage,
}

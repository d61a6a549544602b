//! Digests of entries and, as their sum, of lists.

use proto::{Entry, MailboxName};

use crate::bytes::{put_long, put_short};
use crate::{Lineage, Root};

const ACTIVE: u8 = 1;
const RESERVED: u8 = 2;

/// Computes entry digests with one store's key.
pub(crate) struct Digester {
    key: [u8; 32],
    scratch: Vec<u8>,
}

impl Digester {
    pub(crate) fn new(lineage: &Lineage) -> Self {
        Self {
            key: *lineage.key(),
            scratch: Vec::new(),
        }
    }

    /// First 128 bits of BLAKE3, keyed, over kind, name, location and ACL. What made a reservation is
    /// not part of it, since the wire does not tell.
    pub(crate) fn entry(&mut self, mailbox: &MailboxName, entry: &Entry) -> Root {
        self.scratch.clear();
        let kind = match entry {
            Entry::Active { .. } => ACTIVE,
            Entry::Reserved { .. } => RESERVED,
        };
        self.scratch.push(kind);
        put_short(&mut self.scratch, mailbox.key());
        put_short(&mut self.scratch, entry.location().as_bytes());
        let acl = entry.acl().map(proto::Acl::as_bytes).unwrap_or_default();
        put_long(&mut self.scratch, acl);
        let hash = blake3::keyed_hash(&self.key, &self.scratch);
        let head = hash.as_bytes().first_chunk().copied();
        Root(u128::from_be_bytes(head.unwrap_or_default()))
    }
}

impl Root {
    /// The list with one more entry.
    #[must_use]
    pub(crate) fn with(self, entry: Self) -> Self {
        Self(self.0.wrapping_add(entry.0))
    }

    /// The list with one entry less.
    #[must_use]
    pub(crate) fn without(self, entry: Self) -> Self {
        Self(self.0.wrapping_sub(entry.0))
    }
}

//! Digests of entries, and the buckets of their owners.

use proto::{AclRef, EntryRef, NameRef};

use crate::bytes::{put_long, put_short};
use crate::{Lineage, Root};

const ACTIVE: u8 = 1;
const RESERVED: u8 = 2;

/// What is hashed before an owner's key. No entry's digest begins with it.
const OWNER: &[u8] = b"owner";

/// Computes digests with one store's key ([`Lineage::key`]).
pub struct Digester {
    key: [u8; 32],
    scratch: Vec<u8>,
    /// The owner that was asked for last: one user's folders are often told behind each other.
    owner: Vec<u8>,
    owner_hash: u32,
}

impl Digester {
    pub(crate) fn new(lineage: &Lineage) -> Self {
        Self::with_key(*lineage.key())
    }

    /// Digests as a store with this key makes them.
    pub fn with_key(key: [u8; 32]) -> Self {
        Self {
            key,
            scratch: Vec::new(),
            owner: Vec::new(),
            owner_hash: 0,
        }
    }

    /// First 128 bits of BLAKE3, keyed, over kind, name, location and ACL. What made a reservation is
    /// not part of it, since the wire does not tell.
    pub fn entry<'a>(
        &mut self,
        mailbox: impl Into<NameRef<'a>>,
        entry: impl Into<EntryRef<'a>>,
    ) -> Root {
        let entry = entry.into();
        self.scratch.clear();
        let kind = match entry {
            EntryRef::Active { .. } => ACTIVE,
            EntryRef::Reserved { .. } => RESERVED,
        };
        self.scratch.push(kind);
        put_short(&mut self.scratch, mailbox.into().key());
        put_short(&mut self.scratch, entry.location().as_bytes());
        let acl = entry.acl().map(AclRef::as_bytes).unwrap_or_default();
        put_long(&mut self.scratch, acl);
        let hash = blake3::keyed_hash(&self.key, &self.scratch);
        let head = hash.as_bytes().first_chunk().copied();
        Root(u128::from_be_bytes(head.unwrap_or_default()))
    }

    /// The bucket that a mailbox's entry is in, of `buckets`, a power of two.
    pub fn bucket<'a>(&mut self, mailbox: impl Into<NameRef<'a>>, buckets: u32) -> u32 {
        self.owner(mailbox) & buckets.saturating_sub(1)
    }

    /// First 32 bits, little-endian, of BLAKE3, keyed, over `owner` and the key of the mailbox's owner
    /// ([`NameRef::owner`]). Its lowest bits are the number of the bucket.
    pub(crate) fn owner<'a>(&mut self, mailbox: impl Into<NameRef<'a>>) -> u32 {
        let (domain, owner) = mailbox.into().owner();
        let known = self.owner.split_at_checked(domain.len());
        if known == Some((domain, owner)) && !owner.is_empty() {
            return self.owner_hash;
        }
        self.owner.clear();
        self.owner.extend_from_slice(domain);
        self.owner.extend_from_slice(owner);
        self.scratch.clear();
        self.scratch.extend_from_slice(OWNER);
        self.scratch.extend_from_slice(&self.owner);
        let hash = blake3::keyed_hash(&self.key, &self.scratch);
        let head = hash.as_bytes().first_chunk().copied().unwrap_or_default();
        self.owner_hash = number(head);
        self.owner_hash
    }
}

impl std::fmt::Debug for Digester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Digester").finish_non_exhaustive()
    }
}

#[expect(clippy::little_endian_bytes, reason = "the wire's rule for buckets")]
fn number(octets: [u8; 4]) -> u32 {
    u32::from_le_bytes(octets)
}

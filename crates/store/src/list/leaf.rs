//! Entries behind each other, without a pointer among them.

use proto::{AclRef, EntryRef, LocationRef, NameRef, ReservedBy};

use super::keys::Keys;
use super::texts::Texts;
use super::{Listed, room};
use crate::{Octets, Sequence};

/// Most entries of a leaf. What an edit copies, so that older versions keep theirs, is one leaf.
pub(super) const LEAF_ENTRIES_MAX: usize = 64;
/// A leaf with more octets is split before it has as many entries.
const LEAF_BYTES_MAX: usize = 16 << 10;

/// Some entries in the order of their keys.
#[derive(Clone, Default)]
pub(crate) struct Leaf {
    keys: Keys,
    heads: Vec<Head>,
    locations: Texts,
    acls: Texts,
    octets: Octets,
}

/// What a leaf holds of an entry beside texts.
#[derive(Clone, Copy)]
struct Head {
    changed: Sequence,
    location: u8,
    kind: Kind,
    held: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Active { acl: u8 },
    Reserved(ReservedBy),
}

impl Leaf {
    pub(super) fn len(&self) -> usize {
        self.heads.len()
    }

    /// Length of its texts.
    pub(super) fn len_of_texts(&self) -> usize {
        self.keys.octets() + self.locations.octets() + self.acls.octets()
    }

    pub(super) fn first_key(&self) -> &[u8] {
        self.keys.get(0).unwrap_or_default()
    }

    /// Where a key is, or where it would have to be.
    pub(super) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        self.keys.search(key)
    }

    /// The same, on the way to setting it.
    pub(super) fn search_to_set(&self, key: &[u8]) -> Result<usize, usize> {
        self.keys.search_from_end(key)
    }

    pub(super) fn get(&self, at: usize) -> Option<Listed<'_>> {
        let head = self.heads.get(at)?;
        let location = LocationRef::of_known(self.locations.get(head.location));
        let entry = match head.kind {
            Kind::Active { acl } => EntryRef::Active {
                location,
                acl: AclRef::of_known(self.acls.get(acl)),
            },
            Kind::Reserved(by) => EntryRef::Reserved { location, by },
        };
        Some(Listed {
            mailbox: NameRef::of_known_key(self.keys.get(at)?),
            entry,
            changed: head.changed,
            held: head.held,
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Listed<'_>> {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    /// Which octets its keys have; perhaps some that only keys had that are gone.
    pub(super) fn octets(&self) -> Octets {
        self.octets
    }

    /// Where its entries are, each location once.
    pub(super) fn locations(&self) -> impl Iterator<Item = LocationRef<'_>> {
        self.locations.iter().map(LocationRef::of_known)
    }

    pub(super) fn insert(&mut self, at: usize, new: &Listed<'_>) {
        let head = self.head(at, new);
        self.keys.insert(at, new.mailbox.key());
        self.octets.add_key(new.mailbox.key());
        room(&mut self.heads, 1);
        self.heads.insert(at, head);
    }

    /// Puts an entry behind all others.
    pub(crate) fn push(&mut self, new: &Listed<'_>) {
        self.insert(self.len(), new);
    }

    /// Puts another entry of the same mailbox in the place of one.
    pub(super) fn replace(&mut self, at: usize, new: &Listed<'_>) {
        let head = self.head(at, new);
        if let Some(place) = self.heads.get_mut(at) {
            let old = std::mem::replace(place, head);
            self.let_go(old);
        }
    }

    pub(super) fn remove(&mut self, at: usize) {
        if at < self.len() {
            self.keys.remove(at);
            let old = self.heads.remove(at);
            self.let_go(old);
        }
    }

    /// Whether it is to be split.
    pub(super) fn is_overfull(&self) -> bool {
        self.len() > LEAF_ENTRIES_MAX || (self.len() > 1 && self.len_of_texts() > LEAF_BYTES_MAX)
    }

    /// Whether the next entry has to go into another leaf.
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= LEAF_ENTRIES_MAX || self.len_of_texts() >= LEAF_BYTES_MAX
    }

    /// The entries from the one at `at` on; those before it stay.
    pub(super) fn split_off(&mut self, at: usize) -> Self {
        let right = self.iter().skip(at).collect();
        if at + 1 == self.len() {
            self.remove(at);
            self.shrink();
        } else {
            *self = self.iter().take(at).collect();
        }
        right
    }

    /// Both, if that makes a leaf with room for more.
    pub(super) fn join(&self, right: &Self) -> Option<Self> {
        let fits = self.len() + right.len() <= LEAF_ENTRIES_MAX * 3 / 4
            && self.len_of_texts() + right.len_of_texts() <= LEAF_BYTES_MAX * 3 / 4;
        fits.then(|| self.iter().chain(right.iter()).collect())
    }

    /// Gives back memory that was meant for more entries.
    pub(crate) fn shrink(&mut self) {
        self.keys.shrink();
        self.heads.shrink_to_fit();
        self.locations.shrink();
        self.acls.shrink();
    }

    /// For an entry that comes to stand at a place or before it.
    fn head(&mut self, at: usize, new: &Listed<'_>) -> Head {
        let acl_of = |at: Option<usize>| match self.heads.get(at?)?.kind {
            Kind::Active { acl } => Some(acl),
            Kind::Reserved(_) => None,
        };
        let kind = match new.entry {
            EntryRef::Active { acl, .. } => {
                let neighbours = [
                    acl_of(at.checked_sub(1)),
                    acl_of(Some(at)),
                    acl_of(Some(at + 1)),
                ];
                let acl = self.acls.take_beside(acl.as_bytes(), neighbours);
                Kind::Active { acl }
            }
            EntryRef::Reserved { by, .. } => Kind::Reserved(by),
        };
        Head {
            changed: new.changed,
            location: self.locations.take(new.entry.location().as_bytes()),
            kind,
            held: new.held,
        }
    }

    fn let_go(&mut self, old: Head) {
        self.locations.give_back(old.location);
        if let Kind::Active { acl } = old.kind {
            self.acls.give_back(acl);
        }
    }
}

impl<'a> FromIterator<Listed<'a>> for Leaf {
    /// From entries in the order of their keys, as many as a leaf can have.
    fn from_iter<T: IntoIterator<Item = Listed<'a>>>(entries: T) -> Self {
        let mut leaf = Self::default();
        for entry in entries {
            leaf.push(&entry);
        }
        leaf.shrink();
        leaf
    }
}

//! Lines of a dump, each made with the help of the one before.

use std::ptr;

use super::{MAILBOX, location_and_acl, mailbox_name, reserve_line};
use crate::{AclRef, EntryRef, LocationRef, NameRef};

/// Lines of entries behind each other, the same octets as [`entry_line`](super::entry_line) makes one by one.
///
/// The mailboxes of a user mostly have one location and one ACL, and entries that are lent from a list have them in one
/// place: then a line ends as the one before does, and its end is copied whole.
pub struct Lines<'a> {
    octets: Vec<u8>,
    tag_len: usize,
    /// How a line of MAILBOX begins.
    beginning: Vec<u8>,
    /// The last line, if it was one of MAILBOX.
    last: Option<Ending<'a>>,
}

struct Ending<'a> {
    location: LocationRef<'a>,
    acl: AclRef<'a>,
    /// Octets behind the name.
    len: usize,
}

impl<'a> Lines<'a> {
    /// None as yet, with room for so many octets.
    pub fn new(tag: impl AsRef<[u8]>, room: usize) -> Self {
        let tag = tag.as_ref();
        Self {
            octets: Vec::with_capacity(room),
            tag_len: tag.len(),
            beginning: [tag, MAILBOX].concat(),
            last: None,
        }
    }

    /// Octets of all lines so far.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a page is measured, not asked whether it has begun"
    )]
    pub fn len(&self) -> usize {
        self.octets.len()
    }

    /// One line more.
    pub fn push(&mut self, name: NameRef<'_>, entry: EntryRef<'a>) {
        match entry {
            EntryRef::Active { location, acl } => self.push_mailbox(name, location, acl),
            EntryRef::Reserved { location, .. } => {
                let tag = self.beginning.get(..self.tag_len).unwrap_or_default();
                reserve_line(&mut self.octets, tag, name, location);
                self.last = None;
            }
        }
    }

    /// All octets.
    pub fn into_octets(self) -> Vec<u8> {
        self.octets
    }

    fn push_mailbox(&mut self, name: NameRef<'_>, location: LocationRef<'a>, acl: AclRef<'a>) {
        let before = self.octets.len();
        self.octets.extend_from_slice(&self.beginning);
        mailbox_name(&mut self.octets, name);
        if let Some(last) = &self.last
            && last.is_of(location, acl)
        {
            self.octets.extend_from_within(before - last.len..before);
            return;
        }
        let ending = self.octets.len();
        location_and_acl(&mut self.octets, location, acl);
        self.last = Some(Ending {
            location,
            acl,
            len: self.octets.len() - ending,
        });
    }
}

impl Ending<'_> {
    /// Whether these are the same texts, without a look at their octets.
    fn is_of(&self, location: LocationRef<'_>, acl: AclRef<'_>) -> bool {
        ptr::eq(self.location.as_bytes(), location.as_bytes())
            && ptr::eq(self.acl.as_bytes(), acl.as_bytes())
    }
}

//! Walking through the octets of a segment.

use crate::intern::Intern;
use crate::log::group::{self, Group, MAGIC};

/// What stands next in a segment.
#[derive(Debug)]
pub(crate) enum Scanned {
    /// A whole group.
    Group {
        /// Where it begins.
        offset: usize,
        /// Its octets.
        len: usize,
        /// What it says.
        group: Group,
    },
    /// Octets that are no group, up to the end of the file or to the next whole one.
    Bad {
        /// Where they begin.
        offset: usize,
        /// Whether a whole group follows somewhere, so that this can't be the trace of a crash.
        group_follows: bool,
    },
}

/// The groups of a segment up to its end or the first damage.
pub(crate) struct Scan<'a> {
    content: &'a [u8],
    offset: usize,
    ended: bool,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(content: &'a [u8], offset: usize) -> Self {
        Self {
            content,
            offset,
            ended: false,
        }
    }

    /// What stands next; locations and ACLs are shared through `interner`.
    pub(crate) fn next(&mut self, interner: &mut impl Intern) -> Option<Scanned> {
        let offset = self.offset;
        if self.ended || offset == self.content.len() {
            return None;
        }
        let rest = self.content.get(offset..).unwrap_or_default();
        if let Some((group, len)) = group::decode(rest, interner) {
            self.offset += len;
            return Some(Scanned::Group { offset, len, group });
        }
        self.ended = true;
        Some(Scanned::Bad {
            offset,
            group_follows: group_in(rest.get(1..).unwrap_or_default(), interner),
        })
    }
}

/// Whether there is a whole group anywhere.
fn group_in(octets: &[u8], interner: &mut impl Intern) -> bool {
    let mut rest = octets;
    while let Some(at) = memchr::memmem::find(rest, &MAGIC) {
        let (_, candidate) = rest.split_at(at);
        if group::decode(candidate, interner).is_some() {
            return true;
        }
        rest = candidate.get(1..).unwrap_or_default();
    }
    false
}

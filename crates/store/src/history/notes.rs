//! Changes behind each other, without a pointer for each.

use proto::{Location, MailboxName, NameRef};

use crate::{Octets, Sequence};

/// Most changes of a block: a block is copied when a change is put behind it.
const NOTES_MAX: usize = 256;
/// Most locations of a block: they are looked through for each change.
const LOCATIONS_MAX: usize = 64;

/// One change, as feeds need it: what it is now stands in the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note<'a> {
    /// Number of the change.
    pub sequence: Sequence,
    /// What was changed.
    pub mailbox: NameRef<'a>,
    /// Where it was before.
    pub old_location: Option<&'a Location>,
    /// Where it was afterwards; `None`: it was deleted.
    pub new_location: Option<&'a Location>,
}

/// A change that is yet to be noted.
#[derive(Debug, Clone)]
pub(crate) struct Noted {
    pub(crate) sequence: Sequence,
    pub(crate) mailbox: MailboxName,
    pub(crate) old_location: Option<Location>,
    pub(crate) new_location: Option<Location>,
}

/// Some changes whose numbers follow each other.
#[derive(Debug, Clone)]
pub(super) struct Notes {
    first: Sequence,
    keys: Vec<u8>,
    heads: Vec<Head>,
    locations: Vec<Location>,
    octets: Octets,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    /// Where its key ends in `keys`.
    end: u32,
    old_location: Option<Number>,
    new_location: Option<Number>,
}

/// Place of a location, from 1.
type Number = std::num::NonZeroU8;

impl Notes {
    pub(super) fn starting_with(first: Sequence) -> Self {
        Self {
            first,
            keys: Vec::new(),
            heads: Vec::new(),
            locations: Vec::new(),
            octets: Octets::default(),
        }
    }

    /// Memory that a change takes here, in octets.
    pub(super) fn bytes_of(mailbox: NameRef<'_>) -> usize {
        mailbox.len() + size_of::<Head>()
    }

    pub(super) fn first(&self) -> Sequence {
        self.first
    }

    /// The number behind the last one.
    pub(super) fn next(&self) -> Sequence {
        let len = u64::try_from(self.heads.len()).unwrap_or(u64::MAX);
        Sequence(self.first.0.saturating_add(len))
    }

    /// Which octets its keys have.
    pub(super) fn octets(&self) -> Octets {
        self.octets
    }

    /// Whether a change can be put behind these.
    pub(super) fn has_room(&self, sequence: Sequence) -> bool {
        sequence == self.next()
            && self.heads.len() < NOTES_MAX
            && self.locations.len() < LOCATIONS_MAX
    }

    pub(super) fn push(&mut self, note: &Note<'_>) {
        self.keys.extend_from_slice(note.mailbox.key());
        self.octets.add_key(note.mailbox.key());
        let head = Head {
            end: u32::try_from(self.keys.len()).unwrap_or(u32::MAX),
            old_location: note.old_location.and_then(|one| self.number(one)),
            new_location: note.new_location.and_then(|one| self.number(one)),
        };
        self.heads.push(head);
    }

    /// Gives back memory that was meant for more.
    pub(super) fn shrink(&mut self) {
        self.keys.shrink_to_fit();
        self.heads.shrink_to_fit();
        self.locations.shrink_to_fit();
    }

    /// The changes behind a position.
    pub(super) fn after(&self, position: Sequence) -> impl Iterator<Item = Note<'_>> {
        let passed = position.next().0.saturating_sub(self.first.0);
        let passed = usize::try_from(passed).unwrap_or(usize::MAX);
        (passed..self.heads.len()).filter_map(|at| self.get(at))
    }

    fn get(&self, at: usize) -> Option<Note<'_>> {
        let head = self.heads.get(at)?;
        let before = at.checked_sub(1).and_then(|before| self.heads.get(before));
        let place = |end: u32| usize::try_from(end).ok();
        let key = place(before.map_or(0, |before| before.end))?..place(head.end)?;
        let location = |number: Option<Number>| {
            let at = usize::from(number?.get()) - 1;
            self.locations.get(at)
        };
        Some(Note {
            sequence: Sequence(self.first.0 + u64::try_from(at).ok()?),
            mailbox: NameRef::of_known_key(self.keys.get(key)?),
            old_location: location(head.old_location),
            new_location: location(head.new_location),
        })
    }

    fn number(&mut self, location: &Location) -> Option<Number> {
        let known = self.locations.iter().position(|known| known == location);
        let at = known.unwrap_or_else(|| {
            self.locations.push(location.clone());
            self.locations.len() - 1
        });
        u8::try_from(at + 1).ok().and_then(Number::new)
    }
}

impl Noted {
    pub(super) fn lend(&self) -> Note<'_> {
        Note {
            sequence: self.sequence,
            mailbox: self.mailbox.lend(),
            old_location: self.old_location.as_ref(),
            new_location: self.new_location.as_ref(),
        }
    }
}

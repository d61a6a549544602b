//! The latest changes, kept in memory for feeds.

use std::sync::Arc;

use imbl::OrdMap;
use proto::{Location, MailboxName};

use crate::Sequence;
use crate::place::Follows;

/// Memory for a note beside its name: the note itself, and an allocation's overhead.
const NOTE_BYTES: usize = size_of::<Note>() + 32;

/// One change, as feeds need it: what it is now stands in the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Number of the change.
    pub sequence: Sequence,
    /// What was changed.
    pub mailbox: MailboxName,
    /// Where it was before.
    pub old_location: Option<Location>,
    /// Where it was afterwards; `None`: it was deleted.
    pub new_location: Option<Location>,
}

/// The changes of one or more groups, oldest first.
#[derive(Debug)]
struct Notes {
    notes: Box<[Note]>,
    bytes: usize,
}

/// The changes after some sequence up to the version's own. Immutable; a clone shares everything.
#[derive(Debug, Clone)]
pub struct History {
    /// By the last sequence of each.
    groups: OrdMap<Sequence, Arc<Notes>>,
    /// Changes up to this one are gone.
    start: Sequence,
    changes: usize,
    bytes: usize,
    /// The places of the owner's history that were reached, by our own sequence at the time.
    places: OrdMap<Sequence, Places>,
    /// Our own sequence, by the first place that was reached at it.
    by_place: OrdMap<Sequence, Sequence>,
    /// Which places from before `start` still hold.
    older_places: OlderPlaces,
    /// How often the owner's history was taken up at a place that the lines before do not lead to.
    gaps: u64,
}

/// Which places from before a history may be put in front of its own.
#[derive(Debug, Clone, Copy)]
enum OlderPlaces {
    All,
    /// Those up to this one.
    UpTo(Sequence),
    None,
}

/// What was reached without a change of our own in between, all of one line of epochs.
#[derive(Debug, Clone, Copy)]
struct Places {
    first: Sequence,
    last: Sequence,
}

impl History {
    pub(crate) fn starting_after(start: Sequence) -> Self {
        Self {
            groups: OrdMap::new(),
            start,
            changes: 0,
            bytes: 0,
            places: OrdMap::new(),
            by_place: OrdMap::new(),
            older_places: OlderPlaces::All,
            gaps: 0,
        }
    }

    /// That of a list at `start` which follows a history.
    pub(crate) fn starting_at(start: Sequence, follows: Option<&Follows>) -> Self {
        let mut history = Self::starting_after(start);
        if let Some(follows) = follows {
            history.insert_place(follows.at, follows.place.sequence);
        }
        history
    }

    /// The oldest position that can still be resumed from.
    pub fn start(&self) -> Sequence {
        self.start
    }

    /// The last change held.
    pub(crate) fn end(&self) -> Sequence {
        let last = self.groups.get_max();
        last.map_or(self.start, |(last, _)| *last)
    }

    /// Number of changes held.
    pub fn len(&self) -> usize {
        self.changes
    }

    /// Whether no change is held.
    pub fn is_empty(&self) -> bool {
        self.changes == 0
    }

    /// Memory used, in octets, as far as it is counted.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The changes after a position, oldest first; `None`: some of them are gone.
    pub fn since(&self, position: Sequence) -> Option<impl Iterator<Item = &Note>> {
        (position >= self.start).then(|| {
            self.groups
                .range(position.next()..)
                .flat_map(|(_, group)| group.notes.iter())
                .skip_while(move |note| note.sequence <= position)
        })
    }

    pub(crate) fn push(&mut self, notes: Vec<Note>) {
        let Some(last) = notes.last().map(|note| note.sequence) else {
            return;
        };
        let bytes = notes
            .iter()
            .map(|note| note.mailbox.len() + NOTE_BYTES)
            .sum();
        self.changes += notes.len();
        self.bytes += bytes;
        let notes = notes.into_boxed_slice();
        self.groups.insert(last, Arc::new(Notes { notes, bytes }));
    }

    /// The changes of `older` and behind them these, if they adjoin; else these.
    pub(crate) fn behind(&self, older: &Self) -> Self {
        if older.end() != self.start {
            return self.clone();
        }
        let mut both = older.clone();
        both.changes += self.changes;
        both.bytes += self.bytes;
        for (last, notes) in &self.groups {
            both.groups.insert(*last, Arc::clone(notes));
        }
        both.put_places_behind(self);
        both.gaps = self.gaps;
        both
    }

    /// Drops the oldest changes until the bounds hold. Those after `held` stay until they exceed the
    /// bounds `hard_cap_factor` times.
    pub(crate) fn cut(&mut self, bounds: &Bounds, held: impl FnOnce() -> Option<Sequence>) {
        if !self.exceeds(bounds, 1) {
            return;
        }
        let held = held();
        while self.exceeds(bounds, 1) {
            let Some(&(last, _)) = self.groups.get_min() else {
                return;
            };
            let needed = held.is_some_and(|position| position < last);
            if needed && !self.exceeds(bounds, bounds.hard_cap_factor) {
                return;
            }
            self.drop_oldest(last);
        }
    }

    fn exceeds(&self, bounds: &Bounds, factor: usize) -> bool {
        self.changes > bounds.changes_max.saturating_mul(factor)
            || self.bytes > bounds.bytes_max.saturating_mul(factor)
    }

    fn drop_oldest(&mut self, last: Sequence) {
        if let Some(group) = self.groups.remove(&last) {
            self.changes -= group.notes.len();
            self.bytes -= group.bytes;
            self.start = last;
            self.cut_places();
        }
    }
}

/// Places of the owner's history.
impl History {
    /// Our own sequence from which on there is everything that the owner has changed since a place,
    /// of the epoch that is followed or an older one that it includes; `None`: not held any more.
    ///
    /// At each sequence the first place counts: what came behind it came behind that too.
    pub(crate) fn local_of(&self, place: Sequence) -> Option<Sequence> {
        let (_, local) = self.by_place.get_prev(&place)?;
        (*local >= self.start).then_some(*local)
    }

    /// The last place that was reached at or before one of our own sequences.
    pub(crate) fn place_at(&self, local: Sequence) -> Option<Sequence> {
        let (_, places) = self.places.get_prev(&local)?;
        Some(places.last)
    }

    /// A place was reached. `before` is what was followed until then; without it nobody can be told
    /// the changes between an older place and this one.
    pub(crate) fn reach(&mut self, before: Option<&Follows>, now: &Follows) {
        match before {
            None => self.forget_places(),
            Some(before) if before.place.epoch != now.place.epoch => {
                let left = now.forks.iter().rev();
                let fork = left
                    .filter(|fork| fork.epoch == before.place.epoch)
                    .map(|fork| fork.sequence);
                match fork.max() {
                    Some(fork) => self.forget_places_beyond(fork),
                    None => self.forget_places(),
                }
            }
            Some(_) => {}
        }
        self.forget_places_beyond(now.place.sequence);
        self.insert_place(now.at, now.place.sequence);
    }

    fn insert_place(&mut self, local: Sequence, place: Sequence) {
        let known = self.places.get(&local);
        let first = known.map_or(place, |known| known.first);
        let last = place;
        self.places.insert(local, Places { first, last });
        self.by_place.insert(first, local);
    }

    pub(crate) fn forget_places(&mut self) {
        self.places.clear();
        self.by_place.clear();
        self.older_places = OlderPlaces::None;
        self.gaps += 1;
    }

    pub(crate) fn gaps(&self) -> u64 {
        self.gaps
    }

    /// Adds the places of a history that begins where this one ends.
    fn put_places_behind(&mut self, newer: &Self) {
        match newer.older_places {
            OlderPlaces::All => {}
            OlderPlaces::UpTo(place) => self.forget_places_beyond(place),
            OlderPlaces::None => self.forget_places(),
        }
        for (&local, places) in &newer.places {
            self.insert_place(local, places.first);
            self.insert_place(local, places.last);
        }
    }

    fn forget_places_beyond(&mut self, place: Sequence) {
        self.older_places = match self.older_places {
            OlderPlaces::All => OlderPlaces::UpTo(place),
            OlderPlaces::UpTo(before) => OlderPlaces::UpTo(before.min(place)),
            OlderPlaces::None => OlderPlaces::None,
        };
        while let Some(&(local, _)) = self.places.get_max().filter(|(_, p)| p.last > place) {
            self.forget_places_at(local);
        }
    }

    fn forget_places_at(&mut self, local: Sequence) {
        if let Some(places) = self.places.remove(&local)
            && self.by_place.get(&places.first) == Some(&local)
        {
            self.by_place.remove(&places.first);
        }
    }

    /// Before the oldest change one place is enough.
    fn cut_places(&mut self) {
        while self
            .places
            .iter()
            .nth(1)
            .is_some_and(|(local, _)| *local <= self.start)
        {
            if let Some(&(local, _)) = self.places.get_min() {
                self.forget_places_at(local);
            }
        }
    }
}

/// How much history is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) changes_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) hard_cap_factor: usize,
}

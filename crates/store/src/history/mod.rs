//! The latest changes, kept in memory for feeds.

mod notes;

use std::sync::Arc;

use imbl::OrdMap;

use crate::place::Follows;
use crate::{Octets, Sequence};
pub use notes::Note;
pub(crate) use notes::Noted;
use notes::Notes;

/// The changes after some sequence up to the version's own. Immutable; a clone shares everything.
#[derive(Debug, Clone)]
pub struct History {
    /// By the first sequence of each. In the first of them some changes may be gone already.
    blocks: OrdMap<Sequence, Arc<Notes>>,
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
            blocks: OrdMap::new(),
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
        let last = self.blocks.get_max();
        last.map_or(self.start, |(_, last)| Sequence(last.next().0 - 1))
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
    pub fn since(&self, position: Sequence) -> Option<impl Iterator<Item = Note<'_>>> {
        let blocks = self.blocks_since(position)?;
        Some(blocks.flat_map(move |notes| notes.after(position)))
    }

    /// As [`History::since`], but only changes of names whose key has one of some octets, and perhaps
    /// some others.
    pub fn since_with(
        &self,
        position: Sequence,
        octets: Octets,
    ) -> Option<impl Iterator<Item = Note<'_>>> {
        let blocks = self.blocks_since(position)?;
        let blocks = blocks.filter(move |notes| notes.octets().meets(octets));
        Some(blocks.flat_map(move |notes| notes.after(position)))
    }

    fn blocks_since(&self, position: Sequence) -> Option<impl Iterator<Item = &Notes>> {
        (position >= self.start).then(|| {
            let next = position.next();
            let before = self.blocks.get_prev(&next).map(|(first, _)| *first);
            let blocks = self.blocks.range(before.unwrap_or(next)..);
            blocks.map(|(_, notes)| &**notes)
        })
    }

    pub(crate) fn push(&mut self, notes: &[Noted]) {
        self.extend(notes.iter().map(Noted::lend));
    }

    fn extend<'a>(&mut self, notes: impl IntoIterator<Item = Note<'a>>) {
        let last = self.blocks.get_max().map(|(first, _)| *first);
        let mut block = last.and_then(|last| self.blocks.remove(&last));
        for note in notes {
            self.changes += 1;
            self.bytes += Notes::bytes_of(note.mailbox);
            let mut full = block.take_if(|block| !block.has_room(note.sequence));
            if let Some(full) = &mut full {
                Arc::make_mut(full).shrink();
            }
            self.keep(full);
            let block = block.get_or_insert_with(|| Arc::new(Notes::starting_with(note.sequence)));
            Arc::make_mut(block).push(&note);
        }
        self.keep(block);
    }

    fn keep(&mut self, block: Option<Arc<Notes>>) {
        if let Some(block) = block {
            self.blocks.insert(block.first(), block);
        }
    }

    /// The changes of `older` and behind them these, if they adjoin; else these.
    pub(crate) fn behind(&self, older: &Self) -> Self {
        if older.end() != self.start {
            return self.clone();
        }
        let mut both = older.clone();
        both.changes += self.changes;
        both.bytes += self.bytes;
        for block in self.blocks.values() {
            if block.first() > self.start {
                both.keep(Some(Arc::clone(block)));
            } else {
                let mut rest = Notes::starting_with(self.start.next());
                block.after(self.start).for_each(|note| rest.push(&note));
                both.keep(Some(Arc::new(rest)));
            }
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
        self.drop_oldest(bounds, held());
        self.cut_places();
    }

    fn drop_oldest(&mut self, bounds: &Bounds, held: Option<Sequence>) {
        while let Some((first, block)) = self.blocks.get_min().cloned() {
            for note in block.after(self.start) {
                let needed = held.is_some_and(|position| position < note.sequence);
                let factor = if needed { bounds.hard_cap_factor } else { 1 };
                if !self.exceeds(bounds, factor) {
                    return;
                }
                self.changes -= 1;
                self.bytes -= Notes::bytes_of(note.mailbox);
                self.start = note.sequence;
            }
            self.blocks.remove(&first);
        }
    }

    fn exceeds(&self, bounds: &Bounds, factor: usize) -> bool {
        self.changes > bounds.changes_max.saturating_mul(factor)
            || self.bytes > bounds.bytes_max.saturating_mul(factor)
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

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proto::{Location, MailboxName};

    /// Change `number` of the list's; every tenth is a deletion, every hundredth of a name with a dot.
    fn change(number: u64) -> Noted {
        let dot = if number.is_multiple_of(100) { "^" } else { "" };
        let mailbox = format!("user.u{dot}{}", number % 37);
        let location = |number: u64| {
            let text = format!("be{}!p{}", number % 3, number % 91);
            Location::try_from(text.as_bytes()).unwrap()
        };
        Noted {
            sequence: Sequence(number),
            mailbox: MailboxName::try_from(mailbox.as_bytes()).unwrap(),
            old_location: (!number.is_multiple_of(7)).then(|| location(number / 2)),
            new_location: (!number.is_multiple_of(10)).then(|| location(number)),
        }
    }

    fn changes(range: std::ops::RangeInclusive<u64>) -> Vec<Noted> {
        range.map(change).collect()
    }

    /// A history behind `start` that came in groups of these sizes.
    fn history(start: u64, groups: &[u64]) -> History {
        let mut history = History::starting_after(Sequence(start));
        for group in groups {
            let last = history.end().0;
            history.push(&changes(last + 1..=last + group));
        }
        history
    }

    fn assert_holds(history: &History, expected: &[Noted]) {
        let expected: Vec<Note<'_>> = expected.iter().map(Noted::lend).collect();
        let found = history.since(history.start()).unwrap();
        assert!(found.eq(expected.iter().copied()));
        assert_eq!(history.len(), expected.len());
        let with_dot = Octets::between(b'.'..=b'.');
        let has_dot = |note: &Note<'_>| note.mailbox.key().contains(&b'.');
        let found = history.since_with(history.start(), with_dot).unwrap();
        assert!(
            found
                .filter(has_dot)
                .eq(expected.iter().copied().filter(has_dot))
        );
        for passed in [1, expected.len() / 2, expected.len()] {
            let position = Sequence(history.start().0 + u64::try_from(passed).unwrap());
            let rest = expected.get(passed..).unwrap_or_default();
            assert!(history.since(position).unwrap().eq(rest.iter().copied()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn what_was_noted_is_told_until_it_is_cut(
            start in 0..500_u64,
            groups in vec(1..400_u64, 1..12),
            newer in vec(1..400_u64, 1..6),
            kept in 1..2000_usize,
            held in prop::option::of(0..3000_u64),
        ) {
            let mut older = history(start, &groups);
            let end = older.end().0;
            assert_holds(&older, &changes(start + 1..=end));
            let before = older.clone();
            let bounds = Bounds { changes_max: kept, bytes_max: usize::MAX, hard_cap_factor: 8 };
            older.cut(&bounds, || held.map(Sequence));
            let excess = u64::try_from(older.len().saturating_sub(kept)).unwrap();
            // Only what somebody holds stays beyond the bounds.
            prop_assert!(excess == 0 || held.is_some_and(|held| held <= older.start().0));
            assert_holds(&older, &changes(older.start().0 + 1..=end));
            assert_holds(&before, &changes(start + 1..=end));
            let mut newer = history(end, &newer);
            let last = newer.end().0;
            assert_holds(&newer.behind(&older), &changes(older.start().0 + 1..=last));
            newer.cut(&bounds, || None);
            let both = newer.behind(&older);
            let first = if newer.start().0 == end { older.start().0 } else { newer.start().0 };
            assert_holds(&both, &changes(first + 1..=last));
        }
    }
}

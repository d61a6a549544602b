//! The mailbox list as it stood after one group of changes.

use std::collections::{HashMap, HashSet};
use std::ops::{Bound, Range};
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use proto::{Entry, LocationRef, MailboxName, NameRef};

use crate::buckets::Buckets;
use crate::digest::Digester;
use crate::digests::{Digests, Part, Tally};
use crate::history::History;
use crate::list::{List, Listed, Matching};
use crate::log::{Change, LogPosition, Operation};
use crate::place::{Follows, OwnerHistory, Place, Reached, Standing};
use crate::{Epoch, HostFilter, Lineage, Octets, Root, Sequence, Sum};

/// Owners counted before their sums go where they belong.
const OWNERS_AT_ONCE: usize = 4096;

/// Digest of one entry.
pub type EntryHash = Root;

/// Other locations kept beside one entry; more contradict each other in vain.
const CONFLICTS_PER_NAME_MAX: usize = 8;

/// An entry and the change that made it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What the directory knows of the mailbox.
    pub entry: Entry,
    /// Its last change.
    pub changed: Sequence,
    /// The master no longer has it, but an operator has yet to say that it may go: it is found and
    /// listed like any other, and counts in no digest.
    pub held: bool,
}

/// The mailbox list at one sequence. Immutable; a clone shares everything.
#[derive(Clone)]
pub struct Version {
    pub(crate) lineage: Arc<Lineage>,
    pub(crate) sequence: Sequence,
    pub(crate) digests: Digests,
    pub(crate) list: List,
    pub(crate) held: OrdSet<MailboxName>,
    pub(crate) conflicts: OrdMap<MailboxName, Arc<[Stored]>>,
    pub(crate) follows: Option<Follows>,
    pub(crate) history: History,
    pub(crate) log: LogPosition,
}

impl Version {
    /// An empty list at sequence 0.
    pub(crate) fn empty(lineage: Arc<Lineage>) -> Self {
        Self {
            lineage,
            sequence: Sequence::default(),
            digests: Digests::empty(),
            list: List::new(),
            held: OrdSet::new(),
            follows: None,
            conflicts: OrdMap::new(),
            history: History::starting_after(Sequence::default()),
            log: LogPosition::default(),
        }
    }

    /// Epoch, digest key and forks.
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// The history that `sequence` counts in.
    pub fn epoch(&self) -> Epoch {
        self.lineage.epoch()
    }

    /// The last change that is part of this list.
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Number of entries that are not held.
    pub fn count(&self) -> u64 {
        self.digests.sum.count
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Digest of all entries that are not held.
    pub fn root(&self) -> Root {
        self.digests.sum.root
    }

    /// The entry of a mailbox.
    pub fn get(&self, mailbox: &MailboxName) -> Option<Stored> {
        self.find(mailbox).map(Listed::to_stored)
    }

    /// The entry of a mailbox, lent.
    pub fn find<'a>(&self, mailbox: impl Into<NameRef<'a>>) -> Option<Listed<'_>> {
        self.list.get(mailbox.into().key())
    }

    /// All entries in key order, as values of their own; who looks at many borrows them
    /// ([`Version::walk`]).
    pub fn iter(&self) -> impl Iterator<Item = (MailboxName, Stored)> {
        self.walk().map(Listed::to_owned)
    }

    /// All entries in key order.
    pub fn walk(&self) -> impl Iterator<Item = Listed<'_>> {
        self.list.iter()
    }

    /// All entries whose key has one of some octets, and perhaps some others, in key order.
    pub fn walk_with(&self, octets: Octets) -> impl Iterator<Item = Listed<'_>> {
        self.list.iter().with(octets)
    }

    /// The entries behind a name (which need not have one) in key order: the next page of a dump.
    pub fn after<'a>(
        &'a self,
        mailbox: Option<&MailboxName>,
    ) -> impl Iterator<Item = Listed<'a>> + use<'a> {
        let start = mailbox.map_or(Bound::Unbounded, |name| Bound::Excluded(name.key()));
        self.list.starting(start)
    }

    /// As [`Version::after`], but only entries whose location is wanted.
    pub fn matching_after<F: Fn(LocationRef<'_>) -> bool>(
        &self,
        mailbox: Option<&MailboxName>,
        wanted: F,
    ) -> Matching<'_, F> {
        let start = mailbox.map_or(Bound::Unbounded, |name| Bound::Excluded(name.key()));
        self.list.starting(start).matching(wanted)
    }

    /// The entries whose key ([`MailboxName::key`]) is this one or behind it, in key order.
    pub fn starting_at(&self, key: &[u8]) -> impl Iterator<Item = Listed<'_>> {
        self.list.starting(Bound::Included(key))
    }

    /// The entries whose key ([`MailboxName::key`]) is in a half-open range, in key order.
    pub fn between(&self, keys: Range<&[u8]>) -> impl Iterator<Item = Listed<'_>> {
        self.list.between(keys)
    }

    /// Entries that an ACTIVATE in recovery has contradicted, each with its mailbox, in key order.
    pub fn conflicts(&self) -> impl Iterator<Item = (&MailboxName, &[Stored])> {
        self.conflicts.iter().map(|(name, older)| (name, &**older))
    }

    /// The latest changes.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Entries that wait for an operator's word to go.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn held_count(&self) -> u64 {
        u64::try_from(self.held.len()).unwrap_or(u64::MAX)
    }

    /// Their names, in key order.
    pub fn held_names(&self) -> impl Iterator<Item = &MailboxName> {
        self.held.iter()
    }

    /// Keeps a contradicted entry beside the one that replaces it.
    pub(crate) fn keep_conflict(&mut self, mailbox: &MailboxName, older: &Stored) {
        let kept = self.conflicts.get(mailbox).map_or(&[][..], |kept| kept);
        let known = |one: &Stored| one.entry.location() == older.entry.location();
        if kept.len() >= CONFLICTS_PER_NAME_MAX || kept.iter().any(known) {
            return;
        }
        let all: Arc<[Stored]> = kept.iter().chain([older]).cloned().collect();
        self.conflicts.insert(mailbox.clone(), all);
    }

    /// Carries out a change that has been decided.
    pub(crate) fn carry_out(
        &mut self,
        digester: &mut Digester,
        sequence: Sequence,
        change: Change,
    ) {
        let held = change.operation == Operation::Hold;
        let stored = change.new.map(|entry| Stored {
            entry,
            changed: sequence,
            held,
        });
        if change.conflict
            && let Some(old) = self.get(&change.mailbox)
        {
            self.keep_conflict(&change.mailbox, &old);
        }
        self.apply(digester, &change.mailbox, stored.as_ref());
        self.sequence = sequence;
        if let Some(follows) = &mut self.follows {
            follows.exact = false;
        }
    }

    /// Makes `new` the entry of `mailbox`.
    pub(crate) fn apply(
        &mut self,
        digester: &mut Digester,
        mailbox: &MailboxName,
        new: Option<&Stored>,
    ) {
        let new = new.map(|new| Listed::new(mailbox, new));
        let counted = Digests::counted(digester, new);
        let look = |old: Option<Listed<'_>>| {
            let was_held = old.is_some_and(|old| old.held);
            (
                was_held,
                Digests::counted_before(digester, old, counted.as_ref()),
            )
        };
        let (was_held, before) = match &new {
            Some(new) => self.list.set(new, look),
            None => self.list.remove(mailbox.key(), look),
        };
        self.digests
            .change(digester, mailbox, before.as_ref(), counted.as_ref());
        if new.is_some_and(|new| new.held) {
            self.held.insert(mailbox.clone());
        } else if was_held {
            self.held.remove(mailbox);
        }
    }

    /// The same list as the next segment has it, under another lineage: with another key it has other
    /// digests, and in another epoch it follows nobody.
    pub(crate) fn under(&self, lineage: &Arc<Lineage>) -> Self {
        let mut version = self.clone();
        version.lineage = Arc::clone(lineage);
        if lineage.key() != self.lineage.key() {
            version.digests = version.compute_digests();
        }
        if lineage.epoch() != self.epoch() {
            version.unfollow();
        }
        version
    }

    /// An empty list that is about to have so many entries.
    pub(crate) fn expect(&mut self, entries: u64) {
        if self.is_empty() {
            self.digests.buckets = Buckets::expecting(entries);
        }
    }

    /// After so many changes: work that is spread over them.
    pub(crate) fn keep_up(&mut self, digester: &mut Digester, changes: usize) {
        let entries_max = changes.saturating_mul(4).saturating_add(64);
        self.digests
            .buckets
            .keep_up(digester, &self.list, entries_max);
    }
}

/// Digests.
impl Version {
    /// Number and digest of all entries that are not held.
    pub fn sum(&self) -> Sum {
        self.digests.sum
    }

    /// The same, of each bucket.
    pub fn buckets(&self) -> &Buckets {
        &self.digests.buckets
    }

    /// The same, of the entries on some servers.
    pub fn sum_of_hosts(&self, filter: &HostFilter) -> Sum {
        self.digests.sum_of_hosts(filter)
    }

    /// The digest of an entry, whether it is in the list or not.
    pub fn entry_hash(&self, mailbox: &MailboxName, entry: &Entry) -> EntryHash {
        Digester::new(&self.lineage).entry(mailbox, entry)
    }

    /// The entries that are not held, with their digests, of some of `buckets` buckets (a power of
    /// two). Looks through the whole list.
    pub fn entries_of_buckets(
        &self,
        buckets: u32,
        wanted: &HashSet<u32>,
    ) -> HashMap<u32, Vec<(EntryHash, MailboxName)>> {
        let mut digester = Digester::new(&self.lineage);
        let mut found: HashMap<u32, Vec<_>> = HashMap::new();
        let mask = buckets.next_power_of_two() - 1;
        for listed in self.walk().filter(|listed| !listed.held) {
            let bucket = digester.owner(listed.mailbox) & mask;
            if wanted.contains(&bucket) {
                let hash = digester.entry(listed.mailbox, listed.entry);
                let same = found.entry(bucket).or_default();
                same.push((hash, listed.mailbox.to_name()));
            }
        }
        found
    }

    /// Whether all digests are those of the entries, computed anew. Looks through the whole list.
    pub fn digests_are_right(&self) -> bool {
        self.compute_digests() == self.digests
    }

    /// The digests of the entries under the lineage's key.
    pub(crate) fn compute_digests(&self) -> Digests {
        let mut digester = Digester::new(&self.lineage);
        let mut tally = Tally::new(u64::try_from(self.len()).unwrap_or(u64::MAX));
        let mut part = Part::default();
        for listed in self.walk() {
            part.add(&mut digester, &listed);
            if part.owners() >= OWNERS_AT_ONCE {
                tally.take(std::mem::take(&mut part));
            }
        }
        tally.take(part);
        tally.finish().0
    }
}

/// Places in the owner's history.
impl Version {
    /// The stage of the owner's history that this list is: of the master's, if one is followed that
    /// tells its history, else of the store's own.
    pub fn place(&self) -> Place {
        match &self.follows {
            Some(follows) => follows.place,
            None => Place {
                epoch: self.epoch(),
                sequence: self.sequence,
            },
        }
    }

    /// Whether the list, without held entries, is exactly the owner's at [`Version::place`]. Else it
    /// may be newer in parts.
    pub fn is_exact(&self) -> bool {
        self.follows.as_ref().is_none_or(|follows| follows.exact)
    }

    /// The history that [`Version::place`] is a stage of.
    pub fn owner_history(&self) -> OwnerHistory<'_> {
        match &self.follows {
            Some(follows) => OwnerHistory {
                epoch: follows.place.epoch,
                forks: &follows.forks,
            },
            None => OwnerHistory {
                epoch: self.epoch(),
                forks: self.lineage.forks(),
            },
        }
    }

    /// Where a peer whose list is the owner's at `place` can be told the changes since from. All
    /// changes that it lacks come behind that, and perhaps some that it has.
    pub fn local_position(&self, place: &Place) -> Standing {
        let Some(follows) = &self.follows else {
            let known = self.lineage.includes(place.epoch, place.sequence);
            return if known {
                self.own_position(place.sequence)
            } else {
                Standing::Unknown
            };
        };
        if place.epoch == self.epoch() {
            return self.own_position(place.sequence);
        }
        if !follows.includes(place) {
            return Standing::Unknown;
        }
        if place.sequence > follows.place.sequence {
            return Standing::Behind;
        }
        let local = self.history.local_of(place.sequence);
        local.map_or(Standing::Unknown, Standing::From)
    }

    fn own_position(&self, sequence: Sequence) -> Standing {
        if sequence > self.sequence {
            Standing::Behind
        } else if sequence < self.history.start() {
            Standing::Unknown
        } else {
            Standing::From(sequence)
        }
    }

    /// The place to resume from for whoever has been told everything up to `through`.
    pub(crate) fn place_at(&self, through: Sequence) -> Option<Place> {
        let Some(follows) = &self.follows else {
            let epoch = self.epoch();
            return Some(Place {
                epoch,
                sequence: through,
            });
        };
        let sequence = if through >= follows.at {
            Some(follows.place.sequence)
        } else {
            self.history.place_at(through)
        };
        sequence.map(|sequence| Place {
            epoch: follows.place.epoch,
            sequence,
        })
    }

    /// The owner's history has been followed up to a place.
    pub(crate) fn reach(&mut self, reached: &Reached) {
        let before = self.follows.take();
        let follows = Follows::after(reached, self.sequence, before.as_ref());
        let before = before.filter(|_| reached.continues);
        self.history.reach(before.as_ref(), &follows);
        self.follows = Some(follows);
    }

    /// The list follows nobody's history any more but its own.
    pub(crate) fn unfollow(&mut self) {
        self.follows = None;
        self.history.forget_places();
    }
}

impl std::fmt::Debug for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Version")
            .field("epoch", &self.epoch())
            .field("sequence", &self.sequence)
            .field("count", &self.len())
            .field("sum", &self.digests.sum)
            .finish_non_exhaustive()
    }
}

//! The mailbox list as it stood after one group of changes.

use std::ops::{Bound, Range};
use std::sync::Arc;

use imbl::OrdMap;
use proto::{Entry, MailboxName};

use crate::digest::Digester;
use crate::history::History;
use crate::log::{Change, LogPosition};
use crate::{Epoch, Lineage, Root, Sequence};

/// Other locations kept beside one entry; more contradict each other in vain.
const CONFLICTS_PER_NAME_MAX: usize = 8;

/// An entry and the change that made it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What the directory knows of the mailbox.
    pub entry: Entry,
    /// Its last change.
    pub changed: Sequence,
}

/// The mailbox list at one sequence. Immutable; a clone shares everything.
#[derive(Clone)]
pub struct Version {
    pub(crate) lineage: Arc<Lineage>,
    pub(crate) sequence: Sequence,
    pub(crate) root: Root,
    pub(crate) list: OrdMap<MailboxName, Stored>,
    pub(crate) conflicts: OrdMap<MailboxName, Arc<[Stored]>>,
    pub(crate) history: History,
    pub(crate) log: LogPosition,
}

impl Version {
    /// An empty list at sequence 0.
    pub(crate) fn empty(lineage: Arc<Lineage>) -> Self {
        Self {
            lineage,
            sequence: Sequence::default(),
            root: Root::default(),
            list: OrdMap::new(),
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

    /// Number of entries, as the files hold it.
    pub fn count(&self) -> u64 {
        u64::try_from(self.list.len()).unwrap_or(u64::MAX)
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Digest of all entries.
    pub fn root(&self) -> Root {
        self.root
    }

    /// The digest, computed anew from the entries.
    pub fn compute_root(&self) -> Root {
        let mut digester = Digester::new(&self.lineage);
        let sum = |root: Root, (name, stored): (&MailboxName, &Stored)| {
            root.with(digester.entry(name, &stored.entry))
        };
        self.list.iter().fold(Root::default(), sum)
    }

    /// The entry of a mailbox.
    pub fn get(&self, mailbox: &MailboxName) -> Option<&Stored> {
        self.list.get(mailbox)
    }

    /// All entries in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&MailboxName, &Stored)> {
        self.list.iter()
    }

    /// The entries behind a name (which need not have one) in key order: the next page of a dump.
    pub fn after(
        &self,
        mailbox: Option<&MailboxName>,
    ) -> impl Iterator<Item = (&MailboxName, &Stored)> {
        let start = mailbox.map_or(Bound::Unbounded, Bound::Excluded);
        self.list.range::<_, MailboxName>((start, Bound::Unbounded))
    }

    /// The entries whose key ([`MailboxName::key`]) is in a half-open range, in key order.
    pub fn between(&self, keys: Range<&[u8]>) -> impl Iterator<Item = (&MailboxName, &Stored)> {
        let (start, end): (Arc<[u8]>, Arc<[u8]>) = (keys.start.into(), keys.end.into());
        let bounds = (Bound::Included(&start), Bound::Excluded(&end));
        self.list.range::<_, Arc<[u8]>>(bounds)
    }

    /// Entries that an ACTIVATE in recovery has contradicted, each with its mailbox, in key order.
    pub fn conflicts(&self) -> impl Iterator<Item = (&MailboxName, &[Stored])> {
        self.conflicts.iter().map(|(name, older)| (name, &**older))
    }

    /// The latest changes.
    pub fn history(&self) -> &History {
        &self.history
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
        let stored = change.new.map(|entry| Stored {
            entry,
            changed: sequence,
        });
        let old = self.apply(digester, &change.mailbox, stored);
        if let Some(old) = old.filter(|_| change.conflict) {
            self.keep_conflict(&change.mailbox, &old);
        }
        self.sequence = sequence;
    }

    /// Makes `new` the entry of `mailbox` and returns the one before.
    pub(crate) fn apply(
        &mut self,
        digester: &mut Digester,
        mailbox: &MailboxName,
        new: Option<Stored>,
    ) -> Option<Stored> {
        if let Some(new) = &new {
            self.root = self.root.with(digester.entry(mailbox, &new.entry));
        }
        let old = match new {
            Some(new) => self.list.insert(mailbox.clone(), new),
            None => self.list.remove(mailbox),
        };
        if let Some(old) = &old {
            self.root = self.root.without(digester.entry(mailbox, &old.entry));
        }
        old
    }
}

impl std::fmt::Debug for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Version")
            .field("epoch", &self.epoch())
            .field("sequence", &self.sequence)
            .field("count", &self.len())
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

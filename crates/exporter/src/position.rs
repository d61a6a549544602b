//! How far the file follows the store.

use std::collections::{HashSet, VecDeque};

use proto::MailboxName;
use store::{Feed, Sequence, Store};

/// Up to where the file follows the store, with a hold on the history behind it.
#[derive(Debug)]
pub(crate) struct Position(Feed);

/// What follows a position.
pub(crate) enum Next {
    /// Nothing.
    Nothing,
    /// These names changed up to here.
    Changes(VecDeque<MailboxName>, Sequence),
    /// The history does not reach back: everything must be compared.
    Behind,
}

impl Position {
    /// A position.
    pub(crate) fn new(store: &Store, at: Sequence) -> Self {
        Self(store.feed(at))
    }

    /// One whose hold on the history exists already.
    pub(crate) fn held(pin: Feed) -> Self {
        Self(pin)
    }

    pub(crate) fn at(&self) -> Sequence {
        self.0.position()
    }

    /// Goes on to a later change.
    pub(crate) fn advance(&mut self, store: &Store, at: Sequence) {
        *self = Self::new(store, at);
    }

    /// The names that changed next, at most `changes_max` changes. Each of these changes counts, also
    /// if its mailbox changes again later: an answer may wait for it, and gets the later entry.
    pub(crate) fn next(&self, store: &Store, changes_max: usize) -> Next {
        let version = store.current();
        if version.sequence() <= self.at() {
            return Next::Nothing;
        }
        let Some(notes) = version.history().since(self.at()) else {
            return Next::Behind;
        };
        let mut seen = HashSet::new();
        let (mut names, mut through, mut count) = (VecDeque::new(), version.sequence(), 0);
        for note in notes.take(changes_max) {
            count += 1;
            if count == changes_max {
                through = note.sequence;
            }
            if seen.insert(note.mailbox) {
                names.push_back(note.mailbox.to_name());
            }
        }
        Next::Changes(names, through)
    }
}

//! A group while it is being decided.

use std::sync::Arc;

use proto::{Edit, Entry, EntryRef, MailboxName, ReservedBy};

use crate::digest::Digester;
use crate::history::Noted;
use crate::log::group::Builder;
use crate::log::record::Stamp;
use crate::log::{Change, Operation, What};
use crate::rules::{Answer, Committed, Decision, Rules};
use crate::{Following, Listed, Reached, Version};

/// What deciding needs and what outlives a group.
pub(crate) struct Judge {
    pub(crate) rules: Box<dyn Rules>,
    pub(crate) digester: Digester,
}

/// The list as the edits so far leave it, and what is to be written about them.
pub(crate) struct Draft {
    pub(crate) version: Version,
    pub(crate) builder: Builder,
    pub(crate) notes: Vec<Noted>,
    /// Groups that are complete already.
    sealed: Vec<Vec<u8>>,
}

impl Draft {
    /// Begins a group behind a version.
    pub(crate) fn new(version: &Version) -> Self {
        Self {
            builder: Builder::new(version.sequence.next()),
            version: version.clone(),
            notes: Vec::new(),
            sealed: Vec::new(),
        }
    }

    /// Ends the group when it has this many octets, and begins the next. For what must not be seen
    /// by halves; after a crash it may be there by halves all the same.
    pub(crate) fn seal_at(&mut self, octets: usize) {
        if self.builder.len() >= octets {
            self.seal();
        }
    }

    fn seal(&mut self) {
        let next = Builder::new(self.version.sequence.next());
        let full = std::mem::replace(&mut self.builder, next);
        let Version {
            sequence, digests, ..
        } = &self.version;
        let octets = full.finish(*sequence, digests.sum.count, digests.sum.root);
        self.sealed.push(octets);
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.builder.is_empty()
    }

    /// The list, the groups for the log and the notes for feeds.
    pub(crate) fn finish(mut self, judge: &mut Judge) -> (Version, Vec<Vec<u8>>, Vec<Noted>) {
        if !self.builder.is_empty() {
            self.seal();
        }
        self.version.keep_up(&mut judge.digester, self.notes.len());
        (self.version, self.sealed, self.notes)
    }

    /// Decides an edit and, if it is granted, carries it out.
    pub(crate) fn edit(&mut self, judge: &mut Judge, stamp: &Stamp, edit: Edit) -> Answer {
        let current = self.version.get(&edit.mailbox);
        let current = current.as_ref();
        let (entry, conflict) = match judge.rules.decide(current, &edit, &stamp.origin) {
            Decision::Set { entry, conflict } => (Some(entry), conflict),
            Decision::Remove if current.is_some() => (None, false),
            // Whatever is said of a held entry ends that.
            Decision::Nothing => match current.filter(|stored| stored.held) {
                Some(stored) => (Some(stored.entry.clone()), false),
                None => return Ok(self.unchanged()),
            },
            Decision::Remove => return Ok(self.unchanged()),
            Decision::Refuse(refusal) => return Err(refusal),
        };
        let change = Change {
            operation: (&edit.kind).into(),
            mailbox: edit.mailbox,
            old_location: current.map(|stored| stored.entry.location().clone()),
            new: entry,
            conflict: conflict && current.is_some(),
        };
        Ok(self.change(judge, stamp, change))
    }

    /// Carries out what the master has said, also what changes nothing: a list below this one may
    /// have to be told.
    pub(crate) fn follow(&mut self, judge: &mut Judge, stamp: &Stamp, edit: Edit) {
        self.follow_unless(judge, stamp, edit, |_, _| false);
    }

    /// As [`Draft::follow`], but leaves an entry alone that is so already and not held. Whether there
    /// was anything to do.
    pub(crate) fn follow_listing(&mut self, judge: &mut Judge, stamp: &Stamp, edit: Edit) -> bool {
        self.follow_unless(judge, stamp, edit, |known, new| match known {
            Some(known) => !known.held && Some(known.entry) == new.map(Entry::lend),
            None => new.is_none(),
        })
    }

    fn follow_unless(
        &mut self,
        judge: &mut Judge,
        stamp: &Stamp,
        edit: Edit,
        is_so: fn(Option<Listed<'_>>, Option<&Entry>) -> bool,
    ) -> bool {
        let known = self.version.find(&edit.mailbox);
        let operation = Operation::from(&edit.kind);
        let new = edit.kind.into_entry();
        if is_so(known, new.as_ref()) {
            return false;
        }
        let change = Change {
            operation,
            old_location: known.map(|known| known.entry.location().to_location()),
            mailbox: edit.mailbox,
            new,
            conflict: false,
        };
        self.change(judge, stamp, change);
        true
    }

    /// Notes a place that has been reached, if there is anything new about it.
    pub(crate) fn reach(&mut self, stamp: &Stamp, following: &Following) {
        let before = self.version.follows.as_ref();
        let same_place = before.is_some_and(|before| before.place == following.place);
        let was_exact = before.is_some_and(|before| before.exact);
        let same_forks = before.is_some_and(|before| before.forks == following.forks);
        let reached = Reached {
            place: following.place,
            exact: following.expected.is_some() || (same_place && was_exact),
            continues: following.continues,
            forks: (!same_forks).then(|| Arc::clone(&following.forks)),
        };
        if same_place && same_forks && reached.exact == was_exact && reached.continues {
            return;
        }
        self.version.reach(&reached);
        self.note(stamp, &What::Reached(reached));
    }

    /// Goes back to the store's own history; whether there was another.
    pub(crate) fn unfollow(&mut self, stamp: &Stamp) {
        if self.version.follows.is_some() {
            self.version.unfollow();
            self.note(stamp, &What::Unfollowed);
        }
    }

    /// Makes an entry held. One that is held already, or that is not there, is written down all the
    /// same, as in [`Draft::follow`].
    pub(crate) fn hold(&mut self, judge: &mut Judge, stamp: &Stamp, mailbox: &MailboxName) {
        let operation = match self.version.find(mailbox) {
            Some(_) => Operation::Hold,
            None => Operation::Delete,
        };
        self.set_anew(judge, stamp, mailbox, operation);
    }

    /// Ends the holding of an entry: it goes, or it is one like any other.
    pub(crate) fn settle(
        &mut self,
        judge: &mut Judge,
        stamp: &Stamp,
        mailbox: &MailboxName,
        keep: bool,
    ) {
        let known = self.version.find(mailbox);
        let Some(known) = known.filter(|known| known.held) else {
            return;
        };
        let operation = match known.entry {
            _ if !keep => Operation::Delete,
            EntryRef::Active { .. } => Operation::Activate,
            EntryRef::Reserved { by, .. } => match by {
                ReservedBy::Reserve => Operation::Reserve,
                ReservedBy::Deactivate => Operation::Deactivate,
            },
        };
        self.set_anew(judge, stamp, mailbox, operation);
    }

    /// Sets an entry to what it is, or removes it.
    fn set_anew(
        &mut self,
        judge: &mut Judge,
        stamp: &Stamp,
        mailbox: &MailboxName,
        operation: Operation,
    ) {
        let known = self.version.find(mailbox);
        let entry = known.map(|known| known.entry.to_entry());
        let change = Change {
            operation,
            mailbox: mailbox.clone(),
            old_location: entry.as_ref().map(|entry| entry.location().clone()),
            new: entry.filter(|_| operation != Operation::Delete),
            conflict: false,
        };
        self.change(judge, stamp, change);
    }

    /// Settles all conflicts.
    pub(crate) fn forget_conflicts(&mut self, stamp: &Stamp) -> Committed {
        if self.version.conflicts.is_empty() {
            return self.unchanged();
        }
        self.version.conflicts.clear();
        self.note(stamp, &What::ConflictsForgotten);
        Committed {
            sequence: self.version.sequence,
            changed: true,
        }
    }

    /// Writes down what is no change.
    fn note(&mut self, stamp: &Stamp, what: &What) {
        let next = self.version.sequence.next();
        self.builder.push(next, stamp, what);
    }

    fn unchanged(&self) -> Committed {
        Committed {
            sequence: self.version.sequence,
            changed: false,
        }
    }

    fn change(&mut self, judge: &mut Judge, stamp: &Stamp, change: Change) -> Committed {
        let sequence = self.version.sequence.next();
        self.notes.push(Noted {
            sequence,
            mailbox: change.mailbox.clone(),
            old_location: change.old_location.clone(),
            new_location: change.new.as_ref().map(|entry| entry.location().clone()),
        });
        let what = What::Change(change);
        self.builder.push(sequence, stamp, &what);
        if let What::Change(change) = what {
            self.version
                .carry_out(&mut judge.digester, sequence, change);
        }
        Committed {
            sequence,
            changed: true,
        }
    }
}

//! A group while it is being decided.

use proto::Edit;

use crate::Version;
use crate::digest::Digester;
use crate::history::Note;
use crate::intern::Interner;
use crate::log::group::Builder;
use crate::log::record::Stamp;
use crate::log::{Change, What};
use crate::rules::{Answer, Committed, Decision, Rules};

/// What deciding needs and what outlives a group.
pub(crate) struct Judge {
    pub(crate) rules: Box<dyn Rules>,
    pub(crate) digester: Digester,
    pub(crate) interner: Interner,
}

/// The list as the edits so far leave it, and what is to be written about them.
pub(crate) struct Draft {
    pub(crate) version: Version,
    pub(crate) builder: Builder,
    pub(crate) notes: Vec<Note>,
}

impl Draft {
    /// Begins a group behind a version.
    pub(crate) fn new(version: &Version) -> Self {
        Self {
            builder: Builder::new(version.sequence.next()),
            version: version.clone(),
            notes: Vec::new(),
        }
    }

    /// Decides an edit and, if it is granted, carries it out.
    pub(crate) fn edit(&mut self, judge: &mut Judge, stamp: &Stamp, edit: Edit) -> Answer {
        let known = self.version.list.get_key_value(&edit.mailbox);
        let current = known.map(|(_, stored)| stored);
        let (entry, conflict) = match judge.rules.decide(current, &edit, &stamp.origin) {
            Decision::Set { entry, conflict } => (Some(judge.interner.entry(entry)), conflict),
            Decision::Remove if current.is_some() => (None, false),
            Decision::Remove | Decision::Nothing => return Ok(self.unchanged()),
            Decision::Refuse(refusal) => return Err(refusal),
        };
        let change = Change {
            operation: (&edit.kind).into(),
            // The list's own copy of the name, so that history and list share it.
            mailbox: known.map_or(edit.mailbox, |(name, _)| name.clone()),
            old_location: current.map(|stored| stored.entry.location().clone()),
            new: entry,
            conflict: conflict && current.is_some(),
        };
        Ok(self.change(judge, stamp, change))
    }

    /// Settles all conflicts.
    pub(crate) fn forget_conflicts(&mut self, stamp: &Stamp) -> Committed {
        if self.version.conflicts.is_empty() {
            return self.unchanged();
        }
        self.version.conflicts.clear();
        let what = What::ConflictsForgotten;
        self.builder
            .push(self.version.sequence.next(), stamp, &what);
        Committed {
            sequence: self.version.sequence,
            changed: true,
        }
    }

    fn unchanged(&self) -> Committed {
        Committed {
            sequence: self.version.sequence,
            changed: false,
        }
    }

    fn change(&mut self, judge: &mut Judge, stamp: &Stamp, change: Change) -> Committed {
        let sequence = self.version.sequence.next();
        self.notes.push(Note {
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

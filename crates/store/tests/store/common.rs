//! Edits, a model of a store, and a store that is driven step by step.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proto::{Acl, Edit, EditKind, Entry, Location, MailboxName, Refusal, ReservedBy};
use store::sim::SimDisk;
use store::{
    Answer, Batch, Decision, EditError, OpenError, Origin, Rules, Sequence, Stepped, Store,
    StoreConfig, Stored, Version,
};

pub(crate) fn dir() -> &'static Path {
    Path::new("/data")
}

/// Small bounds, so that a short run meets all of them.
pub(crate) fn small() -> StoreConfig {
    StoreConfig {
        segment_bytes: 900,
        snapshot_every_bytes: 400,
        final_snapshot_bytes: 1,
        group_time: Duration::from_hours(1),
        clock: || std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        ..StoreConfig::default()
    }
}

/// Grants everything but a RESERVE of a name that is taken; an ACTIVATE from elsewhere is a conflict.
pub(crate) struct Plain;

impl Rules for Plain {
    fn decide(&mut self, current: Option<&Stored>, edit: &Edit, _: &Origin) -> Decision {
        let before = current.map(|stored| stored.entry.location());
        let (entry, conflict) = match &edit.kind {
            EditKind::Activate { location, acl } => {
                let (location, acl) = (location.clone(), acl.clone());
                let conflict = before.is_some_and(|before| *before != location);
                (Entry::Active { location, acl }, conflict)
            }
            EditKind::Reserve { .. } if current.is_some() => {
                return Decision::Refuse(Refusal::Exists);
            }
            EditKind::Reserve { location } => (reserved(location, ReservedBy::Reserve), false),
            EditKind::Deactivate { location } => {
                (reserved(location, ReservedBy::Deactivate), false)
            }
            EditKind::Delete => return Decision::Remove,
        };
        Decision::Set { entry, conflict }
    }
}

fn reserved(location: &Location, by: ReservedBy) -> Entry {
    let location = location.clone();
    Entry::Reserved { location, by }
}

pub(crate) fn name(text: &str) -> MailboxName {
    MailboxName::try_from(text.as_bytes()).unwrap()
}

pub(crate) fn location(text: &str) -> Location {
    Location::try_from(text.as_bytes()).unwrap()
}

pub(crate) fn activate(mailbox: &str, at: &str) -> Edit {
    let acl = Acl::try_from(format!("{mailbox}\tlrswipkxtecda\t").as_bytes()).unwrap();
    let location = location(at);
    Edit {
        mailbox: name(mailbox),
        kind: EditKind::Activate { location, acl },
    }
}

pub(crate) fn reserve(mailbox: &str, at: &str) -> Edit {
    Edit {
        mailbox: name(mailbox),
        kind: EditKind::Reserve {
            location: location(at),
        },
    }
}

pub(crate) fn deactivate(mailbox: &str, at: &str) -> Edit {
    Edit {
        mailbox: name(mailbox),
        kind: EditKind::Deactivate {
            location: location(at),
        },
    }
}

pub(crate) fn delete(mailbox: &str) -> Edit {
    Edit {
        mailbox: name(mailbox),
        kind: EditKind::Delete,
    }
}

pub(crate) fn origin() -> Origin {
    Origin {
        identity: Arc::from("backend"),
        peer: Arc::from("127.0.0.1:4711"),
    }
}

pub(crate) fn batch(edits: Vec<Edit>) -> Batch {
    Batch {
        origin: origin(),
        edits,
    }
}

/// What a list should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) sequence: Sequence,
    pub(crate) list: BTreeMap<MailboxName, Stored>,
    pub(crate) conflicts: BTreeMap<MailboxName, Vec<Stored>>,
}

impl Model {
    pub(crate) fn of(version: &Version) -> Self {
        let list = version.iter().map(|(n, s)| (n.clone(), s.clone()));
        let conflicts = version.conflicts().map(|(n, s)| (n.clone(), s.to_vec()));
        Self {
            sequence: version.sequence(),
            list: list.collect(),
            conflicts: conflicts.collect(),
        }
    }

    fn set(&mut self, mailbox: &MailboxName, entry: Entry, changed: Sequence) {
        let held = false;
        let stored = Stored {
            entry,
            changed,
            held,
        };
        self.list.insert(mailbox.clone(), stored);
    }

    /// Carries an edit out; whether it was granted.
    pub(crate) fn edit(&mut self, edit: &Edit) -> bool {
        let current = self.list.get(&edit.mailbox).cloned();
        let (entry, conflict) = match Plain.decide(current.as_ref(), edit, &origin()) {
            Decision::Set { entry, conflict } => (Some(entry), conflict),
            Decision::Remove if current.is_some() => (None, false),
            Decision::Remove | Decision::Nothing => return true,
            Decision::Refuse(_) => return false,
        };
        self.sequence = self.sequence.next();
        if let Some(old) = current.filter(|_| conflict) {
            let kept = self.conflicts.entry(edit.mailbox.clone()).or_default();
            let known = kept
                .iter()
                .any(|one| one.entry.location() == old.entry.location());
            if !known && kept.len() < 8 {
                kept.push(old);
            }
        }
        let changed = self.sequence;
        match entry {
            Some(entry) => self.set(&edit.mailbox, entry, changed),
            None => _ = self.list.remove(&edit.mailbox),
        }
        true
    }
}

/// Lets a future run that needs nobody but the steps in between.
pub(crate) fn drive<T>(future: impl Future<Output = T>, mut step: impl FnMut()) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..100 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        step();
    }
    panic!("no answer after 100 steps");
}

pub(crate) type Answers = Result<Vec<Answer>, EditError>;

/// Queues some batches, has them made one group, and returns their answers.
pub(crate) fn group(stepped: &mut Stepped, batches: &[Batch]) -> Vec<Answers> {
    let store = stepped.store.clone();
    let mut context = Context::from_waker(Waker::noop());
    let mut asked: Vec<_> = batches
        .iter()
        .map(|b| Box::pin(store.edit(b.clone())))
        .collect();
    for ask in &mut asked {
        assert!(ask.as_mut().poll(&mut context).is_pending());
    }
    stepped.writer.step();
    let writer = &mut stepped.writer;
    let answers = asked
        .into_iter()
        .map(|ask| drive(ask, || _ = writer.step()));
    answers.collect()
}

pub(crate) fn open(disk: &SimDisk) -> Result<Stepped, OpenError> {
    let mut stepped = open_without_history(disk)?;
    stepped.read_history();
    Ok(stepped)
}

/// As [`open`], with the history from before still to be read.
pub(crate) fn open_without_history(disk: &SimDisk) -> Result<Stepped, OpenError> {
    Store::open_stepped(Arc::new(disk.clone()), dir(), small(), Box::new(Plain))
}

/// The list is consistent with itself.
pub(crate) fn check(version: &Version) {
    assert!(version.digests_are_right());
    assert!(version.iter().is_sorted_by_key(|(name, _)| name));
    assert!(
        version
            .iter()
            .all(|(_, stored)| stored.changed <= version.sequence())
    );
}

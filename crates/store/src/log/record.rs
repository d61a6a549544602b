//! One change as the log holds it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proto::{EditKind, Entry, EntryRef, Location, MailboxName, ReservedBy};

use crate::bytes::{Reader, put_long, put_short};
use crate::ids::{put_forks, take_forks};
use crate::intern::Intern;
use crate::{Epoch, Place, Reached, Sequence};

const KIND_CHANGE: u8 = 1;
const KIND_CONFLICTS_FORGOTTEN: u8 = 2;
const KIND_REACHED: u8 = 3;
const KIND_UNFOLLOWED: u8 = 4;

const FLAG_CONFLICT: u8 = 1;
const FLAG_ORIGIN: u8 = 2;
const FLAG_OLD_LOCATION: u8 = 4;
const FLAGS: u8 = FLAG_CONFLICT | FLAG_ORIGIN | FLAG_OLD_LOCATION;

/// Bits of a place's own octet.
const REACHED_EXACT: u8 = 1;
const REACHED_CONTINUES: u8 = 2;
const REACHED_FORKS: u8 = 4;
const REACHED_BITS: u8 = REACHED_EXACT | REACHED_CONTINUES | REACHED_FORKS;

const ENTRY_NONE: u8 = 0;
const ENTRY_ACTIVE: u8 = 1;
const ENTRY_RESERVED: u8 = 2;
const ENTRY_DEACTIVATED: u8 = 3;

/// Longest identity or peer kept, in octets.
const ORIGIN_BYTES_MAX: usize = 1024;

/// Who wished for an edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The name the peer logged in with.
    pub identity: Arc<str>,
    /// Its address: `127.0.0.1:4711`.
    pub peer: Arc<str>,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// ACTIVATE.
    Activate,
    /// RESERVE.
    Reserve,
    /// DEACTIVATE.
    Deactivate,
    /// DELETE.
    Delete,
    /// The master no longer has it; the entry is held until an operator says that it may go.
    Hold,
}

impl From<&EditKind> for Operation {
    fn from(kind: &EditKind) -> Self {
        match kind {
            EditKind::Activate { .. } => Self::Activate,
            EditKind::Reserve { .. } => Self::Reserve,
            EditKind::Deactivate { .. } => Self::Deactivate,
            EditKind::Delete => Self::Delete,
        }
    }
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Number of the change; for what is no change, that of the next one.
    pub sequence: Sequence,
    /// When it was decided, to the microsecond.
    pub time: SystemTime,
    /// Who wished for it.
    pub origin: Origin,
    /// What was done.
    pub what: What,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A mailbox's entry was set or removed.
    Change(Change),
    /// All conflicts were declared settled.
    ConflictsForgotten,
    /// The list has come to a place of the history that it follows.
    Reached(Reached),
    /// The list follows nobody's history but its own.
    Unfollowed,
}

/// A mailbox's entry was set or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What was asked for.
    pub operation: Operation,
    /// The mailbox.
    pub mailbox: MailboxName,
    /// Where it was before.
    pub old_location: Option<Location>,
    /// Its entry afterwards; `None`: it has none.
    pub new: Option<Entry>,
    /// The old entry was contradicted, and is kept beside the new one.
    pub conflict: bool,
}

/// When and by whom; records of one batch share it and only the first holds it in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) time: SystemTime,
    pub(crate) origin: Origin,
}

/// Appends a record. `stamp` is given when it differs from that of the record before.
pub(crate) fn encode(out: &mut Vec<u8>, ahead: u32, stamp: Option<&Stamp>, what: &What) {
    let (kind, mut flags) = match what {
        What::Change(change) => (KIND_CHANGE, change_flags(change)),
        What::ConflictsForgotten => (KIND_CONFLICTS_FORGOTTEN, 0),
        What::Reached(_) => (KIND_REACHED, 0),
        What::Unfollowed => (KIND_UNFOLLOWED, 0),
    };
    if stamp.is_some() {
        flags |= FLAG_ORIGIN;
    }
    out.push(kind);
    out.push(flags);
    out.extend_from_slice(&ahead.to_be_bytes());
    if let Some(stamp) = stamp {
        out.extend_from_slice(&micros(stamp.time).to_be_bytes());
        put_short(out, head(&stamp.origin.identity));
        put_short(out, head(&stamp.origin.peer));
    }
    match what {
        What::Change(change) => encode_change(out, change),
        What::Reached(reached) => encode_reached(out, reached),
        What::ConflictsForgotten | What::Unfollowed => {}
    }
}

fn encode_reached(out: &mut Vec<u8>, reached: &Reached) {
    let bit = |is: bool, bit: u8| if is { bit } else { 0 };
    out.push(
        bit(reached.exact, REACHED_EXACT)
            | bit(reached.continues, REACHED_CONTINUES)
            | bit(reached.forks.is_some(), REACHED_FORKS),
    );
    out.extend_from_slice(&reached.place.epoch.0);
    out.extend_from_slice(&reached.place.sequence.0.to_be_bytes());
    if let Some(forks) = &reached.forks {
        put_forks(out, forks);
    }
}

fn decode_reached(input: &mut Reader<'_>) -> Option<Reached> {
    let bits = input.u8()?;
    if bits & !REACHED_BITS != 0 {
        return None;
    }
    let epoch = Epoch(input.array()?);
    let sequence = Sequence(input.u64()?);
    let forks = match bits & REACHED_FORKS {
        0 => None,
        _ => Some(take_forks(input)?.into()),
    };
    Some(Reached {
        place: Place { epoch, sequence },
        exact: bits & REACHED_EXACT != 0,
        continues: bits & REACHED_CONTINUES != 0,
        forks,
    })
}

fn change_flags(change: &Change) -> u8 {
    let conflict = if change.conflict { FLAG_CONFLICT } else { 0 };
    let old = change
        .old_location
        .as_ref()
        .map_or(0, |_| FLAG_OLD_LOCATION);
    conflict | old
}

fn encode_change(out: &mut Vec<u8>, change: &Change) {
    out.push(match change.operation {
        Operation::Activate => 1,
        Operation::Reserve => 2,
        Operation::Deactivate => 3,
        Operation::Delete => 4,
        Operation::Hold => 5,
    });
    put_short(out, change.mailbox.key());
    if let Some(old) = &change.old_location {
        put_short(out, old.as_bytes());
    }
    let Some(new) = &change.new else {
        out.push(ENTRY_NONE);
        return;
    };
    out.push(EntryKind::of(new.lend()).octet());
    put_short(out, new.location().as_bytes());
    if let Some(acl) = new.acl() {
        put_long(out, acl.as_bytes());
    }
}

/// What an entry is beside its texts; an octet in records, and in snapshots too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Active,
    Reserved(ReservedBy),
}

impl EntryKind {
    pub(crate) fn of(entry: EntryRef<'_>) -> Self {
        match entry {
            EntryRef::Active { .. } => Self::Active,
            EntryRef::Reserved { by, .. } => Self::Reserved(by),
        }
    }

    pub(crate) fn octet(self) -> u8 {
        match self {
            Self::Active => ENTRY_ACTIVE,
            Self::Reserved(ReservedBy::Reserve) => ENTRY_RESERVED,
            Self::Reserved(ReservedBy::Deactivate) => ENTRY_DEACTIVATED,
        }
    }

    pub(crate) fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            ENTRY_ACTIVE => Some(Self::Active),
            ENTRY_RESERVED => Some(Self::Reserved(ReservedBy::Reserve)),
            ENTRY_DEACTIVATED => Some(Self::Reserved(ReservedBy::Deactivate)),
            _ => None,
        }
    }
}

/// Takes a record off the front. `stamp` is that of the record before, and is replaced by its own.
pub(crate) fn decode(
    input: &mut Reader<'_>,
    first: Sequence,
    stamp: &mut Option<Stamp>,
    interner: &mut impl Intern,
) -> Option<Record> {
    let kind = input.u8()?;
    let flags = input.u8()?;
    if flags & !FLAGS != 0 {
        return None;
    }
    let sequence = Sequence(first.0.checked_add(u64::from(input.u32()?))?);
    if flags & FLAG_ORIGIN != 0 {
        *stamp = Some(decode_stamp(input)?);
    }
    let Stamp { time, origin } = stamp.clone()?;
    let what = match kind {
        KIND_CHANGE => What::Change(decode_change(input, flags, interner)?),
        KIND_CONFLICTS_FORGOTTEN => What::ConflictsForgotten,
        KIND_REACHED => What::Reached(decode_reached(input)?),
        KIND_UNFOLLOWED => What::Unfollowed,
        _ => return None,
    };
    Some(Record {
        sequence,
        time,
        origin,
        what,
    })
}

fn decode_stamp(input: &mut Reader<'_>) -> Option<Stamp> {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(input.u64()?))?;
    let identity = std::str::from_utf8(input.short()?).ok()?.into();
    let peer = std::str::from_utf8(input.short()?).ok()?.into();
    let origin = Origin { identity, peer };
    Some(Stamp { time, origin })
}

fn decode_change(input: &mut Reader<'_>, flags: u8, interner: &mut impl Intern) -> Option<Change> {
    let operation = match input.u8()? {
        1 => Operation::Activate,
        2 => Operation::Reserve,
        3 => Operation::Deactivate,
        4 => Operation::Delete,
        5 => Operation::Hold,
        _ => return None,
    };
    let mailbox = MailboxName::from_key(input.short()?).ok()?;
    let old_location = if flags & FLAG_OLD_LOCATION == 0 {
        None
    } else {
        Some(interner.location(input.short()?)?)
    };
    let new = match input.u8()? {
        ENTRY_NONE => None,
        kind => {
            let location = interner.location(input.short()?)?;
            Some(match EntryKind::from_octet(kind)? {
                EntryKind::Active => Entry::Active {
                    location,
                    acl: interner.acl(input.long()?)?,
                },
                EntryKind::Reserved(by) => Entry::Reserved { location, by },
            })
        }
    };
    Some(Change {
        operation,
        mailbox,
        old_location,
        new,
        conflict: flags & FLAG_CONFLICT != 0,
    })
}

/// Microseconds since 1970; 0 for a clock that stands before it.
pub(crate) fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

/// As much of a text as is kept.
fn head(text: &str) -> &[u8] {
    let end = text.floor_char_boundary(ORIGIN_BYTES_MAX);
    text.as_bytes().get(..end).unwrap_or_default()
}

//! One transaction: some mailboxes' records made what the list says.

use std::collections::VecDeque;
use std::time::{Instant, SystemTime};

use cyrusdb::file::PathDisk;
use cyrusdb::mailboxes::{Local, Mailboxes, Outcome};
use cyrusdb::twoskip::Transaction;
use proto::{Entry, EntryRef, MailboxName};
use store::Version;

use crate::TransactionBounds;
use crate::differences::Differences;
use crate::holders::{Holders, Wanted};
use crate::table::Table;
use crate::track::{Seen, Track};

/// What one transaction came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    /// The names that it got to are taken off the queue.
    Done,
    /// The file is not the one that was expected; nothing was done.
    Replaced,
}

/// Makes the records of the first names what `version` says, within the bounds.
pub(crate) fn apply(
    table: &mut Table,
    names: &mut VecDeque<MailboxName>,
    version: &Version,
    bounds: &TransactionBounds,
    track: &mut Track,
    differences: &mut Differences,
) -> Result<Applied, cyrusdb::Error> {
    let mut transaction = table.database.write()?;
    if track.observe(transaction.identity()?) == Seen::Other {
        return Ok(Applied::Replaced);
    }
    let mut step = Step {
        mailboxes: &table.mailboxes,
        holders: &mut table.holders,
        differences,
        modified: unix_seconds(SystemTime::now()),
    };
    let started = Instant::now();
    let mut done = 0;
    for name in names.iter().take(bounds.entries_max.max(1)) {
        if done > 0 && started.elapsed() >= bounds.time_max {
            break;
        }
        step.mailbox(&mut transaction, name, version)?;
        done += 1;
    }
    track.left(transaction.commit_early()?);
    table.unsynced.get_or_insert_with(Instant::now);
    names.drain(..done);
    Ok(Applied::Done)
}

struct Step<'a> {
    mailboxes: &'a Mailboxes,
    holders: &'a mut Holders,
    differences: &'a mut Differences,
    modified: u64,
}

impl Step<'_> {
    fn mailbox(
        &mut self,
        transaction: &mut Transaction<'_, PathDisk>,
        name: &MailboxName,
        version: &Version,
    ) -> Result<(), cyrusdb::Error> {
        let Wanted { holder, entry, .. } = self.holders.wanted(name, version);
        if holder != *name && version.find(name).is_some() {
            self.differences.tell_rivals(name, &holder);
        }
        let outcome = match &entry {
            Some(entry) => self
                .mailboxes
                .set(transaction, &holder, entry, self.modified)?,
            None => self.mailboxes.remove(transaction, &holder)?,
        };
        if let Outcome::LeftAlone(local) = outcome {
            let what = difference(
                local,
                entry.as_ref().map(Entry::lend),
                self.mailboxes.own_server.as_deref(),
            );
            if let Some(what) = what {
                self.differences.tell(&holder, what);
            }
        }
        Ok(())
    }
}

/// What a local record and the directory disagree about, if they do.
pub(crate) fn difference(
    local: Local,
    entry: Option<EntryRef<'_>>,
    own_server: Option<&[u8]>,
) -> Option<&'static str> {
    if local == Local::Unreadable {
        return Some("record can't be read");
    }
    match entry {
        Some(entry) if Some(entry.location().server()) == own_server => None,
        _ if local.yields() => None,
        Some(_) => Some("local mailbox, on another server in the directory"),
        None => Some("local mailbox, not in the directory"),
    }
}

/// Whether a local record gives way to what the directory says.
pub(crate) fn yields(local: Local, entry: Option<EntryRef<'_>>, own_server: Option<&[u8]>) -> bool {
    local.yields()
        && entry.is_some_and(|entry| {
            entry.acl().is_some() && Some(entry.location().server()) != own_server
        })
}

pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

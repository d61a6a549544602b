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
    let Some(opened) = Opened::begin(table, track, differences)? else {
        return Ok(Applied::Replaced);
    };
    opened.carry_out(names, version, bounds)?;
    Ok(Applied::Done)
}

/// The lock, on the file that was expected.
pub(crate) struct Opened<'a> {
    transaction: Transaction<'a, PathDisk>,
    step: Step<'a>,
    track: &'a mut Track,
    unsynced: &'a mut Option<Instant>,
}

struct Step<'a> {
    mailboxes: &'a Mailboxes,
    holders: &'a mut Holders,
    differences: &'a mut Differences,
    modified: u64,
}

impl<'a> Opened<'a> {
    /// Takes the lock. `None`: the file is not the one that was expected.
    pub(crate) fn begin(
        table: &'a mut Table,
        track: &'a mut Track,
        differences: &'a mut Differences,
    ) -> Result<Option<Self>, cyrusdb::Error> {
        let Table {
            database,
            mailboxes,
            holders,
            unsynced,
            ..
        } = table;
        let transaction = database.write()?;
        if track.observe(transaction.identity()?) == Seen::Other {
            return Ok(None);
        }
        Ok(Some(Self {
            transaction,
            step: Step {
                mailboxes,
                holders,
                differences,
                modified: unix_seconds(SystemTime::now()),
            },
            track,
            unsynced,
        }))
    }

    /// Does what can be done before it is known which names there will be.
    pub(crate) fn get_ready(&mut self) -> Result<(), cyrusdb::Error> {
        self.transaction.get_ready()
    }

    /// Makes the records of the first names what `version` says, within the bounds, and lets go of the lock. The
    /// names that it got to are taken off the queue.
    pub(crate) fn carry_out(
        mut self,
        names: &mut VecDeque<MailboxName>,
        version: &Version,
        bounds: &TransactionBounds,
    ) -> Result<(), cyrusdb::Error> {
        let started = Instant::now();
        let mut done = 0;
        for name in names.iter().take(bounds.entries_max.max(1)) {
            if done > 0 && started.elapsed() >= bounds.time_max {
                break;
            }
            self.step.mailbox(&mut self.transaction, name, version)?;
            done += 1;
        }
        self.track.left(self.transaction.commit_early()?);
        // What was committed before has been synced with this.
        *self.unsynced = Some(Instant::now());
        names.drain(..done);
        Ok(())
    }
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

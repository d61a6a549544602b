//! A stream after RESYNC (`docs/resync.md`) and the list that it leads to, without the socket: the driver
//! hands in what the server says and is told what to ask.
//!
//! [`Course`] knows what has been said and when it may be carried out, [`Comparison`] how two lists find
//! where they differ; here both meet the store.

mod comparison;
mod course;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;

use client::Update;
use proto::MailboxName;
use store::{Epoch, Fork, Origin, Root, Sequence, Store, Sum};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tracing::{error, warn};

pub(crate) use self::comparison::{Ask, Digest, Named};
use self::comparison::{Comparison, Differing};
use self::course::Course;
pub(crate) use self::course::{Misplaced, Mode, Part};
use crate::pace::{FoundBy, LinkEnd};
use crate::replica::{ApplyError, Carried, Replica, follows};

/// What a server says of its history.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) epoch: Epoch,
    pub(crate) key: [u8; 32],
    pub(crate) forks: Vec<Fork>,
}

/// How it has gone so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) changes: usize,
    pub(crate) deleted: usize,
    pub(crate) held: usize,
    /// Points at which the list was right.
    pub(crate) points: u64,
    /// The list has been right once.
    pub(crate) verified: bool,
}

/// One stream and our list.
#[derive(Debug)]
pub(crate) struct Resync<'a> {
    store: &'a Store,
    replica: &'a Mutex<Replica>,
    origin: Origin,
    course: Course,
    comparison: Option<Comparison>,
    differing: Differing,
    tally: Tally,
    /// Deletions since the last point.
    deleted_since: usize,
    unusable: usize,
}

impl<'a> Resync<'a> {
    /// `guarded`: the server follows another one itself.
    pub(crate) fn new(
        store: &'a Store,
        replica: &'a Mutex<Replica>,
        origin: Origin,
        guarded: bool,
    ) -> Self {
        Self {
            store,
            replica,
            origin,
            course: Course::new(guarded),
            comparison: None,
            differing: Differing::default(),
            tally: Tally::default(),
            deleted_since: 0,
            unusable: 0,
        }
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    pub(crate) fn mode(&self) -> Mode {
        self.course.mode()
    }

    /// The epoch that the server tells places of.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.course.epoch()
    }

    /// HISTORY. What came before it belongs to the history before.
    pub(crate) async fn history(&mut self, history: History) -> Result<(), LinkEnd> {
        self.flush().await?;
        self.replica.lock().await.adopt(history.key).await?;
        self.course.history(history.epoch, history.forks);
        Ok(())
    }

    /// LOG.
    pub(crate) fn log(&mut self) -> Result<(), LinkEnd> {
        self.comparison = None;
        self.differing = Differing::default();
        Ok(self.course.log()?)
    }

    /// FULL, of so many entries.
    pub(crate) async fn full(&mut self, entries: u64) -> Result<(), LinkEnd> {
        self.comparison = None;
        self.differing = Differing::default();
        self.leave_other_history().await?;
        let census = self.replica.lock().await.census().await?;
        self.store.expect(entries).await.map_err(ApplyError::from)?;
        Ok(self.course.full(census)?)
    }

    /// DIGEST, and the OK behind it.
    pub(crate) async fn digest(&mut self, digest: Digest) -> Result<Ask, LinkEnd> {
        self.course.compare()?;
        self.replica.lock().await.settle().await?;
        self.leave_other_history().await?;
        let (comparison, ask) = Comparison::begin(self.store.current(), digest);
        self.comparison = Some(comparison);
        Ok(ask)
    }

    /// The sums of all groups.
    pub(crate) fn groups(&mut self, sums: &[Sum]) -> Result<Ask, LinkEnd> {
        let comparison = self.comparison.as_mut().ok_or(Misplaced)?;
        comparison.groups(sums).map_err(|_| LinkEnd::Inconsistent)
    }

    /// The sums of the buckets that were asked for.
    pub(crate) fn buckets(&mut self, sums: &[Sum]) -> Result<Ask, LinkEnd> {
        let comparison = self.comparison.as_mut().ok_or(Misplaced)?;
        comparison.buckets(sums).map_err(|_| LinkEnd::Inconsistent)
    }

    /// What we have of some buckets, to be named to the server.
    pub(crate) async fn named(
        &mut self,
        buckets: u32,
        wanted: HashSet<u32>,
    ) -> Result<Vec<Named>, LinkEnd> {
        let comparison = self.comparison.as_ref().ok_or(Misplaced)?;
        let version = Arc::clone(comparison.version());
        let collecting =
            spawn_blocking(move || Differing::collect(&version, buckets, &wanted)).await;
        let (differing, named) = collecting.map_err(|_| ApplyError::Storage)?;
        self.differing = differing;
        Ok(named)
    }

    /// Hashes of ours that the server does not have, and buckets all of whose entries it has told, behind
    /// its lines for them.
    pub(crate) fn unknown(&mut self, hashes: impl Iterator<Item = Root>, whole: &[u32]) {
        self.course.left_over(self.differing.unknown(hashes, whole));
    }

    /// A line about a mailbox.
    pub(crate) async fn line(&mut self, line: Update) -> Result<(), LinkEnd> {
        if matches!(line, Update::Delete { .. }) && self.course.is_listing() {
            // What it deletes may still be under way.
            self.replica.lock().await.settle().await?;
        }
        let version = self.store.current();
        let (name, entry) = match line {
            Update::Mailbox { name, entry } => (name, Some(entry)),
            Update::Delete { name } => (name, None),
            Update::Unusable(unusable) => {
                self.unusable(&unusable);
                return Ok(());
            }
            Update::DumpComplete | Update::Reached(_) => return Err(Misplaced.into()),
        };
        if self.comparison.is_some() {
            self.differing.told(name.clone());
        }
        Ok(self.course.line(&version, name, entry)?)
    }

    /// A mailbox that we can't hold as the master has it. What we know of it stays: it is not deleted
    /// there.
    fn unusable(&mut self, unusable: &client::Unusable) {
        if let Ok(name) = MailboxName::try_from(unusable.name.as_slice()) {
            self.course.unusable(&name);
            self.differing.told(name);
        }
        if self.unusable == 0 {
            warn!(cause = %unusable, "the master has mailboxes that can't be stored here; this is the first");
        }
        self.unusable += 1;
    }

    /// POSITION.
    pub(crate) fn position(&mut self, sequence: Sequence) -> Result<(), LinkEnd> {
        Ok(self.course.position(sequence)?)
    }

    /// POINT.
    pub(crate) fn point(&mut self, sequence: Sequence, sum: Sum) -> Result<(), LinkEnd> {
        Ok(self.course.point(sequence, sum)?)
    }

    /// Whether what there is had better be carried out before more is noted.
    pub(crate) fn is_full(&self) -> bool {
        self.course.is_full()
    }

    /// Whether deletions wait for a point although changes stream.
    pub(crate) fn defers(&self) -> bool {
        self.course.defers()
    }

    /// Carries out everything, also deletions that would wait for a point, unless they are the
    /// resync's.
    pub(crate) async fn flush_all(&mut self) -> Result<(), LinkEnd> {
        self.course.hurry();
        self.flush().await
    }

    /// Carries out what can be by now. An error says that the list is not the master's.
    pub(crate) async fn flush(&mut self) -> Result<(), LinkEnd> {
        for part in self.course.take() {
            self.carry_out(part).await?;
        }
        Ok(())
    }

    async fn carry_out(&mut self, part: Part) -> Result<(), LinkEnd> {
        let point = part
            .reached
            .clone()
            .filter(|reached| reached.expected.is_some());
        let mut replica = self.replica.lock().await;
        let carried = replica
            .follow(part, &self.origin, self.deleted_since)
            .await?;
        if point.is_some() && carried.mismatch.is_none() && !self.tally.verified {
            replica.remember_complete().await;
        }
        drop(replica);
        let Carried {
            changes,
            deleted,
            held,
            mismatch,
        } = carried;
        self.tally.changes += changes;
        self.tally.deleted += deleted;
        self.tally.held += held;
        self.deleted_since += deleted + held;
        let Some(point) = point else {
            return Ok(());
        };
        let sequence = point.place.sequence;
        if let Some(mismatch) = mismatch {
            error!(
                %sequence,
                epoch = %point.place.epoch,
                count = mismatch.found.count,
                root = %mismatch.found.root,
                count_expected = mismatch.expected.count,
                root_expected = %mismatch.expected.root,
                master = %self.origin.peer,
                "ALARM: the list is not the master's; it goes on being served, and is compared anew"
            );
            let found_by = self.found_by();
            return Err(LinkEnd::Mismatch { sequence, found_by });
        }
        self.deleted_since = 0;
        self.tally.points += 1;
        self.tally.verified = true;
        Ok(())
    }

    fn found_by(&self) -> FoundBy {
        match self.course.mode() {
            _ if self.tally.verified => FoundBy::Stream,
            Mode::Log => FoundBy::Log,
            Mode::Digest => FoundBy::Digest,
            Mode::Full => FoundBy::Full,
        }
    }

    /// A list that takes in parts of another history is a stage of none until it is verified.
    async fn leave_other_history(&self) -> Result<(), LinkEnd> {
        let version = self.store.current();
        let place = version.place();
        if follows(&version) && !self.course.includes(&place) {
            self.replica.lock().await.leave_history().await?;
        }
        Ok(())
    }
}

impl From<Misplaced> for LinkEnd {
    fn from(_: Misplaced) -> Self {
        client::Error::Unexpected { command: "RESYNC" }.into()
    }
}

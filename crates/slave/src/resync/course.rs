//! What a stream after RESYNC has said and what has still to be done about it.
//!
//! ```text
//!           LOG, FULL                       first point
//!   Asked ─────────────► Settling ──────────────────────────► Live
//!     │ DIGEST              ▲  sets: as they come               every line: as it comes
//!     └────► Comparing ─────┘  deletions: wait for the point
//!                     RESYNC
//! ```
//!
//! Knows no socket, no clock and no store: lines go in, [`Part`]s to be carried out come out. A part that
//! is checked against a point holds everything that came before the point and after the last part.

use std::collections::HashSet;
use std::sync::Arc;

use proto::{Entry, MailboxName};
use store::{Epoch, Following, Fork, Place, Sequence, Sum, Version};

use crate::census::Census;
use crate::wishes::{Wish, Wishes};

/// Lines to be carried out together.
#[derive(Debug, Default)]
pub(crate) struct Part {
    /// In this order.
    pub(crate) wishes: Vec<Wish>,
    /// To be deleted behind them, if it is not too much.
    pub(crate) deletions: HashSet<MailboxName>,
    /// The lines list what there is, not what has changed.
    pub(crate) is_listing: bool,
    /// The place that all this leads to.
    pub(crate) reached: Option<Following>,
}

/// How a stream goes on from where we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// With the changes since.
    Log,
    /// With what differs.
    Digest,
    /// With everything.
    Full,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Asked,
    Comparing,
    Settling,
    Live,
}

/// What was said is not possible at this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Misplaced;

/// One stream.
#[derive(Debug)]
pub(crate) struct Course {
    stage: Stage,
    mode: Mode,
    /// Deletions wait for a point in the live phase, too: what follows another one tells of what it
    /// holds as of deletions.
    guarded: bool,
    history: Option<(Epoch, Arc<[Fork]>)>,
    /// Whether everything since the place that we came with has been told as changes.
    continues: bool,
    /// What a FULL is checked off against.
    census: Census,
    /// Names to be deleted at the next point, if it fits.
    pending: HashSet<MailboxName>,
    /// They wait no longer.
    hurried: bool,
    /// What the latest point covers.
    sealed: Option<Sealed>,
    open: Wishes,
    position: Option<Sequence>,
}

#[derive(Debug)]
struct Sealed {
    wishes: Wishes,
    deletions: HashSet<MailboxName>,
    is_listing: bool,
    point: Following,
}

impl Course {
    pub(crate) fn new(guarded: bool) -> Self {
        Self {
            stage: Stage::Asked,
            mode: Mode::Log,
            guarded,
            history: None,
            continues: true,
            census: Census::default(),
            pending: HashSet::new(),
            hurried: false,
            sealed: None,
            open: Wishes::default(),
            position: None,
        }
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// HISTORY: how places are told from here on.
    pub(crate) fn history(&mut self, epoch: Epoch, forks: Vec<Fork>) {
        self.position = None;
        self.history = Some((epoch, forks.into()));
    }

    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.history.as_ref().map(|(epoch, _)| *epoch)
    }

    /// Whether a place is one of the history that is told.
    pub(crate) fn includes(&self, place: &Place) -> bool {
        self.history.as_ref().is_some_and(|(epoch, forks)| {
            let forked = |fork: &Fork| fork.epoch == place.epoch && place.sequence <= fork.sequence;
            *epoch == place.epoch || forks.iter().any(forked)
        })
    }

    /// LOG.
    pub(crate) fn log(&mut self) -> Result<(), Misplaced> {
        match (self.stage, &self.history) {
            (Stage::Asked | Stage::Comparing, Some(_)) => self.stage = Stage::Settling,
            _ => return Err(Misplaced),
        }
        Ok(())
    }

    /// FULL, for which the list has been counted.
    pub(crate) fn full(&mut self, census: Census) -> Result<(), Misplaced> {
        self.log()?;
        self.mode = Mode::Full;
        self.continues = false;
        self.census = census;
        // What a comparison before has found to be left over is in the census, too.
        self.pending = HashSet::new();
        Ok(())
    }

    /// DIGEST.
    pub(crate) fn compare(&mut self) -> Result<(), Misplaced> {
        match (self.stage, &self.history) {
            (Stage::Asked | Stage::Comparing, Some(_)) => self.stage = Stage::Comparing,
            _ => return Err(Misplaced),
        }
        self.mode = Mode::Digest;
        self.continues = false;
        self.pending = HashSet::new();
        Ok(())
    }

    /// Names that a comparison has found to be ours alone.
    pub(crate) fn left_over(&mut self, names: Vec<MailboxName>) {
        self.pending.extend(names);
    }

    /// MAILBOX, RESERVE or DELETE. `version` is the list as it is.
    pub(crate) fn line(
        &mut self,
        version: &Version,
        name: MailboxName,
        entry: Option<Entry>,
    ) -> Result<(), Misplaced> {
        let waits = match self.stage {
            Stage::Asked => return Err(Misplaced),
            Stage::Comparing | Stage::Settling => true,
            Stage::Live => self.guarded,
        };
        if let Some(sealed) = &mut self.sealed {
            sealed.deletions.remove(&name);
        }
        let is_so = self.census.mention(&name, entry.as_ref()) && version.held() == 0;
        match entry {
            None if waits && self.is_listed(version, &name) => {
                self.pending.insert(name);
            }
            // The deletion of what is not there is noted, too: others may have to be told.
            entry => {
                self.pending.remove(&name);
                if !is_so {
                    self.open.note(name, entry);
                }
            }
        }
        Ok(())
    }

    fn is_listed(&self, version: &Version, name: &MailboxName) -> bool {
        let sealed = self.sealed.as_ref();
        version.find(name).is_some()
            || self.open.is_set(name)
            || sealed.is_some_and(|sealed| sealed.wishes.is_set(name))
    }

    /// Whether lines list what there is.
    pub(crate) fn is_listing(&self) -> bool {
        self.stage != Stage::Live && self.mode != Mode::Log
    }

    /// A line about a mailbox that can't be stored: what we have of it stays.
    pub(crate) fn unusable(&mut self, name: &MailboxName) {
        self.census.mention(name, None);
        self.pending.remove(name);
    }

    /// POSITION.
    pub(crate) fn position(&mut self, sequence: Sequence) -> Result<(), Misplaced> {
        match self.stage {
            Stage::Asked | Stage::Comparing => return Err(Misplaced),
            // With what these lack still here, the list is no later stage of any history.
            Stage::Settling if self.mode != Mode::Log => {}
            Stage::Settling | Stage::Live => self.position = Some(sequence),
        }
        Ok(())
    }

    /// POINT.
    pub(crate) fn point(&mut self, sequence: Sequence, sum: Sum) -> Result<(), Misplaced> {
        if matches!(self.stage, Stage::Asked | Stage::Comparing) {
            return Err(Misplaced);
        }
        let point = self.following(sequence, Some(sum)).ok_or(Misplaced)?;
        let is_listing = self.is_listing();
        self.stage = Stage::Live;
        self.continues = true;
        self.position = None;
        self.pending
            .extend(std::mem::take(&mut self.census).into_missing());
        let sealed = self.sealed.get_or_insert_with(|| Sealed {
            wishes: Wishes::default(),
            deletions: HashSet::new(),
            is_listing,
            point: point.clone(),
        });
        sealed.wishes.absorb(&mut self.open);
        sealed.deletions.extend(self.pending.drain());
        let continues = sealed.point.continues && point.continues;
        sealed.point = Following { continues, ..point };
        Ok(())
    }

    /// Whether no more should be noted before what there is is carried out.
    pub(crate) fn is_full(&self) -> bool {
        self.open.is_full()
            || self
                .sealed
                .as_ref()
                .is_some_and(|sealed| sealed.wishes.is_full())
    }

    /// Whether deletions wait that are no longer those of the resync.
    pub(crate) fn defers(&self) -> bool {
        self.stage == Stage::Live && !self.pending.is_empty()
    }

    /// In the live phase deletions need wait no longer: no point comes, and somebody asks.
    pub(crate) fn hurry(&mut self) {
        if self.defers() {
            self.hurried = true;
        }
    }

    /// What is to be carried out now, part by part.
    pub(crate) fn take(&mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        if let Some(mut sealed) = self.sealed.take() {
            parts.push(Part {
                wishes: sealed.wishes.take(),
                deletions: sealed.deletions,
                is_listing: sealed.is_listing,
                reached: Some(sealed.point),
            });
        }
        let mut deletions = HashSet::new();
        if std::mem::take(&mut self.hurried) {
            deletions = std::mem::take(&mut self.pending);
        }
        // While a deletion waits, not all is here that came before the position.
        let position = self.position.take_if(|_| self.pending.is_empty());
        let reached = position.and_then(|sequence| self.following(sequence, None));
        let wishes = self.open.take();
        if !wishes.is_empty() || !deletions.is_empty() || reached.is_some() {
            parts.push(Part {
                wishes,
                deletions,
                is_listing: self.is_listing(),
                reached,
            });
        }
        parts
    }

    fn following(&self, sequence: Sequence, expected: Option<Sum>) -> Option<Following> {
        let (epoch, forks) = self.history.as_ref()?;
        Some(Following {
            place: Place {
                epoch: *epoch,
                sequence,
            },
            forks: Arc::clone(forks),
            continues: self.continues,
            expected,
        })
    }
}

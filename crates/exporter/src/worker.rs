//! The exporter's thread: what it does next.
//!
//! ```text
//!                 state file fits          others replaced the file
//!   start ────────────────────► following ───────────────────────► comparing
//!     │                          ▲  │  ▲                            │  ▲
//!     │ no state, or another     │  │  └── all differences written ◄┘  │
//!     └──────────────────────────┼──┼─────────────────────────────────┘
//!                                │  └ others committed to the file: compares between
//!                                └─── its own transactions, and goes on following
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use cyrusdb::mailboxes::KeyStyle;
use proto::MailboxName;
use store::{Feed, Sequence, Store};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::apply::{Applied, apply};
use crate::checkpoint::{Checkpoints, record_bytes};
use crate::differences::Differences;
use crate::place::of_database;
use crate::position::{Next, Position};
use crate::rebuild::rebuild;
use crate::scan::Scan;
use crate::table::Table;
use crate::track::Track;
use crate::{ExportError, ExporterConfig, Health, State};

mod ahead;
mod compare;
mod linger;
mod trouble;
mod upkeep;
mod waits;

use trouble::Alarm;
use upkeep::usable_state;
use waits::{Waits, Woken};

/// How long a checkpoint that has just swapped the files may take to say so.
const SETTLE: Duration = Duration::from_millis(500);

/// How soon to look again while a reservation is not exported yet.
const LINGER_STEP: Duration = Duration::from_millis(2);

/// How long the last sync of a transaction waits for the first one of the next.
const SYNC_DELAY: Duration = Duration::from_millis(10);

/// What the thread tells.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) reached: watch::Sender<Sequence>,
    pub(crate) ready: watch::Sender<bool>,
    pub(crate) health: watch::Sender<Health>,
}

/// Names to be looked at in transactions.
struct Work {
    names: VecDeque<MailboxName>,
    /// Reached once they are done.
    through: Sequence,
    /// Of a comparison: the hold on the history from there on, and how long it took.
    compared: Option<(Feed, Duration)>,
}

/// What is to be done after one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    More,
    Idle,
    Linger,
}

/// The exporter's thread.
pub(crate) struct Worker {
    store: Store,
    config: ExporterConfig,
    told: Told,
    stop: CancellationToken,
    table: Option<Table>,
    style: Option<KeyStyle>,
    track: Track,
    /// `None`: nothing is known of the file.
    position: Option<Position>,
    /// Whether the position has been seen to fit the file.
    verified: bool,
    scan: Option<Scan>,
    /// What a comparison has found.
    repair: Option<Work>,
    /// What the store has that the file lacks.
    changes: Option<Work>,
    /// Where the store was at the start.
    goal: Sequence,
    /// Since when a reservation is not exported.
    lingering: Option<Instant>,
    checkpoints: Checkpoints,
    record_bytes: u64,
    differences: Differences,
    saved: Option<State>,
    housekept: Instant,
    alarm: Alarm,
}

impl Worker {
    pub(crate) fn new(
        store: Store,
        config: ExporterConfig,
        told: Told,
        stop: CancellationToken,
    ) -> Self {
        let state = usable_state(&store, &config);
        let position = state.map(|state| Position::new(&store, state.sequence));
        Self {
            goal: store.current().sequence(),
            track: Track::new(state.map(|state| state.identity)),
            position,
            verified: false,
            table: None,
            style: None,
            scan: None,
            repair: None,
            changes: None,
            lingering: None,
            checkpoints: Checkpoints::new(),
            record_bytes: record_bytes(&store.current(), KeyStyle::ByName),
            differences: Differences::default(),
            saved: state,
            housekept: Instant::now(),
            alarm: Alarm::default(),
            store,
            config,
            told,
            stop,
        }
    }

    /// Works until it is told to stop.
    pub(crate) fn run(mut self, runtime: &Runtime) {
        let (stop, awaited) = (self.stop.clone(), self.config.awaited);
        let mut waits = Waits::new(runtime, &self.store, stop, awaited);
        if self.lacks_history() {
            waits.history(&self.store);
        }
        let mut end: Option<Instant> = None;
        loop {
            if end.is_none() && self.stop.is_cancelled() {
                end = Some(Instant::now() + self.config.drain_max);
            }
            let turn = self.turn();
            match (turn, end) {
                (Ok(Turn::More), Some(end)) if Instant::now() < end => self.succeeded(),
                // Somebody writes; each try for the lock takes its time.
                (Err(error), Some(end)) if error.is_locked() && Instant::now() < end => {}
                (_, Some(_)) => break,
                (Ok(turn), None) => {
                    self.succeeded();
                    if let Err(error) = self.rest(turn, &mut waits) {
                        waits.pause(self.failed(error));
                    }
                }
                (Err(error), None) => waits.pause(self.failed(error)),
            }
        }
        self.stop.cancel();
        if let Some(done) = self.checkpoints.join() {
            self.track.moved(&done);
        }
        self.save();
    }

    /// Whether the history from before the store's start would save a comparison.
    fn lacks_history(&self) -> bool {
        let missing = |position: &Position| position.at() < self.store.current().history().start();
        self.position.as_ref().is_some_and(missing)
    }

    /// What lies between two steps.
    fn rest(&mut self, turn: Turn, waits: &mut Waits<'_>) -> Result<(), ExportError> {
        match turn {
            Turn::More => std::thread::sleep(self.config.transaction.pause),
            Turn::Linger => waits.pause(LINGER_STEP),
            Turn::Idle => {
                let at = self.position.as_ref().map_or(Sequence(0), Position::at);
                let unsynced = self.table.as_ref().and_then(|table| table.unsynced);
                let at_most = unsynced.map_or(self.config.poll, |_| SYNC_DELAY);
                if waits.change(at, at_most) == Woken::Announced {
                    self.take_ahead(waits)?;
                }
            }
        }
        Ok(())
    }

    /// One step: at most one transaction for the store's changes, and for a comparison one page or
    /// one transaction.
    fn turn(&mut self) -> Result<Turn, ExportError> {
        if let Some(done) = self.checkpoints.ended(Duration::ZERO) {
            self.track.moved(&done);
        }
        self.open()?;
        if !self.verified && self.position.is_some() || self.housekept.elapsed() >= self.config.poll
        {
            self.housekeep()?;
        }
        let mut idle = Turn::Idle;
        if self.changes.is_none()
            && let Some(work) = self.next_changes()
        {
            if self.lingers(&work.names) {
                idle = Turn::Linger;
            } else {
                self.lingering = None;
                self.changes = Some(work);
            }
        }
        let changes = self.changes.take();
        let had_changes = changes.is_some();
        if let Some(work) = changes {
            self.changes = self.carry_out(work)?;
        }
        if let Some(work) = self.repair.take() {
            self.repair = self.carry_out(work)?;
        } else if self.scan.is_some() {
            self.compare_page()?;
        } else if self.position.is_none() || self.track.wants_compare() {
            self.start_compare()?;
        } else if let Some(table) = &mut self.table
            && !had_changes
        {
            table.sync_after(SYNC_DELAY)?;
            return Ok(idle);
        }
        Ok(if self.has_more() { Turn::More } else { idle })
    }

    /// Whether there is something to be done at once.
    fn has_more(&self) -> bool {
        let behind = |position: &Position| position.at() < self.store.current().sequence();
        self.changes.is_some()
            || self.repair.is_some()
            || self.scan.is_some()
            || self.track.wants_compare()
            || self.position.as_ref().is_none_or(behind)
    }

    fn open(&mut self) -> Result<(), ExportError> {
        if self.table.is_none() {
            let version = self.store.current();
            let table = match Table::open(&self.config, self.style, &version) {
                Err(error) if error.misfit().is_some() => {
                    rebuild(&self.config, error, self.style, &version)?;
                    self.lose("mailboxes.db was replaced by a new file");
                    Table::open(&self.config, self.style, &version)?
                }
                other => other?,
            };
            self.style = Some(table.style());
            self.table = Some(table);
        }
        Ok(())
    }

    /// What the store has that the file lacks, if that is known.
    fn next_changes(&mut self) -> Option<Work> {
        let position = self.position.as_ref()?;
        match position.next(&self.store, self.config.transaction.entries_max.max(1)) {
            Next::Nothing => None,
            Next::Changes(names, through) => Some(Work {
                names,
                through,
                compared: None,
            }),
            Next::Behind => {
                self.lose("the store's history does not reach back to the export");
                None
            }
        }
    }

    /// One transaction of some work; returns what is left of it. An error leaves the work to the
    /// next comparison or the history, which both still have it.
    fn carry_out(&mut self, mut work: Work) -> Result<Option<Work>, ExportError> {
        let Some(table) = &mut self.table else {
            return Ok(Some(work));
        };
        if !work.names.is_empty() {
            let applied = apply(
                table,
                &mut work.names,
                &self.store.current(),
                &self.config.transaction,
                &mut self.track,
                &mut self.differences,
            );
            match applied {
                Ok(Applied::Done) => self.verified = true,
                Ok(Applied::Replaced) => {
                    return Ok(self.replaced().then_some(work));
                }
                Err(error) => {
                    if work.compared.is_some() {
                        self.repair = Some(work);
                    }
                    return Err(of_database(&self.config.mailboxes_db)(error));
                }
            }
        }
        if work.names.is_empty() {
            self.finish(work);
            return Ok(None);
        }
        Ok(Some(work))
    }

    fn finish(&mut self, work: Work) {
        match (work.compared, &mut self.position) {
            (Some((pin, busy)), position) => {
                self.track.compare_took(busy);
                if position.is_none() {
                    *position = Some(Position::held(pin));
                }
                info!(
                    busy_ms = busy.as_millis(),
                    "mailboxes.db compared and put right"
                );
            }
            (None, Some(position)) => position.advance(&self.store, work.through),
            (None, None) => {}
        }
        self.publish();
    }

    /// Tells how far the file is.
    fn publish(&mut self) {
        let Some(position) = self.position.as_ref().filter(|_| self.verified) else {
            return;
        };
        let at = position.at();
        self.told.reached.send_if_modified(|reached| {
            let ahead = at > *reached;
            *reached = at.max(*reached);
            ahead
        });
        if at >= self.goal {
            self.told
                .ready
                .send_if_modified(|ready| !std::mem::replace(ready, true));
        }
    }

    /// The file under the path is not the one we knew. If a checkpoint of ours has put it there, its
    /// content is the same, and work goes on: `true`.
    fn replaced(&mut self) -> bool {
        if self.checkpoints.is_running() {
            if let Some(done) = self.checkpoints.ended(SETTLE) {
                self.track.moved(&done);
            }
            return true;
        }
        self.lose("mailboxes.db was replaced or emptied");
        false
    }

    /// Nothing is known of the file any more.
    fn lose(&mut self, why: &'static str) {
        info!(why, "comparing the whole of mailboxes.db");
        self.track.lose();
        self.position = None;
        self.scan = None;
        self.changes = None;
        self.repair = None;
        self.table = None;
    }
}

//! A transaction that is begun while the store still makes the change durable.
//!
//! Where an OK waits for the file, its first sync and that of the store's log need not wait for each other. The records
//! are written only when the change is durable: nothing may be in the file that a crash can take back.

use std::time::Duration;

use super::waits::Waits;
use super::{Work, Worker};
use crate::ExportError;
use crate::apply::Opened;
use crate::place::of_database;
use crate::position::Next;

/// How long the file stays locked for a change that was announced.
const READY_MAX: Duration = Duration::from_millis(5);

/// What came of an announcement.
enum Ahead {
    /// No change, or nothing that could be got ready for it.
    Nothing,
    /// The file is not the one that was expected.
    Replaced,
    /// A change, of which so much is left.
    Done(Work),
}

impl Worker {
    /// Gets the file ready for a change that has been announced, and writes it when it comes.
    pub(super) fn take_ahead(&mut self, waits: &mut Waits<'_>) -> Result<(), ExportError> {
        if !self.verified || self.track.is_doubtful() || self.has_more() {
            return Ok(());
        }
        let done = self.carry_out_ahead(waits);
        match done.map_err(of_database(&self.config.mailboxes_db))? {
            Ahead::Nothing => {}
            Ahead::Replaced => drop(self.replaced()),
            Ahead::Done(work) if work.names.is_empty() => self.finish(work),
            Ahead::Done(work) => self.changes = Some(work),
        }
        Ok(())
    }

    fn carry_out_ahead(&mut self, waits: &mut Waits<'_>) -> Result<Ahead, cyrusdb::Error> {
        let (Some(table), Some(position)) = (&mut self.table, &self.position) else {
            return Ok(Ahead::Nothing);
        };
        let opened = Opened::begin(table, &mut self.track, &mut self.differences)?;
        let Some(mut opened) = opened else {
            return Ok(Ahead::Replaced);
        };
        opened.get_ready()?;
        if !waits.announced_change(position.at(), READY_MAX) {
            return Ok(Ahead::Nothing);
        }
        let bounds = &self.config.transaction;
        let next = position.next(&self.store, bounds.entries_max.max(1));
        let Next::Changes(mut names, through) = next else {
            return Ok(Ahead::Nothing);
        };
        opened.carry_out(&mut names, &self.store.current(), bounds)?;
        Ok(Ahead::Done(Work {
            names,
            through,
            compared: None,
        }))
    }
}

//! Comparisons, a page at a time.

use tracing::{debug, info};

use super::{Work, Worker};
use crate::ExportError;
use crate::bulk::fill_empty;
use crate::checkpoint::record_bytes;
use crate::position::Position;
use crate::scan::{Page, Scan};

impl Worker {
    /// Begins a comparison with the list as it is now.
    pub(super) fn start_compare(&mut self) -> Result<(), ExportError> {
        let Some(table) = &mut self.table else {
            return Ok(());
        };
        if self.position.is_none() && !self.checkpoints.is_running() {
            let version = self.store.current();
            let pin = self.store.feed(version.sequence());
            if let Some(identity) = fill_empty(&self.config, table, &version)? {
                self.track.left(identity);
                self.position = Some(Position::held(pin));
                self.verified = true;
                info!(mailboxes = version.len(), "mailboxes.db filled");
                self.publish();
                return Ok(());
            }
        }
        self.track.compare_starts();
        self.scan = Some(Scan::start(&self.store, table));
        self.record_bytes = record_bytes(&self.store.current(), table.style());
        self.compare_page()
    }

    /// Compares one more page.
    pub(super) fn compare_page(&mut self) -> Result<(), ExportError> {
        let (Some(scan), Some(table)) = (&mut self.scan, &mut self.table) else {
            return Ok(());
        };
        match scan.page(table, &mut self.track, &mut self.differences)? {
            Page::More => {}
            Page::Replaced => {
                self.replaced();
            }
            Page::Last => {
                self.verified = true;
                if let Some(scan) = self.scan.take() {
                    let found = scan.finish(table, &mut self.differences);
                    debug!(
                        records = found.records,
                        differences = found.names.len(),
                        "mailboxes.db read"
                    );
                    let repair = Work {
                        names: found.names,
                        through: found.sequence,
                        compared: Some((found.pin, found.busy)),
                    };
                    self.repair = self.carry_out(repair)?;
                }
            }
        }
        Ok(())
    }
}

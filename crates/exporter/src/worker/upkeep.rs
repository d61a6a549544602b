//! What is done now and then: a look at the file, checkpoints, the state file.

use std::time::{Duration, Instant, SystemTime};

use store::Store;
use tracing::{debug, warn};

use super::Worker;
use crate::apply::unix_seconds;
use crate::track::Seen;
use crate::{ExportError, ExporterConfig, State};

impl Worker {
    /// What is done now and then, whether there is work or not.
    pub(super) fn housekeep(&mut self) -> Result<(), ExportError> {
        self.housekept = Instant::now();
        let Some(table) = &mut self.table else {
            return Ok(());
        };
        let (identity, records) = table.look()?;
        if self.track.observe(identity) == Seen::Other {
            self.replaced();
            return Ok(());
        }
        self.verified = true;
        self.publish();
        self.checkpoints.consider(
            &self.config,
            (identity.committed, records),
            self.record_bytes,
            &self.stop,
        );
        self.save();
        Ok(())
    }

    /// Keeps the position, unless others' changes have not been looked at yet.
    pub(super) fn save(&mut self) {
        let (Some(position), Some(identity)) = (&self.position, self.track.known()) else {
            return;
        };
        let busy = self.scan.is_some() || self.repair.is_some();
        if !self.verified || busy || self.track.is_doubtful() {
            return;
        }
        let state = State {
            epoch: self.store.current().epoch(),
            sequence: position.at(),
            identity,
            exported: unix_seconds(SystemTime::now()),
            settings: self.config.fingerprint(),
        };
        let same = |saved: State| {
            State {
                exported: state.exported,
                ..saved
            } == state
        };
        if self.saved.is_some_and(same) {
            return;
        }
        let synced = self
            .table
            .as_mut()
            .map(|table| table.sync_after(Duration::ZERO));
        if let Some(Err(error)) = synced {
            debug!(cause = %error, "can't keep the export's position");
            return;
        }
        match state.save(&self.config.state_file) {
            Ok(()) => self.saved = Some(state),
            Err(error) => debug!(cause = %error, "can't keep the export's position"),
        }
    }
}

/// The state that an earlier run left, if it says something about this store.
pub(super) fn usable_state(store: &Store, config: &ExporterConfig) -> Option<State> {
    let state = match State::load(&config.state_file) {
        Ok(state) => state?,
        Err(error) => {
            let path = config.state_file.display();
            warn!(%path, cause = %error, "state file is of no use, all of mailboxes.db is compared");
            return None;
        }
    };
    let version = store.current();
    let fits = version.lineage().includes(state.epoch, state.sequence)
        && state.sequence <= version.sequence()
        && state.settings == config.fingerprint();
    fits.then_some(state)
}

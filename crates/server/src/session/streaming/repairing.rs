//! The repair pass behind a dump: endangered names again, as ordinary lines (see `crate::repair`).

use std::sync::Arc;
use std::time::Duration;

use proto::{MailboxName, NameRef};
use store::{Epoch, Sequence, Version};
use tracing::{info, warn};

use super::dumping::Job;
use crate::listener::Shared;
use crate::repair::{self, Lacking};

/// How long a repair pass waits for the store's history.
const HISTORY_WAIT_MAX: Duration = Duration::from_mins(1);

/// With more deletions than this the list is walked as if nothing were known, which is quicker.
const NAMES_MAX: usize = 20_000;

/// Where the repair pass stands.
pub(super) enum Repair {
    /// The pool looks for endangered names.
    Looking(Job<Vec<MailboxName>>),
    /// They are being sent.
    Sending(std::vec::IntoIter<MailboxName>),
    /// All have been sent.
    Done,
}

impl Repair {
    /// Looks for what a slave that was last in step at `proven` may lose in the dump just sent. Names
    /// deleted before the store was opened are known once its history has been read.
    pub(super) fn look(shared: &Arc<Shared>, proven: Option<(Epoch, Sequence)>) -> Self {
        let mut history = shared.store.history_complete();
        let history_read = async move {
            let read = history.wait_for(|&complete| complete);
            if tokio::time::timeout(HISTORY_WAIT_MAX, read).await.is_err() {
                warn!("repair pass with less history than there is: it takes long to be read");
            }
        };
        let store = shared.store.clone();
        let look = move || {
            let version = store.current();
            repair::endangered(&version, &lacking(&version, proven))
        };
        let job = Job::start_after(&shared.dump_pool, history_read, look);
        Self::Looking(job)
    }

    pub(super) fn found(&mut self, names: Vec<MailboxName>) {
        info!(
            lines = names.len(),
            "repair pass for names that a Cyrus slave may have lost"
        );
        *self = if names.is_empty() {
            Self::Done
        } else {
            Self::Sending(names.into_iter())
        };
    }

    /// The next name to send again.
    pub(super) fn next(&mut self) -> Option<MailboxName> {
        let Self::Sending(names) = self else {
            return None;
        };
        let next = names.next();
        if next.is_none() {
            *self = Self::Done;
        }
        next
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
}

/// What the slave may hold that `version` lacks, as far as history tells.
fn lacking(version: &Version, proven: Option<(Epoch, Sequence)>) -> Lacking {
    let history = version.history();
    let deleted_since = |position: Sequence| {
        let notes = history.since(position)?;
        let deleted = notes.filter(|note| note.new_location.is_none());
        Some(deleted.map(|note| note.mailbox))
    };
    let known = proven
        .filter(|(epoch, position)| *epoch == version.epoch() && *position <= version.sequence());
    if let Some(deleted) = known.and_then(|(_, position)| deleted_since(position)) {
        let deleted: Vec<NameRef<'_>> = deleted.take(NAMES_MAX + 1).collect();
        if deleted.len() <= NAMES_MAX {
            return Lacking::Names(deleted.into_iter().map(NameRef::to_name).collect());
        }
    }
    let deleted = deleted_since(history.start()).into_iter().flatten();
    let endangering = deleted.filter(|name| repair::endangers_others(*name));
    Lacking::Unknown(endangering.map(NameRef::to_name).collect())
}

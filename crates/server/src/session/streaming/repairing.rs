//! The repair pass behind a dump: endangered names again, as ordinary lines (see `crate::repair`).

use std::sync::Arc;
use std::time::Duration;

use proto::{MailboxName, NameRef};
use store::{Epoch, Note, Sequence, Version};
use tracing::{info, warn};

use crate::listener::Shared;
use crate::planes::Job;
use crate::repair::{self, Lacking, Names};

/// How long a repair pass waits for the store's history.
const HISTORY_WAIT_MAX: Duration = Duration::from_mins(1);

/// With more deletions than this the list is walked as if nothing were known, which is quicker.
const NAMES_MAX: usize = 20_000;

/// Where the repair pass stands.
pub(super) enum Repair {
    /// The pool looks for endangered names.
    Looking(Job<Names>),
    /// They are being sent; so many have been.
    Sending(Names, usize),
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
        let (store, latest) = (shared.store.clone(), shared.repairs.clone());
        let look = move || {
            let version = store.current();
            match known(&version, proven) {
                Some(names) => repair::endangered(&version, &names),
                None => latest.of(&version, || {
                    repair::endangered(&version, &unknown(&version))
                }),
            }
        };
        let job = shared.dump_pool.start_job_after(history_read, look);
        Self::Looking(job)
    }

    pub(super) fn found(&mut self, names: Names) {
        info!(
            lines = names.len(),
            "repair pass for names that a Cyrus slave may have lost"
        );
        *self = if names.is_empty() {
            Self::Done
        } else {
            Self::Sending(names, 0)
        };
    }

    /// The next name to send again.
    pub(super) fn next(&mut self) -> Option<MailboxName> {
        let Self::Sending(names, sent) = self else {
            return None;
        };
        let next = names.get(*sent).cloned();
        *sent += 1;
        if next.is_none() {
            *self = Self::Done;
        }
        next
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
}

/// What a slave that was in step at `proven` may hold that `version` lacks; `None`: nobody knows.
fn known(version: &Version, proven: Option<(Epoch, Sequence)>) -> Option<Lacking> {
    let (epoch, position) = proven?;
    if epoch != version.epoch() || position > version.sequence() {
        return None;
    }
    let deleted = deleted(version.history().since(position)?);
    let deleted: Vec<NameRef<'_>> = deleted.take(NAMES_MAX + 1).collect();
    let few = deleted.len() <= NAMES_MAX;
    few.then(|| Lacking::Names(deleted.into_iter().map(NameRef::to_name).collect()))
}

/// What a slave of which nothing is known may hold that `version` lacks, as far as history tells.
fn unknown(version: &Version) -> Lacking {
    let history = version.history();
    let notes = history.since_with(history.start(), repair::endangering_octets());
    let deleted = deleted(notes.into_iter().flatten());
    Lacking::Unknown(deleted.map(NameRef::to_name).collect())
}

fn deleted<'a>(notes: impl Iterator<Item = Note<'a>>) -> impl Iterator<Item = NameRef<'a>> {
    let deleted = notes.filter(|note| note.new_location.is_none());
    deleted.map(|note| note.mailbox)
}

//! Mailboxes that a Cyrus master has removed from the file while ours was not running.

use std::collections::HashSet;
use std::sync::Arc;

use proto::{Edit, EditKind, EntryRef, MailboxName};
use store::{Batch, EditError, Origin, Store, looks_like_loss};
use tracing::info;

use super::read::FileList;
use super::times::ChangeTimes;

/// Edits in one batch.
const BATCH_EDITS: usize = 500;

/// What became of entries that the file lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gone {
    /// So many were removed from the store.
    Removed(u64),
    /// These are missing, but not believed to be removed: the store stands.
    Held(Vec<MailboxName>),
}

/// Removes from a store that has a list the active entries that the file lacks, if a Cyrus master has
/// written the file since `last_export` (Unix seconds): some record in it is later than that. An entry
/// that the store itself has changed since (`times` reach back to that export) stands, and so does every reservation: `ctl_cyrusdb -r`
/// throws those away at each start.
///
/// Where nothing in the file is later, nobody can have removed them one by one: it was emptied, or
/// put back from a copy. Where they are too many, it has lost its list.
pub async fn gone(
    store: &Store,
    list: &FileList,
    last_export: u64,
    times: &ChangeTimes,
    peer: &str,
) -> Result<Gone, EditError> {
    let written = |entry: &super::FileEntry| entry.modified.is_some_and(|at| at > last_export);
    let names = missing(store, list, times);
    let count = u64::try_from(names.len()).unwrap_or(u64::MAX);
    if names.is_empty() {
        return Ok(Gone::Removed(0));
    }
    let is_written = list.entries.iter().any(written);
    if !is_written || looks_like_loss(store.current().len(), names.len()) {
        return Ok(Gone::Held(names));
    }
    let origin = Origin {
        identity: Arc::from("import"),
        peer: Arc::from(peer),
    };
    for portion in names.chunks(BATCH_EDITS) {
        let delete = |mailbox: &MailboxName| {
            info!(%mailbox, "removed, because a later writer of mailboxes.db has removed it");
            Edit {
                mailbox: mailbox.clone(),
                kind: EditKind::Delete,
            }
        };
        let edits = portion.iter().map(delete).collect();
        let origin = origin.clone();
        store.edit(Batch { origin, edits }).await?;
    }
    Ok(Gone::Removed(count))
}

fn missing(store: &Store, list: &FileList, times: &ChangeTimes) -> Vec<MailboxName> {
    let in_file: HashSet<&MailboxName> = list.entries.iter().map(|found| &found.name).collect();
    let version = store.current();
    version
        .walk()
        .filter(|listed| matches!(listed.entry, EntryRef::Active { .. }))
        .map(|listed| listed.mailbox.to_name())
        .filter(|name| !in_file.contains(name) && times.of(name).is_none())
        .collect()
}

//! Entries of a file put into a store.

use std::sync::Arc;

use proto::{Edit, EditKind, Entry, MailboxName, Refusal};
use store::{Batch, EditError, Origin, Store};
use thiserror::Error;
use tracing::{info, warn};

use super::read::{FileEntry, FileList};
use super::times::ChangeTimes;
use crate::apply::unix_seconds;

/// Edits in one batch.
const BATCH_EDITS: usize = 4096;
/// Refused names told one by one.
const TOLD_MAX: usize = 100;

/// What an import came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// Entries that are in the store now.
    pub entries: u64,
    /// Entries that the store's rules refused.
    pub refused: Vec<(MailboxName, Refusal)>,
    /// Entries for which the store stands.
    pub older: u64,
}

/// Why an import ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A whole file goes into an empty store only.
    #[error("store already holds {0} mailboxes")]
    NotEmpty(u64),
    /// The store can't be written.
    #[error(transparent)]
    Store(#[from] EditError),
}

/// Puts a whole file into a store without an entry. `peer` is where it comes from, for the log.
pub async fn into_empty(
    store: &Store,
    list: &FileList,
    peer: &str,
) -> Result<Imported, ImportError> {
    let count = u64::try_from(store.current().len()).unwrap_or(u64::MAX);
    if count > 0 {
        return Err(ImportError::NotEmpty(count));
    }
    let entries: Vec<&FileEntry> = list.entries.iter().collect();
    put(store, &entries, peer).await
}

/// Puts those entries of a file into a store that were written later than `last_export` (Unix
/// seconds; `None`, where no export is known of: not one) and than the store's own last change of
/// that name, according to `times`, which reach back to that export. A tie is the store's.
pub async fn later(
    store: &Store,
    list: &FileList,
    last_export: Option<u64>,
    times: &ChangeTimes,
    peer: &str,
) -> Result<Imported, ImportError> {
    let version = store.current();
    let is_later = |found: &&FileEntry| {
        let (Some(modified), Some(exported)) = (found.modified, last_export) else {
            return false;
        };
        let changed = times.of(&found.name).map_or(0, unix_seconds);
        modified > exported && modified > changed
    };
    let differs = |found: &&FileEntry| {
        let (own, theirs) = (version.find(&found.name), found.entry.lend());
        own.is_none_or(|own| {
            (own.entry.location(), own.entry.acl()) != (theirs.location(), theirs.acl())
        })
    };
    let (taken, older): (Vec<&FileEntry>, Vec<&FileEntry>) =
        list.entries.iter().filter(differs).partition(is_later);
    for found in &taken {
        info!(mailbox = %found.name, modified = found.modified, "imported, because it is later than the last export");
    }
    let mut imported = put(store, &taken, peer).await?;
    imported.older = u64::try_from(older.len()).unwrap_or(u64::MAX);
    Ok(imported)
}

async fn put(store: &Store, entries: &[&FileEntry], peer: &str) -> Result<Imported, ImportError> {
    let origin = Origin {
        identity: Arc::from("import"),
        peer: Arc::from(peer),
    };
    let mut imported = Imported::default();
    for portion in entries.chunks(BATCH_EDITS) {
        let edits = portion.iter().map(|found| edit_of(found)).collect();
        let batch = Batch {
            origin: origin.clone(),
            edits,
        };
        let answers = store.edit(batch).await?;
        for (found, answer) in portion.iter().zip(answers) {
            match answer {
                Ok(_) => imported.entries += 1,
                Err(refusal) => imported.refuse(&found.name, refusal),
            }
        }
    }
    Ok(imported)
}

impl Imported {
    fn refuse(&mut self, name: &MailboxName, refusal: Refusal) {
        if self.refused.len() < TOLD_MAX {
            warn!(mailbox = %name, cause = %refusal, "not imported");
        }
        self.refused.push((name.clone(), refusal));
    }
}

fn edit_of(found: &FileEntry) -> Edit {
    let kind = match &found.entry {
        Entry::Active { location, acl } => EditKind::Activate {
            location: location.clone(),
            acl: acl.clone(),
        },
        Entry::Reserved { location, .. } => EditKind::Reserve {
            location: location.clone(),
        },
    };
    Edit {
        mailbox: found.name.clone(),
        kind,
    }
}

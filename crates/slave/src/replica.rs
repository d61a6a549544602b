//! The slave's list: the only place that changes the store.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proto::{Edit, EditKind, Entry, MailboxName};
use store::{Batch, EditError, Origin, Store, Version, looks_like_loss};
use thiserror::Error;
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use crate::census::Census;
use crate::files::FileError;
use crate::held::{Held, Saving};
use crate::provenance::Provenance;
use crate::wishes::Wish;

/// Deletions handed to the writer at once.
const DELETIONS_AT_ONCE: usize = 8192;

/// Why the list can't be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The store does not take it: the disk is full or broken, or the store has stopped.
    #[error("store does not take the master's changes")]
    Storage,
}

impl From<EditError> for ApplyError {
    fn from(_: EditError) -> Self {
        Self::Storage
    }
}

/// A slave's list and what is remembered beside it.
#[derive(Debug)]
pub(crate) struct Replica {
    store: Store,
    data_dir: PathBuf,
    upstream: String,
    held: Held,
    /// What the state file says; `None`: it could not be written.
    provenance: Option<Provenance>,
}

/// What became of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The list is the master's; so many names were deleted.
    Applied { deleted: usize },
    /// As many names are held.
    Held { names: usize },
}

impl Replica {
    /// Reads what is remembered of the store, and puts on record that it is a slave's. Blocks.
    pub(crate) fn open(data_dir: &Path, store: Store, upstream: &str) -> Result<Self, FileError> {
        let version = store.current();
        let held = Held::read(data_dir, &version).unwrap_or_else(|cause| {
            warn!(%cause, "names that were held are forgotten; the next dump finds them again");
            Held::none(data_dir)
        });
        let before = Provenance::read(data_dir).unwrap_or_else(|cause| {
            warn!(%cause, "the list counts as incomplete until the master's next dump");
            None
        });
        if let Some(other) = before.as_ref().filter(|before| before.upstream != upstream) {
            warn!(
                before = other.upstream,
                now = upstream,
                "another master is followed now"
            );
        }
        let complete = before
            .as_ref()
            .is_some_and(|before| before.vouches_for(&version));
        let provenance = Provenance {
            upstream: upstream.to_owned(),
            epoch: version.epoch(),
            complete,
        };
        if before.as_ref() != Some(&provenance) {
            provenance.write(data_dir)?;
        }
        Ok(Self {
            store,
            data_dir: data_dir.to_owned(),
            upstream: upstream.to_owned(),
            held,
            provenance: Some(provenance),
        })
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.provenance
            .as_ref()
            .is_some_and(|provenance| provenance.complete)
    }

    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// What a dump is to be checked off against.
    pub(crate) async fn census(&self) -> Result<Census, ApplyError> {
        let version = self.store.current();
        let listing = spawn_blocking(move || Census::new(&version));
        listing.await.map_err(|_| ApplyError::Storage)
    }

    /// Carries out what the master has said. Entries that are already as said are left alone.
    pub(crate) async fn apply(
        &mut self,
        wishes: Vec<Wish>,
        origin: &Origin,
    ) -> Result<(), ApplyError> {
        let version = self.store.current();
        let edits = wishes.into_iter().filter_map(|(mailbox, entry)| {
            // A held name that is spoken of must be changed even where it stays the same: this is
            // how it is known, after a restart, that it is no longer held.
            let was_held = self.held.end(&mailbox);
            let known = version.get(&mailbox).map(|stored| &stored.entry);
            let differs = was_held || known != entry.as_ref();
            differs.then(|| edit(mailbox, entry))
        });
        let edits: Vec<Edit> = edits.collect();
        self.carry_out(edits, origin).await
    }

    /// Ends a dump whose end is proven: deletes the names that it lacked, or holds them.
    pub(crate) async fn finish_dump(
        &mut self,
        census: Census,
        origin: &Origin,
    ) -> Result<Outcome, ApplyError> {
        let version = self.store.current();
        let listed = version.len();
        // Some may be gone since the dump began: an operator has confirmed what was held before.
        let counting = spawn_blocking(move || missing(census, &version));
        let missing = counting.await.map_err(|_| ApplyError::Storage)?;
        let outcome = if looks_like_loss(listed, missing.len()) {
            let names = missing.len();
            error!(
                entries = listed,
                missing = names,
                upstream = self.upstream,
                "ALARM: the master's list lacks so much of ours that nothing is deleted; if that is right, confirm it with 'mupdatectl confirm-deletes'"
            );
            self.hold(missing).await;
            Outcome::Held { names }
        } else {
            let deleted = missing.len();
            self.delete(missing.into_iter().collect(), origin).await?;
            if self.held.len() > 0 {
                info!(held = self.held.len(), "held names are settled");
            }
            self.hold(HashSet::new()).await;
            Outcome::Applied { deleted }
        };
        self.remember_complete().await;
        Ok(outcome)
    }

    /// An operator says that the held names are to go. Returns their number.
    pub(crate) async fn confirm_deletes(&mut self) -> Result<usize, ApplyError> {
        let origin = Origin {
            identity: "operator".into(),
            peer: "confirm-deletes".into(),
        };
        let all = self.held.len();
        while self.held.len() > 0 {
            let names = self.held.some(DELETIONS_AT_ONCE);
            self.delete(names.clone(), &origin).await?;
            for name in &names {
                self.held.end(name);
            }
        }
        self.hold(HashSet::new()).await;
        info!(names = all, "held names deleted");
        Ok(all)
    }

    /// A failure to write leaves the names held in this process, and the next start with those of the file
    /// before.
    async fn hold(&mut self, names: HashSet<MailboxName>) {
        let version = self.store.current();
        let saving: Saving = self.held.set(names, &version);
        match spawn_blocking(move || saving.run()).await {
            Ok(Ok(())) => {}
            Ok(Err(cause)) => error!(%cause, "held names are not on disk"),
            Err(cause) => error!(%cause, "held names are not on disk"),
        }
    }

    async fn remember_complete(&mut self) {
        let provenance = Provenance {
            upstream: self.upstream.clone(),
            epoch: self.store.current().epoch(),
            complete: true,
        };
        if self.provenance.as_ref() == Some(&provenance) {
            return;
        }
        let (data_dir, writing) = (self.data_dir.clone(), provenance.clone());
        match spawn_blocking(move || writing.write(&data_dir)).await {
            Ok(Ok(())) => self.provenance = Some(provenance),
            Ok(Err(cause)) => warn!(%cause, "the next start will wait for a dump"),
            Err(cause) => warn!(%cause, "the next start will wait for a dump"),
        }
    }

    async fn delete(&self, names: Vec<MailboxName>, origin: &Origin) -> Result<(), ApplyError> {
        for names in names.chunks(DELETIONS_AT_ONCE) {
            let edits = names.iter().map(|name| edit(name.clone(), None)).collect();
            self.carry_out(edits, origin).await?;
        }
        Ok(())
    }

    async fn carry_out(&self, edits: Vec<Edit>, origin: &Origin) -> Result<(), ApplyError> {
        if edits.is_empty() {
            return Ok(());
        }
        let origin = origin.clone();
        let answers = self.store.edit(Batch { origin, edits }).await?;
        if answers.iter().all(Result::is_ok) {
            Ok(())
        } else {
            Err(ApplyError::Storage)
        }
    }
}

/// The origin of the master's changes, for the log.
pub(crate) fn origin(upstream: &str, peer: &str) -> Origin {
    Origin {
        identity: Arc::from(upstream),
        peer: Arc::from(peer),
    }
}

fn missing(census: Census, version: &Version) -> HashSet<MailboxName> {
    let mut names = census.into_missing();
    names.retain(|name| version.get(name).is_some());
    names
}

fn edit(mailbox: MailboxName, entry: Option<Entry>) -> Edit {
    let kind = match entry {
        None => EditKind::Delete,
        Some(Entry::Active { location, acl }) => EditKind::Activate { location, acl },
        Some(Entry::Reserved { location, .. }) => EditKind::Reserve { location },
    };
    Edit { mailbox, kind }
}

//! The slave's list: the only place that changes the store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proto::{Edit, EditKind, Entry, MailboxName};
use store::{Batch, EditError, Following, Mismatch, Origin, Store, Version, looks_like_loss};
use thiserror::Error;
use tokio::task::{JoinHandle, spawn_blocking, yield_now};
use tracing::{error, info, warn};

use crate::StartError;
use crate::census::Census;
use crate::held;
use crate::provenance::Provenance;
use crate::resync::Part;
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
    /// What the state file says; `None`: it could not be written.
    provenance: Option<Provenance>,
    /// Lines of a listing that the writer carries out while more are read.
    ahead: Option<JoinHandle<Result<usize, ApplyError>>>,
    /// Changes that they came to, and that have not been told yet.
    changes_ahead: usize,
}

/// What became of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The list is the master's; so many names were deleted.
    Applied { deleted: usize },
    /// As many names are held.
    Held { names: usize },
}

/// What became of a part of a stream after RESYNC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    /// Changes of the list, deletions among them.
    pub(crate) changes: usize,
    /// So many of its deletions were not asked for by lines of the stream.
    pub(crate) deleted: usize,
    /// So many deletions were not believed.
    pub(crate) held: usize,
    /// The list does not add up to what the point says, and its deletions have not been carried out.
    pub(crate) mismatch: Option<Mismatch>,
}

impl Replica {
    /// Reads what is remembered of the store, and puts on record that it is a slave's.
    pub(crate) async fn open(
        data_dir: &Path,
        store: Store,
        upstream: &str,
    ) -> Result<Self, StartError> {
        let version = store.current();
        let remembered = {
            let (data_dir, version) = (data_dir.to_owned(), Arc::clone(&version));
            spawn_blocking(move || remembered(&data_dir, &version))
        };
        let (before, held) = remembered.await.map_err(|_| StartError::Runtime)?;
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
        if before.is_none() {
            begin_own_history(&store, &version).await?;
        }
        let mut replica = Self {
            store,
            data_dir: data_dir.to_owned(),
            upstream: upstream.to_owned(),
            provenance: before,
            ahead: None,
            changes_ahead: 0,
        };
        replica.remember(complete).await?;
        if let Some(held) = held {
            replica.store.hold(operator("slave.held"), &held).await?;
            let data_dir = data_dir.to_owned();
            let removing = spawn_blocking(move || held::remove(&data_dir));
            removing.await.map_err(|_| StartError::Runtime)??;
        }
        Ok(replica)
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.provenance
            .as_ref()
            .is_some_and(|provenance| provenance.complete)
    }

    pub(crate) fn held(&self) -> usize {
        self.store.current().held()
    }

    /// Waits until the list holds everything that was handed in.
    pub(crate) async fn settle(&mut self) -> Result<(), ApplyError> {
        let Some(ahead) = &mut self.ahead else {
            return Ok(());
        };
        // Waited for in its place: whoever is cancelled here leaves it to the next.
        let done = ahead.await;
        self.ahead = None;
        self.changes_ahead += done.unwrap_or(Err(ApplyError::Storage))?;
        Ok(())
    }

    /// What a dump is to be checked off against.
    pub(crate) async fn census(&mut self) -> Result<Census, ApplyError> {
        self.settle().await?;
        Ok(Census::new(self.store.current()))
    }

    /// Carries out what a master has said that does not tell its history. Entries that are already as
    /// said are left alone. Returns the number of changes.
    pub(crate) async fn apply(
        &mut self,
        wishes: Vec<Wish>,
        origin: &Origin,
    ) -> Result<usize, ApplyError> {
        self.settle().await?;
        let version = self.store.current();
        let wishes = wishes.into_iter().filter(|wish| !is_so(&version, wish));
        let edits: Vec<Edit> = wishes
            .map(|(mailbox, entry)| edit(mailbox, entry))
            .collect();
        let changes = edits.len();
        self.carry_out(edits, origin).await?;
        Ok(changes)
    }

    /// Carries out a part of what a master has said that tells its history. `deleted_before` counts
    /// what parts since the last point have deleted. Of a listing the lines alone may still be under way
    /// at the return ([`Replica::settle`]), and an error in them is that of the next call.
    pub(crate) async fn follow(
        &mut self,
        part: Part,
        origin: &Origin,
        deleted_before: usize,
    ) -> Result<Carried, ApplyError> {
        self.settle().await?;
        let before = std::mem::take(&mut self.changes_ahead);
        if part.is_listing && part.deletions.is_empty() && part.reached.is_none() {
            self.carry_out_ahead(part.wishes, origin).await;
            return Ok(Carried {
                changes: before,
                ..Carried::default()
            });
        }
        let version = self.store.current();
        let mut carried = Carried::default();
        let mut listed = version.sum().count;
        let mut edits = Vec::with_capacity(part.wishes.len() + part.deletions.len());
        for wish in part.wishes {
            if !(part.is_listing && is_so(&version, &wish)) {
                let (mailbox, entry) = wish;
                listed += u64::from(entry.is_some() && version.find(&mailbox).is_none());
                edits.push(edit(mailbox, entry));
            }
        }
        let of_lines = edits.len();
        let counts = |name: &&MailboxName| version.find(*name).is_none_or(|listed| !listed.held);
        let missing = part.deletions.iter().filter(counts).count() + deleted_before;
        let listed = usize::try_from(listed).unwrap_or(usize::MAX) + deleted_before;
        if looks_like_loss(listed, missing) {
            carried.held = part.deletions.len();
            self.alarm_of_loss(listed, missing);
            self.carry_out_lines(std::mem::take(&mut edits), origin)
                .await?;
            let names: Vec<MailboxName> = part.deletions.into_iter().collect();
            self.store.hold(origin.clone(), &names).await?;
        } else {
            carried.deleted = part.deletions.len();
            edits.extend(part.deletions.into_iter().map(|name| edit(name, None)));
        }
        carried.changes = before + of_lines + carried.deleted;
        let is_checked = part
            .reached
            .as_ref()
            .is_some_and(|reached| reached.expected.is_some());
        // A place alone, behind lines that changed nothing, can wait for the next.
        if edits.is_empty() && !is_checked {
            return Ok(carried);
        }
        let lines = is_checked.then(|| edits.iter().take(of_lines).cloned().collect());
        if let Err(mismatch) = self
            .store
            .follow(batch(origin, edits), part.reached)
            .await?
        {
            // Nothing of it was done. What the lines said is so all the same.
            self.carry_out_lines(lines.unwrap_or_default(), origin)
                .await?;
            carried.mismatch = Some(mismatch);
            carried.changes = before + of_lines;
            carried.deleted = 0;
        }
        Ok(carried)
    }

    /// Digests are the master's from here on.
    pub(crate) async fn adopt(&mut self, key: [u8; 32]) -> Result<(), ApplyError> {
        self.settle().await?;
        if *self.store.current().lineage().key() != key {
            self.store.adopt(key).await?;
        }
        Ok(())
    }

    /// The master does not tell its history, or another one than was followed before.
    pub(crate) async fn leave_history(&mut self) -> Result<(), ApplyError> {
        self.settle().await?;
        if follows(&self.store.current()) {
            self.store.unfollow(operator("another master")).await?;
        }
        Ok(())
    }

    /// Ends a dump whose end is proven: deletes the names that it lacked, or holds them.
    pub(crate) async fn finish_dump(
        &mut self,
        census: Census,
        origin: &Origin,
    ) -> Result<Outcome, ApplyError> {
        self.settle().await?;
        let version = self.store.current();
        let listed = usize::try_from(version.count()).unwrap_or(usize::MAX);
        // Some may be gone since the dump began: an operator has confirmed what was held before.
        let counting = spawn_blocking(move || missing(census, &version));
        let missing = counting.await.map_err(|_| ApplyError::Storage)?;
        let outcome = if looks_like_loss(listed, missing.len()) {
            let names = missing.len();
            self.alarm_of_loss(listed, names);
            self.store.hold(origin.clone(), &missing).await?;
            Outcome::Held { names }
        } else {
            let deleted = missing.len();
            self.delete(missing, origin).await?;
            Outcome::Applied { deleted }
        };
        self.remember_complete().await;
        Ok(outcome)
    }

    /// An operator says that the held names are to go. Returns their number.
    pub(crate) async fn confirm_deletes(&mut self) -> Result<usize, ApplyError> {
        self.settle().await?;
        let names = self.held();
        self.store.confirm(operator("confirm-deletes")).await?;
        info!(names, "held names deleted");
        Ok(names)
    }

    /// The list has been the master's.
    pub(crate) async fn remember_complete(&mut self) {
        if let Err(cause) = self.remember(true).await {
            warn!(%cause, "the next start will wait for the master");
        }
    }

    async fn remember(&mut self, complete: bool) -> Result<(), StartError> {
        let provenance = Provenance {
            upstream: self.upstream.clone(),
            epoch: self.store.current().epoch(),
            complete,
        };
        if self.provenance.as_ref() == Some(&provenance) {
            return Ok(());
        }
        let (data_dir, writing) = (self.data_dir.clone(), provenance.clone());
        let written = spawn_blocking(move || writing.write(&data_dir));
        written.await.map_err(|_| StartError::Runtime)??;
        self.provenance = Some(provenance);
        Ok(())
    }

    fn alarm_of_loss(&self, entries: usize, missing: usize) {
        error!(
            entries,
            missing,
            upstream = self.upstream,
            "ALARM: the master's list lacks so much of ours that nothing is deleted; if that is right, confirm it with 'mupdatectl confirm-deletes'"
        );
    }

    async fn delete(&self, names: Vec<MailboxName>, origin: &Origin) -> Result<(), ApplyError> {
        for names in names.chunks(DELETIONS_AT_ONCE) {
            let edits = names.iter().map(|name| edit(name.clone(), None)).collect();
            self.carry_out(edits, origin).await?;
        }
        Ok(())
    }

    /// Carries out lines of a listing, without waiting for it.
    async fn carry_out_ahead(&mut self, lines: Vec<Wish>, origin: &Origin) {
        if lines.is_empty() {
            return;
        }
        let edits = lines
            .into_iter()
            .map(|(mailbox, entry)| edit(mailbox, entry));
        let (store, batch) = (self.store.clone(), batch(origin, edits.collect()));
        let carry_out = async move { Ok(store.follow_listing(batch).await?) };
        self.ahead = Some(tokio::spawn(carry_out));
        // A new task waits for the one that made it: without a turn now, the writer would hear of these lines only when
        // the next ones have been read.
        yield_now().await;
    }

    /// Carries out lines that lead to no place yet.
    async fn carry_out_lines(&self, edits: Vec<Edit>, origin: &Origin) -> Result<(), ApplyError> {
        if edits.is_empty() {
            return Ok(());
        }
        let done = self.store.follow(batch(origin, edits), None).await?;
        done.map(|_| ()).map_err(|_| ApplyError::Storage)
    }

    async fn carry_out(&self, edits: Vec<Edit>, origin: &Origin) -> Result<(), ApplyError> {
        if edits.is_empty() {
            return Ok(());
        }
        let answers = self.store.edit(batch(origin, edits)).await?;
        if answers.iter().all(Result::is_ok) {
            Ok(())
        } else {
            Err(ApplyError::Storage)
        }
    }
}

/// Whether the list is known to be a stage of a master's history.
pub(crate) fn follows(version: &Version) -> bool {
    version.owner_history().epoch != version.epoch()
}

/// What the data directory says, and the names of the file of held ones if there is one. Blocks.
fn remembered(
    data_dir: &Path,
    version: &Version,
) -> (Option<Provenance>, Option<Vec<MailboxName>>) {
    let provenance = Provenance::read(data_dir).unwrap_or_else(|cause| {
        warn!(%cause, "the list counts as incomplete until the master's next dump");
        None
    });
    let held = held::read(data_dir, version).unwrap_or_else(|cause| {
        warn!(%cause, "names that were held are forgotten; the next dump finds them again");
        Some(Vec::new())
    });
    (provenance, held)
}

/// A list that has not been a slave's before is a stage of the history that it came from: of that of the
/// master that this store was, or was copied from. What is changed here from now on is not part of it.
async fn begin_own_history(store: &Store, version: &Version) -> Result<(), StartError> {
    if version.is_empty() || follows(version) {
        return Ok(());
    }
    let history = version.owner_history();
    let stage = Following {
        place: version.place(),
        forks: history.forks.into(),
        continues: false,
        expected: Some(version.sum()),
    };
    let forked = store.new_epoch().await?;
    forked.map_err(|_| EditError::Refused)?;
    let nothing = batch(&operator("first start as a slave"), Vec::new());
    let noted = store.follow(nothing, Some(stage)).await?;
    noted.map(|_| ()).map_err(|_| EditError::Refused.into())
}

/// The origin of what is not the master's, for the log.
fn operator(peer: &str) -> Origin {
    origin("operator", peer)
}

/// The origin of the master's changes, for the log.
pub(crate) fn origin(upstream: &str, peer: &str) -> Origin {
    Origin {
        identity: Arc::from(upstream),
        peer: Arc::from(peer),
    }
}

fn missing(census: Census, version: &Version) -> Vec<MailboxName> {
    let mut names = census.into_missing();
    names.retain(|name| version.find(name).is_some_and(|known| !known.held));
    names.into_iter().collect()
}

/// Whether there is nothing to do. A held name that is spoken of is held no longer.
fn is_so(version: &Version, (mailbox, entry): &Wish) -> bool {
    let known = version.find(mailbox);
    let is_held = known.is_some_and(|stored| stored.held);
    !is_held && known.map(|known| known.entry) == entry.as_ref().map(Entry::lend)
}

fn batch(origin: &Origin, edits: Vec<Edit>) -> Batch {
    let origin = origin.clone();
    Batch { origin, edits }
}

fn edit(mailbox: MailboxName, entry: Option<Entry>) -> Edit {
    let kind = match entry {
        None => EditKind::Delete,
        Some(Entry::Active { location, acl }) => EditKind::Activate { location, acl },
        Some(Entry::Reserved { location, .. }) => EditKind::Reserve { location },
    };
    Edit { mailbox, kind }
}

//! Transactions under the exclusive lock.

use super::database::{Database, Identity};
use super::header::Header;
use super::recover::recover;
use super::txn::{Durability, Pending, SYNC_COMMIT, Working};
use crate::Error;
use crate::file::{Disk, File as _};

/// The exclusive lock, and changes collected under it. Dropped without [`commit`](Self::commit), it
/// has changed no content.
///
/// Everybody else waits for as long as it lives: find out first what is to be changed, then change it
/// in portions of some hundreds to a few thousand records (each commit costs two or three syncs).
#[derive(Debug)]
pub struct Transaction<'d, D: Disk> {
    database: &'d mut Database<D>,
    header: Header,
    pending: Option<Pending>,
    /// The header in the file says DIRTY.
    marked: bool,
}

impl<D: Disk> Database<D> {
    /// Takes the exclusive lock.
    pub fn write(&mut self) -> Result<Transaction<'_, D>, Error> {
        let header = self.lock_to_write()?;
        let fillers = self.options.fillers;
        Ok(Transaction {
            database: self,
            header,
            pending: Some(Pending::new(header, fillers)),
            marked: false,
        })
    }

    /// Returns once whatever [`Transaction::commit_early`] has left to be written is on disk.
    pub fn sync(&self) -> Result<(), Error> {
        self.file.sync().map_err(Error::io(SYNC_COMMIT))
    }
}

impl<D: Disk> Transaction<'_, D> {
    /// The header as it was at the last commit.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The state of the file as the transaction found it.
    pub fn identity(&self) -> Result<Identity, Error> {
        self.database.state(&self.header)
    }

    /// Does the first of a commit's syncs ahead of it: for whoever knows that there will be changes, but not yet
    /// which. From here on a crash leaves a file that the next locker looks through, as it does during a commit.
    pub fn get_ready(&mut self) -> Result<(), Error> {
        if !self.marked {
            self.marked = true;
            self.header.mark_dirty(&self.database.file)?;
        }
        Ok(())
    }

    /// How many bytes the changes so far would append to the file.
    pub fn len(&self) -> usize {
        self.pending.as_ref().map_or(0, Pending::len)
    }

    /// Whether there is no change so far.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a key, with the changes so far.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let place = self.working(|working| working.seek(Some(key)))?;
        Ok(place.found.map(|found| found.value().to_vec()))
    }

    /// Stores a value; `false` if the key has just this one, which writes nothing. After an error,
    /// here or in any other call, the transaction can only be dropped.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<bool, Error> {
        self.working(|working| working.put(key, value))
    }

    /// Deletes a key; `false` if there is none.
    pub fn delete(&mut self, key: &[u8]) -> Result<bool, Error> {
        self.working(|working| working.delete(key))
    }

    /// Forgets the changes and lets go of the lock.
    pub fn abort(self) {}

    /// Puts the changes on disk, all or none: after an error the file is rolled back, unless its
    /// header could not be synced after the commit (then others see the changes) or it can't be
    /// written at all (then the next locker rolls it back).
    pub fn commit(self) -> Result<(), Error> {
        self.commit_as(Durability::Full).map(|_| ())
    }

    /// As [`commit`](Self::commit), but returns as soon as others see the changes, one sync earlier: a
    /// crash before [`Database::sync`], or before the next transaction's first sync, may leave the file
    /// as it was before this transaction, whole. Returns the state that it leaves: what is found
    /// different later is somebody else's doing, or was undone by a crash.
    pub fn commit_early(self) -> Result<Identity, Error> {
        self.commit_as(Durability::Atomic)
    }

    fn commit_as(mut self, durability: Durability) -> Result<Identity, Error> {
        let found = self.identity()?;
        let pending = self.pending.take().ok_or(Error::Aborted)?;
        if pending.is_empty() {
            return Ok(found);
        }
        if durability >= Durability::Atomic {
            self.get_ready()?;
        }
        let Database { file, pages, .. } = &mut *self.database;
        match pending.write(file, pages, durability) {
            Ok(header) => {
                self.marked = false;
                let left = Identity::of(found.file, &header);
                pages.lead_to(left);
                Ok(left)
            }
            Err(error) => {
                self.marked = false;
                self.roll_back();
                Err(error)
            }
        }
    }

    fn roll_back(&mut self) {
        let Database {
            file,
            pages,
            options,
            ..
        } = &mut *self.database;
        if let Ok(Some(header)) = Header::read(file)
            && header.dirty
        {
            // If this fails too the file stays DIRTY, which any later locker sees.
            recover(file, pages, &header, options.order).ok();
        }
        pages.forget();
    }

    fn working<T>(
        &mut self,
        act: impl FnOnce(&mut Working<'_, D::File>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let Database {
            file,
            pages,
            options,
            ..
        } = &mut *self.database;
        // A change that failed half-way must not be committed with the rest.
        let mut pending = self.pending.take().ok_or(Error::Aborted)?;
        let done = act(&mut Working::new(file, pages, &mut pending, options.order))?;
        self.pending = Some(pending);
        Ok(done)
    }
}

impl<D: Disk> Drop for Transaction<'_, D> {
    fn drop(&mut self) {
        if self.marked {
            // If this fails the next locker finds a DIRTY file and nothing to undo.
            self.header.write(&self.database.file).ok();
        }
        self.database.unlock();
    }
}

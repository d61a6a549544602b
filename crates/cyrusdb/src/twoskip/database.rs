//! One open database: its file, its locks, what is cached of it.

use std::path::Path;
use std::time::{Duration, Instant};

use super::cursor::Order;
use super::header::Header;
use super::pages::Pages;
use super::recover::{create, is_clean, recover};
use crate::file::{Access, Disk, File, FileId, PathDisk};
use crate::lock::LockKind;
use crate::{Error, Format};

/// How often a file may be replaced, or left unclean, while we are trying to lock it.
const RELOCKS_MAX: usize = 50;
/// How long others may hold the lock, unless told otherwise.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(30);
/// How long a replaced file is kept open. Whoever closes it last waits until its space is free, which
/// takes tens of milliseconds for a large one; readers in use have gone over to the new file by then.
pub(super) const RETIREMENT: Duration = Duration::from_secs(2);

/// How to treat a database.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What may be done with the file.
    pub access: Access,
    /// The order of keys, which the file does not tell.
    pub order: Order,
    /// How long to wait for others' locks.
    pub lock_wait_max: Duration,
    /// Keep heads of records within disk blocks, as Cyrus does since 3.2. Off for files that a
    /// `cyr_dbtool … dump` of 2.5 or 3.0 must understand.
    pub fillers: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            access: Access::ReadWrite,
            order: Order::Bytes,
            lock_wait_max: LOCK_WAIT_MAX,
            fillers: true,
        }
    }
}

impl Options {
    /// As the default, for reading only: an unclean file is read as recovery would leave it.
    pub fn read_only() -> Self {
        Self {
            access: Access::Read,
            ..Self::default()
        }
    }

    /// As the default, creating the file where there is none.
    pub fn create() -> Self {
        Self {
            access: Access::Create,
            ..Self::default()
        }
    }
}

/// Which state of which file: as long as it is equal, nothing was committed or checkpointed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The file.
    pub file: FileId,
    /// Its header's generation, 0 for a file without a byte.
    pub generation: u64,
    /// Its committed size in bytes.
    pub committed: u64,
}

impl Identity {
    pub(super) fn of(file: FileId, header: &Header) -> Self {
        Self {
            file,
            generation: header.generation,
            committed: header.committed,
        }
    }
}

/// An open twoskip database. Locks are taken by [`read`](Self::read), [`write`](Self::write) and the
/// shorthands, and let go when what they return is dropped.
#[derive(Debug)]
pub struct Database<D: Disk = PathDisk> {
    pub(super) disk: D,
    pub(super) file: D::File,
    pub(super) pages: Pages,
    pub(super) options: Options,
    /// The file that our last checkpoint replaced, and when.
    pub(super) retired: Option<(D::File, Instant)>,
}

impl Database {
    /// Opens the database under a path.
    pub fn open_path(path: &Path, options: Options) -> Result<Self, Error> {
        let disk = PathDisk::new(path, options.access).map_err(Error::io("find the file"))?;
        Self::open(disk, options)
    }
}

impl<D: Disk> Database<D> {
    /// Opens the database on `disk`; fails at once if it has another format.
    pub fn open(disk: D, options: Options) -> Result<Self, Error> {
        let file = disk.open().map_err(Error::io("open the file"))?;
        let database = Self {
            disk,
            file,
            pages: Pages::default(),
            options,
            retired: None,
        };
        // The header may be in the middle of being written; only the format counts here.
        match Header::read(&database.file) {
            Err(error @ Error::OtherFormat { .. }) => Err(error),
            _ => Ok(database),
        }
    }

    /// The state of the file, under a shared lock.
    pub fn identity(&mut self) -> Result<Identity, Error> {
        let reading = self.read()?;
        reading.identity()
    }

    /// The value of a key, under a shared lock of its own.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.read()?.get(key)
    }

    /// Recovers the file if its last writer died; `false` if it was clean. Any reading or writing
    /// does the same first.
    pub fn recover(&mut self) -> Result<bool, Error> {
        if self.options.access == Access::Read {
            return Err(Error::ReadOnly);
        }
        self.lock_in_place(LockKind::Exclusive)?;
        let header = Header::read(&self.file);
        let result = header.and_then(|header| match header {
            Some(header) if !is_clean(&self.file, &header)? => {
                recover(&self.file, &mut self.pages, &header, self.options.order)?;
                Ok(true)
            }
            Some(_) | None => Ok(false),
        });
        self.unlock();
        result
    }

    /// Which file is open; it may no longer be the one under the path.
    pub(super) fn file_id(&self) -> Result<FileId, Error> {
        self.disk
            .id(&self.file)
            .map_err(Error::io("look at the open file"))
    }

    /// Takes the lock on the file that is under the path when the lock is there.
    pub(super) fn lock_in_place(&mut self, kind: LockKind) -> Result<(), Error> {
        self.retired
            .take_if(|(_, since)| since.elapsed() > RETIREMENT);
        for _ in 0..RELOCKS_MAX {
            let wait_max = self.options.lock_wait_max;
            let locked = self.disk.lock(&self.file, kind, wait_max);
            if !locked.map_err(Error::io("lock the file"))? {
                return Err(Error::Locked {
                    seconds: wait_max.as_secs(),
                });
            }
            match self.disk.id_in_place() {
                Ok(in_place) if self.file_id()? == in_place => return Ok(()),
                Ok(_) => {}
                Err(source) => {
                    self.unlock();
                    return Err(Error::io("look at the path")(source));
                }
            }
            self.unlock();
            self.file = self.disk.open().map_err(Error::io("open the file again"))?;
        }
        Err(Error::Replaced)
    }

    /// Lets go of the lock. Closing the file would do so too, so a failure has no consequence that
    /// the next locking would not show.
    pub(super) fn unlock(&mut self) {
        if self.disk.unlock(&self.file).is_err()
            && let Ok(file) = self.disk.open()
        {
            self.file = file;
        }
    }

    /// Locks to read. `None` is a file without a byte, `false` an unclean one that we may not
    /// recover.
    pub(super) fn lock_to_read(&mut self) -> Result<(Option<Header>, bool), Error> {
        for _ in 0..RELOCKS_MAX {
            self.lock_in_place(LockKind::Shared)?;
            let found = self.header_and_state();
            match found {
                Ok((_, false)) if self.options.access != Access::Read => {
                    self.unlock();
                    self.recover()?;
                }
                Ok(found) => return Ok(found),
                Err(error) => {
                    self.unlock();
                    return Err(error);
                }
            }
        }
        Err(Error::Replaced)
    }

    fn header_and_state(&mut self) -> Result<(Option<Header>, bool), Error> {
        let Some(header) = Header::read(&self.file)? else {
            self.pages.forget();
            return Ok((None, true));
        };
        let clean = is_clean(&self.file, &header)?;
        if clean {
            self.pages.belong_to(self.state(&header)?);
        } else {
            self.pages.forget();
        }
        Ok((Some(header), clean))
    }

    /// The state of the open file, which has this header.
    pub(super) fn state(&self, header: &Header) -> Result<Identity, Error> {
        Ok(Identity::of(self.file_id()?, header))
    }

    /// Locks to write, recovering or creating what needs it.
    pub(super) fn lock_to_write(&mut self) -> Result<Header, Error> {
        if self.options.access == Access::Read {
            return Err(Error::ReadOnly);
        }
        self.lock_in_place(LockKind::Exclusive)?;
        let prepared = self.prepare();
        if prepared.is_err() {
            self.unlock();
        }
        prepared
    }

    /// The header of a file that is locked exclusively, made clean if it is not.
    pub(super) fn prepare(&mut self) -> Result<Header, Error> {
        let header = match Header::read(&self.file)? {
            None => create(&self.file)?,
            Some(header) if is_clean(&self.file, &header)? => header,
            Some(header) => recover(&self.file, &mut self.pages, &header, self.options.order)?,
        };
        self.pages.belong_to(self.state(&header)?);
        Ok(header)
    }

    /// The format of the file, by its first bytes, without a lock.
    pub fn format(&self) -> Result<Format, Error> {
        let mut start = [0; crate::detect::MAGIC_BYTES];
        let count = self
            .file
            .read_at(0, &mut start)
            .map_err(Error::io("read the first bytes"))?;
        Ok(Format::of(start.get(..count).unwrap_or_default()))
    }
}

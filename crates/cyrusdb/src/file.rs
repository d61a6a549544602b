//! Files and their place on disk, behind two small traits, so that tests can cut the power after
//! any call.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::lock::{self, LockKind};

/// Mode of a database that we create: mailbox lists are nobody else's business.
const CREATE_MODE: u32 = 0o600;
/// What the temporary file of a checkpoint is called, behind the database's name. Never `.NEW`.
const TEMPORARY_SUFFIX: &str = ".mupdate-checkpoint";

/// An open file.
#[expect(clippy::len_without_is_empty, reason = "a length on disk may fail")]
pub trait File: fmt::Debug {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Reads up to `into.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `bytes`, growing the file where needed.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file, or grows it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Returns once everything written before is on disk.
    fn sync(&self) -> io::Result<()>;
}

/// Device and inode: which file it is, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileId {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
}

/// The path of one database, and what may be done with the files under it.
pub trait Disk: fmt::Debug {
    /// What opening gives.
    type File: File;

    /// Opens what is under the path now.
    fn open(&self) -> io::Result<Self::File>;
    /// Which file this is.
    fn id(&self, file: &Self::File) -> io::Result<FileId>;
    /// Which file is under the path now.
    fn id_in_place(&self) -> io::Result<FileId>;
    /// Locks the file, waiting at most `wait_max`: `false` if that did not do.
    fn lock(&self, file: &Self::File, kind: LockKind, wait_max: Duration) -> io::Result<bool>;
    /// Lets go of the lock.
    fn unlock(&self, file: &Self::File) -> io::Result<()>;
    /// Opens or creates the temporary file beside the database, with the owner and mode of `like`,
    /// locked exclusively and empty. `None` if somebody else holds it.
    fn temporary(&self, like: &Self::File) -> io::Result<Option<Self::File>>;
    /// Puts the temporary file in place of the database and makes that durable.
    fn replace(&self) -> io::Result<()>;
    /// Removes the temporary file, if it still is this one.
    fn remove_temporary(&self, file: &Self::File) -> io::Result<()>;
}

/// What a [`PathDisk`] may do with its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Open for reading; locks are shared ones.
    Read,
    /// Open what exists, to read and write.
    ReadWrite,
    /// As `ReadWrite`, creating an empty file where there is none.
    Create,
}

/// A database in the file system.
#[derive(Debug, Clone)]
pub struct PathDisk {
    path: PathBuf,
    access: Access,
}

impl PathDisk {
    /// The database under `path`. A symbolic link is followed now, so that a checkpoint replaces what
    /// it leads to and not the link.
    pub fn new(path: &Path, access: Access) -> io::Result<Self> {
        let path = match fs::canonicalize(path) {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound && access == Access::Create => {
                std::path::absolute(path)?
            }
            Err(error) => return Err(error),
        };
        Ok(Self { path, access })
    }

    /// The path, absolute and without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn temporary_path(&self) -> PathBuf {
        let mut name = OsString::from(self.path.as_os_str());
        name.push(TEMPORARY_SUFFIX);
        name.into()
    }

    fn sync_directory(&self) -> io::Result<()> {
        let parent = self.path.parent().unwrap_or_else(|| Path::new("/"));
        fs::File::open(parent)?.sync_all()
    }

    fn options(&self) -> OpenOptions {
        let mut options = OpenOptions::new();
        options.read(true).mode(CREATE_MODE);
        options.write(self.access != Access::Read);
        options
    }
}

impl Disk for PathDisk {
    type File = fs::File;

    fn open(&self) -> io::Result<fs::File> {
        let opened = self.options().open(&self.path);
        match opened {
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && self.access == Access::Create =>
            {
                let file = self
                    .options()
                    .create(true)
                    .truncate(false)
                    .open(&self.path)?;
                self.sync_directory()?;
                Ok(file)
            }
            other => other,
        }
    }

    fn id(&self, file: &fs::File) -> io::Result<FileId> {
        file.metadata().map(|found| id_of(&found))
    }

    fn id_in_place(&self) -> io::Result<FileId> {
        fs::metadata(&self.path).map(|found| id_of(&found))
    }

    fn lock(&self, file: &fs::File, kind: LockKind, wait_max: Duration) -> io::Result<bool> {
        lock::lock(file, kind, wait_max)
    }

    fn unlock(&self, file: &fs::File) -> io::Result<()> {
        lock::unlock(file)
    }

    fn temporary(&self, like: &fs::File) -> io::Result<Option<fs::File>> {
        let path = self.temporary_path();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(CREATE_MODE)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(&path)?;
        if !lock::lock(&file, LockKind::Exclusive, Duration::ZERO)? {
            return Ok(None);
        }
        // Whoever held it before us may have renamed it: then it is a database now, not ours to cut.
        let in_place = fs::symlink_metadata(&path).map(|found| id_of(&found));
        if in_place.ok() != Some(self.id(&file)?) {
            return Ok(None);
        }
        file.set_len(0)?;
        copy_owner_and_mode(like, &file)?;
        Ok(Some(file))
    }

    fn replace(&self) -> io::Result<()> {
        fs::rename(self.temporary_path(), &self.path)?;
        self.sync_directory()
    }

    fn remove_temporary(&self, file: &fs::File) -> io::Result<()> {
        let path = self.temporary_path();
        if id_of(&fs::symlink_metadata(&path)?) == self.id(file)? {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

fn id_of(found: &fs::Metadata) -> FileId {
    FileId {
        device: found.dev(),
        inode: found.ino(),
    }
}

/// A file that root leaves behind as root's own stops every Cyrus daemon.
fn copy_owner_and_mode(from: &fs::File, to: &fs::File) -> io::Result<()> {
    let (wanted, present) = (from.metadata()?, to.metadata()?);
    if (wanted.uid(), wanted.gid()) != (present.uid(), present.gid()) {
        std::os::unix::fs::fchown(to, Some(wanted.uid()), Some(wanted.gid()))?;
    }
    to.set_permissions(wanted.permissions())
}

impl File for fs::File {
    fn len(&self) -> io::Result<u64> {
        self.metadata().map(|found| found.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(crate::wide(done));
            match FileExt::read_at(self, rest, at) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        // Also writes the length, which is all that reading the data back needs.
        self.sync_data()
    }
}

//! The log as a reader from outside sees it, without a lock: for audits.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::file::{FileSystem, Open, read_all};
use crate::intern::Interner;
use crate::log::group::{self, Group};
use crate::log::segment::{self, BadHeader, Header};

/// Why the log can't be read further.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A file or the directory can't be read.
    #[error("can't read {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file was written by a later version.
    #[error("{} has format {found}, which this version does not know", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// What stands there is no group. At the very end of the log this may be a group that is just
    /// being written, or one that a crash has torn.
    #[error("{} holds no whole group at offset {offset}", path.display())]
    NoGroup {
        /// The segment.
        path: PathBuf,
        /// Where, in octets.
        offset: u64,
    },
}

/// Reads a store's log, oldest group first, also while the store is in use. Nothing is compared but
/// checksums. After an error it goes on with the next segment.
pub fn read<'a>(fs: &'a dyn FileSystem, dir: &Path) -> Result<Groups<'a>, ReadError> {
    let io = |source| ReadError::Io {
        path: dir.to_owned(),
        source,
    };
    let names = fs.list(dir).map_err(io)?;
    let mut segments: Vec<u64> = names
        .iter()
        .filter_map(|name| segment::number_of(name))
        .collect();
    segments.sort_unstable();
    Ok(Groups {
        fs,
        dir: dir.to_owned(),
        segments: segments.into_iter(),
        path: PathBuf::new(),
        content: Vec::new(),
        offset: 0,
        interner: Interner::default(),
    })
}

/// The groups of a log.
pub struct Groups<'a> {
    fs: &'a dyn FileSystem,
    dir: PathBuf,
    segments: std::vec::IntoIter<u64>,
    path: PathBuf,
    content: Vec<u8>,
    offset: usize,
    interner: Interner,
}

impl Iterator for Groups<'_> {
    type Item = Result<Group, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.offset >= self.content.len() {
            let number = self.segments.next()?;
            if let Err(error) = self.enter(number) {
                self.content.clear();
                return Some(Err(error));
            }
        }
        let rest = self.content.get(self.offset..).unwrap_or_default();
        if let Some((group, len)) = group::decode(rest, &mut self.interner) {
            self.offset += len;
            return Some(Ok(group));
        }
        self.content.clear();
        Some(Err(ReadError::NoGroup {
            path: self.path.clone(),
            offset: u64::try_from(self.offset).unwrap_or(u64::MAX),
        }))
    }
}

impl Groups<'_> {
    fn enter(&mut self, number: u64) -> Result<(), ReadError> {
        self.path = self.dir.join(segment::file_name(number));
        let path = || self.path.clone();
        let file = self.fs.open(&self.path, Open::Read);
        let content = file.and_then(|file| read_all(&*file));
        self.content = content.map_err(|source| ReadError::Io {
            path: path(),
            source,
        })?;
        let header = Header::decode(&self.content);
        let (_, len) = header.map_err(|bad| match bad {
            BadHeader::Format(found) => ReadError::Format {
                path: path(),
                found,
            },
            BadHeader::Damaged => ReadError::NoGroup {
                path: path(),
                offset: 0,
            },
        })?;
        self.offset = len;
        Ok(())
    }
}

impl std::fmt::Debug for Groups<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups")
            .field("path", &self.path)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

//! The end of the log, where groups are written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::file::{File, FileSystem, Open, replace};
use crate::ids::Token;
use crate::log::LogPosition;
use crate::log::segment::{self, Header, file_name};
use crate::{Version, token};

/// What became of groups that were to be written.
#[derive(Debug)]
pub(crate) enum Written {
    /// They are durable; the log ends here.
    Synced(LogPosition),
    /// None of them is in the file, and that is durable.
    CutBack(io::Error),
    /// They may or may not be there after a restart. Nothing may be written any more.
    Unknown(io::Error),
}

/// Appends groups to the last segment. Nothing but whole, synced groups is in front of its end.
pub(crate) struct Appender {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    file: Box<dyn File>,
    end: LogPosition,
}

impl Appender {
    /// Continues a segment at its end.
    pub(crate) fn new(
        fs: Arc<dyn FileSystem>,
        dir: &Path,
        file: Box<dyn File>,
        end: LogPosition,
    ) -> Self {
        Self {
            fs,
            dir: dir.to_owned(),
            file,
            end,
        }
    }

    /// Creates a segment that continues from a version.
    pub(crate) fn create(
        fs: Arc<dyn FileSystem>,
        dir: &Path,
        number: u64,
        version: &Version,
    ) -> io::Result<Self> {
        let (file, end) = new_segment(&*fs, dir, number, version)?;
        Ok(Self::new(fs, dir, file, end))
    }

    pub(crate) fn end(&self) -> LogPosition {
        self.end
    }

    /// Ends the segment and begins the next. After an error the old one is still in use.
    pub(crate) fn roll(&mut self, version: &Version) -> io::Result<LogPosition> {
        let number = self.end.segment + 1;
        let (file, end) = new_segment(&*self.fs, &self.dir, number, version)?;
        self.file = file;
        self.end = end;
        Ok(end)
    }

    pub(crate) fn write_token(&self, token: Token) -> io::Result<()> {
        token::write(&*self.fs, &self.dir, token)
    }

    /// Writes groups and makes them durable, each before the next is begun.
    pub(crate) fn append(&mut self, groups: &[Vec<u8>]) -> Written {
        let mut offset = self.end.offset;
        for group in groups {
            if let Err(error) = self.file.write_at(group, offset) {
                return match self.cut_back() {
                    Ok(()) => Written::CutBack(error),
                    Err(cut) => Written::Unknown(cut),
                };
            }
            if let Err(error) = self.file.sync() {
                return Written::Unknown(error);
            }
            offset += u64::try_from(group.len()).unwrap_or_default();
        }
        self.end.offset = offset;
        Written::Synced(self.end)
    }

    fn cut_back(&mut self) -> io::Result<()> {
        self.file.set_len(self.end.offset)?;
        self.file.sync()
    }
}

fn new_segment(
    fs: &dyn FileSystem,
    dir: &Path,
    number: u64,
    version: &Version,
) -> io::Result<(Box<dyn File>, LogPosition)> {
    let header = Header {
        number,
        lineage: Arc::clone(&version.lineage),
        sequence: version.sequence,
        count: version.count(),
        root: version.root(),
        held: version.held_count(),
        follows: version.follows.clone(),
        format: segment::FORMAT,
    };
    let octets = header.encode();
    let path = dir.join(file_name(number));
    replace(fs, &path, &octets)?;
    let file = fs.open(&path, Open::Write)?;
    let offset = u64::try_from(octets.len()).unwrap_or_default();
    let end = LogPosition {
        segment: number,
        offset,
    };
    Ok((file, end))
}

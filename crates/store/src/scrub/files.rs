//! Files, a group or a block at a time.

use std::io;
use std::path::{Path, PathBuf};

use crate::file::{File, read_full};
use crate::log::group::{self, HEADER_LEN};
use crate::log::segment::{self, BadHeader};
use crate::scrub::ScrubFinding;
use crate::snapshot::blocks::Blocks;
use crate::snapshot::read::{self, BadSnapshot};

/// Octets looked at in a step, and what stands on their end.
const STEP_BYTES: u64 = 256 << 10;

/// How a step has ended.
pub(super) enum Progress {
    /// So many octets were sound.
    More(u64),
    /// There is nothing more to look at.
    End,
    /// Something is wrong; what follows is not looked at.
    Bad(ScrubFinding),
}

/// Why a step ends early.
enum Bad {
    Io(io::Error),
    Damaged { offset: u64, what: String },
}

impl From<io::Error> for Bad {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn finding(path: &Path, bad: Bad) -> ScrubFinding {
    let path = path.to_owned();
    match bad {
        Bad::Io(error) => ScrubFinding::Unreadable {
            path,
            what: error.to_string(),
        },
        Bad::Damaged { offset, what } => ScrubFinding::Damaged { path, offset, what },
    }
}

fn damaged(offset: u64, what: &str) -> Bad {
    let what = what.to_owned();
    Bad::Damaged { offset, what }
}

/// A segment of the log.
pub(super) struct SegmentFile {
    path: PathBuf,
    file: Box<dyn File>,
    offset: u64,
    /// Where it ends; `None`: where the file does.
    end: Option<u64>,
}

impl SegmentFile {
    pub(super) fn new(path: PathBuf, file: Box<dyn File>, end: Option<u64>) -> Self {
        Self {
            path,
            file,
            offset: 0,
            end,
        }
    }

    pub(super) fn step(&mut self) -> Progress {
        let begin = self.offset;
        match self.read() {
            Ok(()) if self.offset > begin => Progress::More(self.offset - begin),
            Ok(()) => Progress::End,
            Err(bad) => Progress::Bad(finding(&self.path, bad)),
        }
    }

    fn read(&mut self) -> Result<(), Bad> {
        let begin = self.offset;
        if self.offset == 0 {
            self.offset = self.header()?;
        }
        let end = match self.end {
            Some(end) => end,
            None => self.file.len()?,
        };
        while self.offset < end && self.offset - begin < STEP_BYTES {
            self.offset += self.group()?;
        }
        Ok(())
    }

    fn header(&self) -> Result<u64, Bad> {
        match segment::header_of(&*self.file)? {
            Ok((_, len)) => Ok(u64::try_from(len).unwrap_or(u64::MAX)),
            Err(BadHeader::Damaged | BadHeader::Format(_)) => Err(damaged(0, "header is damaged")),
        }
    }

    fn group(&self) -> Result<u64, Bad> {
        let bad = || damaged(self.offset, "no whole group");
        let mut octets = vec![0; HEADER_LEN];
        let filled = read_full(&*self.file, &mut octets, self.offset)?;
        octets.truncate(filled);
        let len = group::announced_len(&octets).ok_or_else(bad)?;
        // A length that is damage must not cost more memory than the file has octets.
        if self.offset + u64::try_from(len).unwrap_or(u64::MAX) > self.file.len()? {
            return Err(bad());
        }
        octets.resize(len, 0);
        let filled = read_full(&*self.file, &mut octets, self.offset)?;
        let sound = filled == len && group::is_intact(&octets);
        let len = sound.then_some(u64::try_from(len).unwrap_or(u64::MAX));
        len.ok_or_else(bad)
    }
}

/// A snapshot.
pub(super) struct SnapshotFile {
    path: PathBuf,
    file: Box<dyn File>,
    /// Where the next block begins, and its number; `None`: the header has not been looked at.
    next: Option<(u64, u32)>,
    ended: bool,
}

impl SnapshotFile {
    pub(super) fn new(path: PathBuf, file: Box<dyn File>) -> Self {
        Self {
            path,
            file,
            next: None,
            ended: false,
        }
    }

    pub(super) fn step(&mut self) -> Progress {
        if self.ended {
            return Progress::End;
        }
        match self.read() {
            Ok(octets) => Progress::More(octets),
            Err(BadSnapshot::Io(error)) => Progress::Bad(finding(&self.path, Bad::Io(error))),
            Err(BadSnapshot::Damaged { offset, what }) => {
                Progress::Bad(finding(&self.path, damaged(offset, what)))
            }
            Err(BadSnapshot::Format(_)) => {
                Progress::Bad(finding(&self.path, damaged(0, "header is damaged")))
            }
        }
    }

    fn read(&mut self) -> Result<u64, BadSnapshot> {
        let Some((begin, number)) = self.next else {
            let (_, len) = read::read_header(&*self.file)?;
            let len = u64::try_from(len).unwrap_or(u64::MAX);
            self.next = Some((len, 0));
            return Ok(len);
        };
        let mut blocks = Blocks::from(&*self.file, begin, number);
        while blocks.offset() - begin < STEP_BYTES {
            if !blocks.check_next()? {
                self.ended = true;
                break;
            }
        }
        self.next = Some((blocks.offset(), blocks.number()));
        Ok(blocks.offset() - begin)
    }
}

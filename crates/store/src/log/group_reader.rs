//! Groups from a file, without holding more of it than a piece.

use std::io;

use crate::file::{File, read_full};
use crate::intern::Intern;
use crate::log::group::{self, Group, HEADER_LEN};

/// Octets read at once, unless a group is longer.
const PIECE_BYTES: usize = 256 << 10;

/// What stands next.
#[derive(Debug)]
pub(crate) enum Read {
    /// A whole group.
    Group(Group),
    /// Something else.
    Bad {
        /// Where it begins, in octets.
        offset: u64,
    },
}

/// The groups of a part of a file, up to its end or the first damage.
pub(crate) struct GroupReader<'a> {
    file: &'a dyn File,
    /// Octets of the file that have been read but not decoded,
    piece: Vec<u8>,
    /// from here on.
    at: usize,
    /// Where the piece ends in the file.
    offset: u64,
    end: u64,
    ended: bool,
}

impl<'a> GroupReader<'a> {
    /// The groups between two offsets.
    pub(crate) fn new(file: &'a dyn File, begin: u64, end: u64) -> Self {
        Self {
            file,
            piece: Vec::new(),
            at: 0,
            offset: begin,
            end,
            ended: false,
        }
    }

    /// What stands next; locations and ACLs come from `interner`.
    pub(crate) fn next(&mut self, interner: &mut impl Intern) -> io::Result<Option<Read>> {
        if self.ended || self.left() == 0 {
            return Ok(None);
        }
        self.ask_for(HEADER_LEN)?;
        if let Some(len) = group::announced_len(self.rest()) {
            self.ask_for(len)?;
            if let Some((group, len)) = group::decode(self.rest(), interner) {
                self.at += len;
                return Ok(Some(Read::Group(group)));
            }
        }
        self.ended = true;
        let held = u64::try_from(self.rest().len()).unwrap_or_default();
        let offset = self.offset - held;
        Ok(Some(Read::Bad { offset }))
    }

    fn rest(&self) -> &[u8] {
        self.piece.get(self.at..).unwrap_or_default()
    }

    /// Octets up to the end, in the piece and behind it.
    fn left(&self) -> u64 {
        let held = u64::try_from(self.rest().len()).unwrap_or(u64::MAX);
        self.end.saturating_sub(self.offset).saturating_add(held)
    }

    /// Has at least so many octets in the piece, or all that are left.
    fn ask_for(&mut self, len: usize) -> io::Result<()> {
        let held = self.rest().len();
        if held >= len {
            return Ok(());
        }
        self.piece.drain(..self.at);
        self.at = 0;
        let behind = self.end.saturating_sub(self.offset);
        let more = len.max(PIECE_BYTES) - held;
        let more = usize::try_from(behind).map_or(more, |behind| more.min(behind));
        self.piece.resize(held + more, 0);
        let place = self.piece.get_mut(held..).unwrap_or_default();
        let read = read_full(self.file, place, self.offset)?;
        self.piece.truncate(held + read);
        self.offset += u64::try_from(read).unwrap_or_default();
        if read < more {
            // The file is shorter than it was said to be.
            self.end = self.offset;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use proto::{EditKind, MailboxName};

    use super::*;
    use crate::file::{FileSystem, Open, OsFileSystem};
    use crate::intern::Interner;
    use crate::log::group::Builder;
    use crate::log::record::Stamp;
    use crate::log::{Change, Origin, What};
    use crate::{Root, Sequence};

    fn group(first: u64, records: u64) -> Vec<u8> {
        let mut builder = Builder::new(Sequence(first));
        let stamp = Stamp {
            time: SystemTime::UNIX_EPOCH,
            origin: Origin {
                identity: Arc::from("backend"),
                peer: Arc::from("peer"),
            },
        };
        for i in first..first + records {
            let mailbox = MailboxName::try_from(format!("user.u{i}").as_bytes()).unwrap();
            let change = Change {
                operation: (&EditKind::Delete).into(),
                mailbox,
                old_location: None,
                new: None,
                conflict: false,
            };
            builder.push(Sequence(i), &stamp, &What::Change(change));
        }
        builder.finish(Sequence(first + records - 1), 0, Root::default())
    }

    /// Sequences of the groups, and where damage begins.
    fn read(content: &[u8], end: usize) -> (Vec<u64>, Option<u64>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("groups");
        std::fs::write(&path, content).unwrap();
        let file = OsFileSystem.open(&path, Open::Read).unwrap();
        let mut reader = GroupReader::new(&*file, 10, u64::try_from(end).unwrap());
        let mut sequences = Vec::new();
        while let Some(read) = reader.next(&mut Interner::default()).unwrap() {
            match read {
                Read::Group(group) => sequences.push(group.first.0),
                Read::Bad { offset } => {
                    assert!(reader.next(&mut Interner::default()).unwrap().is_none());
                    return (sequences, Some(offset));
                }
            }
        }
        (sequences, None)
    }

    #[test]
    fn groups_across_pieces_and_longer_than_one() {
        let mut content = b"header....".to_vec();
        let mut firsts = Vec::new();
        let mut ends = Vec::new();
        let mut first = 1;
        for records in [1, 5000, 30_000, 3, 20_000, 1] {
            content.extend(group(first, records));
            firsts.push(first);
            ends.push(content.len());
            first += records;
        }
        assert_eq!(read(&content, content.len()), (firsts.clone(), None));
        for (i, end) in ends.iter().enumerate() {
            assert_eq!(read(&content, *end), (firsts[..=i].to_vec(), None));
            let begin = if i == 0 { 10 } else { ends[i - 1] };
            let bad = (firsts[..i].to_vec(), Some(u64::try_from(begin).unwrap()));
            assert_eq!(read(&content, end - 1), bad);
            assert_eq!(read(&content[..end - 1], content.len()), bad);
            let mut damaged = content.clone();
            damaged[end - 1] ^= 1;
            assert_eq!(read(&damaged, content.len()), bad);
            let mut damaged = content.clone();
            damaged[begin + 4] ^= 0x0F;
            assert_eq!(read(&damaged, content.len()), bad);
        }
    }
}

//! Writing a new file from pairs that come in order: each byte once, in large pieces.

use super::header::{DUMMY_AT, Header};
use super::record::{FILLER, FIRST_RECORD_AT, Head, Kind, LISTS, filler_len};
use super::txn::random_level;
use crate::file::File;
use crate::{Error, wide};

/// How much is collected before it is written, and synced at once: a file system may make others'
/// syncs, and with them whoever waits for their locks, wait for all that we have written.
const PIECE_BYTES: usize = 1 << 20;

/// A file that is being written. Nobody else may know of it.
pub(super) struct Loader<'f, F> {
    file: &'f F,
    fillers: bool,
    /// What was not written yet, and its offset.
    piece: Vec<u8>,
    piece_at: u64,
    records: u64,
    /// For each list, which of `open` is its last record so far.
    last: [usize; LISTS],
    /// Heads whose links are not all known yet, each at the number of its highest list, whose last
    /// record it is; DUMMY behind all.
    open: [Option<Head>; LISTS + 1],
    /// An encoded head; its memory is used again.
    raw: Vec<u8>,
}

impl<'f, F: File> Loader<'f, F> {
    /// Starts in an empty file.
    pub(super) fn new(file: &'f F, fillers: bool) -> Self {
        let mut open = [const { None }; LISTS + 1];
        open[LISTS] = Some(Head::dummy());
        Self {
            file,
            fillers,
            piece: Head::dummy().encode(),
            piece_at: DUMMY_AT,
            records: 0,
            last: [LISTS; LISTS],
            open,
            raw: Vec::new(),
        }
    }

    fn end(&self) -> u64 {
        self.piece_at + wide(self.piece.len())
    }

    /// Appends a record whose key is behind all before.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let mut head = Head::new(Kind::Record, random_level(), key.len(), value.len());
        self.fill(head.head_len());
        head.offset = self.end();
        let body_at = self.piece.len() + usize::try_from(head.head_len()).unwrap_or(0);
        self.piece.resize(body_at, 0);
        self.piece.extend_from_slice(key);
        self.piece.extend_from_slice(value);
        let padded = self.piece.len().next_multiple_of(8);
        // Heads have lengths of a multiple of 8, so this pads key and value alone.
        self.piece.resize(padded, 0);
        head.tail_crc = crc32fast::hash(self.piece.get(body_at..).unwrap_or_default());
        self.link_last(&head)?;
        self.records += 1;
        if let Some(place) = self.open.get_mut(highest_list(&head)) {
            *place = Some(head);
        }
        if self.piece.len() >= PIECE_BYTES {
            self.write_piece()?;
            self.file.sync().map_err(Error::io("sync the copy"))?;
        }
        Ok(())
    }

    fn fill(&mut self, head_len: u64) {
        if self.fillers {
            for _ in 0..filler_len(self.end(), head_len) / 8 {
                self.piece.extend_from_slice(FILLER);
            }
        }
    }

    /// Makes the last record of every list that `head` is in lead to it. Where that was the highest
    /// list of the last record, its head is complete.
    fn link_last(&mut self, head: &Head) -> Result<(), Error> {
        for list in 0..=highest_list(head) {
            let Some(last) = self.last.get_mut(list) else {
                break;
            };
            let before = std::mem::replace(last, highest_list(head));
            let Some(open) = self.open.get_mut(before) else {
                break;
            };
            if let Some(before) = open {
                before.set_link(list, head.offset, u64::MAX);
            }
            if before == list
                && let Some(done) = open.take()
            {
                self.place(&done)?;
            }
        }
        Ok(())
    }

    /// Puts a head where its record is: still in memory, or in the file.
    fn place(&mut self, head: &Head) -> Result<(), Error> {
        self.raw.clear();
        head.encode_to(&mut self.raw);
        let raw = &self.raw;
        let within = head.offset.checked_sub(self.piece_at);
        match within.and_then(|within| usize::try_from(within).ok()) {
            Some(at) => {
                if let Some(room) = self.piece.get_mut(at..at + raw.len()) {
                    room.copy_from_slice(raw);
                }
                Ok(())
            }
            None => self
                .file
                .write_at(head.offset, raw)
                .map_err(Error::io("write a record's head into the copy")),
        }
    }

    fn write_piece(&mut self) -> Result<(), Error> {
        self.file
            .write_at(self.piece_at, &self.piece)
            .map_err(Error::io("write the copy"))?;
        self.piece_at = self.end();
        self.piece.clear();
        Ok(())
    }

    /// Writes what is left, the COMMIT and the header; without a sync.
    pub(super) fn finish(mut self, generation: u64) -> Result<Header, Error> {
        let repack_size = self.end();
        let open = std::mem::replace(&mut self.open, [const { None }; LISTS + 1]);
        for head in open.into_iter().flatten() {
            self.place(&head)?;
        }
        if self.records > 0 {
            let commit = Head::single(Kind::Commit, FIRST_RECORD_AT);
            self.fill(commit.head_len());
            self.piece.extend_from_slice(&commit.encode());
        }
        self.write_piece()?;
        let header = Header {
            generation,
            records: self.records,
            repack_size,
            committed: self.end(),
            dirty: false,
        };
        header.write(self.file)?;
        Ok(header)
    }
}

/// Number of the highest list that a record is in.
fn highest_list(head: &Head) -> usize {
    usize::from(head.level).saturating_sub(1)
}

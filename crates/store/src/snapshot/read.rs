//! Reading a snapshot back.

use std::io;
use std::sync::Arc;

use proto::MailboxName;

use crate::digest::Digester;
use crate::file::{File, read_full};
use crate::history::History;
use crate::intern::Interner;
use crate::log::segment::{BadHeader, HEADER_BYTES_MAX};
use crate::snapshot::format::{
    BLOCK_CONFLICTS, BLOCK_END, BLOCK_ENTRIES, BLOCK_HEADER_LEN, BlockHeader, Header, ItemReader,
};
use crate::{Stored, Version};

/// Why a snapshot can't be used.
#[derive(Debug)]
pub(crate) enum BadSnapshot {
    /// It can't be read.
    Io(io::Error),
    /// It was written by a later version of this program.
    Format(u32),
    /// It is not what was written.
    Damaged { offset: u64, what: &'static str },
}

impl From<io::Error> for BadSnapshot {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads the header only.
pub(crate) fn read_header(file: &dyn File) -> Result<(Header, usize), BadSnapshot> {
    let mut octets = vec![0; HEADER_BYTES_MAX];
    let filled = read_full(file, &mut octets, 0)?;
    octets.truncate(filled);
    Header::decode(&octets).map_err(|bad| match bad {
        BadHeader::Format(version) => BadSnapshot::Format(version),
        BadHeader::Damaged => damaged(0, "header is damaged"),
    })
}

/// Reads the list, and makes sure that it is the one that was written. Its history is empty.
pub(crate) fn read(file: &dyn File, interner: &mut Interner) -> Result<Version, BadSnapshot> {
    let (header, len) = read_header(file)?;
    let mut loading = Loading {
        digester: Digester::new(&header.lineage),
        version: Version {
            sequence: header.sequence,
            history: History::starting_after(header.sequence),
            log: header.log,
            ..Version::empty(Arc::clone(&header.lineage))
        },
        conflicts: 0,
        interner,
    };
    let mut blocks = Blocks {
        file,
        offset: u64::try_from(len).unwrap_or_default(),
        number: 0,
        octets: Vec::new(),
    };
    loop {
        let offset = blocks.offset;
        let block = blocks.next()?;
        if block.kind == BLOCK_END {
            break;
        }
        let items = blocks.items(block);
        let loaded = loading.block(block, items);
        loaded.map_err(|what| damaged(offset, what))?;
    }
    if file.len()? != blocks.offset {
        return Err(damaged(blocks.offset, "something follows the last block"));
    }
    loading.finish(&header).map_err(|what| damaged(0, what))
}

fn damaged(offset: u64, what: &'static str) -> BadSnapshot {
    BadSnapshot::Damaged { offset, what }
}

struct Blocks<'a> {
    file: &'a dyn File,
    offset: u64,
    number: u32,
    octets: Vec<u8>,
}

impl Blocks<'_> {
    fn next(&mut self) -> Result<BlockHeader, BadSnapshot> {
        let offset = self.offset;
        self.octets.resize(BLOCK_HEADER_LEN, 0);
        self.fill(0, offset)?;
        let header = BlockHeader::decode(&self.octets);
        let header = header.ok_or_else(|| damaged(offset, "block header is damaged"))?;
        self.octets.resize(BLOCK_HEADER_LEN + header.len + 4, 0);
        self.fill(BLOCK_HEADER_LEN, offset)?;
        let checked = self.octets.split_last_chunk::<4>();
        let intact = checked
            .is_some_and(|(content, crc)| crc32fast::hash(content) == u32::from_be_bytes(*crc));
        if !intact || header.number != self.number {
            return Err(damaged(offset, "block is damaged"));
        }
        self.number += 1;
        self.offset += u64::try_from(self.octets.len()).unwrap_or_default();
        Ok(header)
    }

    fn items(&self, header: BlockHeader) -> &[u8] {
        let items = BLOCK_HEADER_LEN..BLOCK_HEADER_LEN + header.len;
        self.octets.get(items).unwrap_or_default()
    }

    /// Fills the octets from `from` on, with what stands at `offset + from`.
    fn fill(&mut self, from: usize, offset: u64) -> Result<(), BadSnapshot> {
        let rest = self.octets.get_mut(from..).unwrap_or_default();
        let at = offset + u64::try_from(from).unwrap_or_default();
        if read_full(self.file, rest, at)? == rest.len() {
            Ok(())
        } else {
            Err(damaged(offset, "file ends within a block"))
        }
    }
}

struct Loading<'a> {
    version: Version,
    digester: Digester,
    interner: &'a mut Interner,
    conflicts: u64,
}

impl Loading<'_> {
    fn block(&mut self, header: BlockHeader, items: &[u8]) -> Result<(), &'static str> {
        let mut items = ItemReader::new(items);
        let mut read = Vec::new();
        for _ in 0..header.items {
            let item = items.read(self.interner);
            let item = item.ok_or("block holds a damaged entry")?;
            if item.1.changed > self.version.sequence {
                return Err("block holds an entry from after the snapshot");
            }
            read.push(item);
        }
        if !items.is_at_end() {
            return Err("block holds more than it says");
        }
        match header.kind {
            BLOCK_ENTRIES => self.entries(read),
            BLOCK_CONFLICTS => {
                self.conflicts += u64::from(header.items);
                for (mailbox, stored) in read {
                    self.version.keep_conflict(&mailbox, &stored);
                }
                Ok(())
            }
            _ => Err("block is of an unknown kind"),
        }
    }

    /// Every other entry first: inserted in order, all of them would leave the map's nodes half
    /// empty; the second half fills them.
    fn entries(&mut self, entries: Vec<(MailboxName, Stored)>) -> Result<(), &'static str> {
        let mut second = Vec::with_capacity(entries.len() / 2);
        let mut is_first = true;
        for entry in entries {
            if is_first {
                self.entry(entry)?;
            } else {
                second.push(entry);
            }
            is_first = !is_first;
        }
        second.into_iter().try_for_each(|entry| self.entry(entry))
    }

    fn entry(&mut self, (mailbox, stored): (MailboxName, Stored)) -> Result<(), &'static str> {
        match self
            .version
            .apply(&mut self.digester, &mailbox, Some(stored))
        {
            None => Ok(()),
            Some(_) => Err("block holds an entry twice"),
        }
    }

    fn finish(self, header: &Header) -> Result<Version, &'static str> {
        let Self {
            version, conflicts, ..
        } = self;
        let agrees = version.count() == header.count && version.root == header.root;
        if !agrees || conflicts != header.conflicts {
            return Err("content does not add up to the header's count and root");
        }
        Ok(version)
    }
}

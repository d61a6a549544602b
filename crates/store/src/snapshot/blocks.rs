//! A snapshot's blocks, from octets to entries.

use proto::{MailboxName, NameRef};

use crate::digest::Digester;
use crate::digests::Part;
use crate::file::{File, read_full};
use crate::list::Leaf;
use crate::snapshot::format::{
    BLOCK_BUCKETS, BLOCK_CONFLICTS, BLOCK_END, BLOCK_ENTRIES, BLOCK_HEADER_LEN, BLOCK_HOSTS,
    BlockHeader, Header, Item, ItemReader,
};
use crate::snapshot::read::{BadSnapshot, damaged};
use crate::snapshot::sums::{self, Sums};
use crate::{Sequence, Stored};

/// A block as it stands in the file; only its head has been looked at.
pub(super) struct Block {
    /// Where it begins.
    offset: u64,
    /// Which it has to be.
    number: u32,
    header: BlockHeader,
    octets: Vec<u8>,
}

/// The blocks of a file, in order, up to the end block.
pub(crate) struct Blocks<'a> {
    file: &'a dyn File,
    offset: u64,
    number: u32,
}

impl<'a> Blocks<'a> {
    /// Those behind a file's header of this length.
    pub(super) fn new(file: &'a dyn File, header_len: usize) -> Self {
        Self {
            file,
            offset: u64::try_from(header_len).unwrap_or(u64::MAX),
            number: 0,
        }
    }

    /// Those from a block on that begins at an offset.
    pub(crate) fn from(file: &'a dyn File, offset: u64, number: u32) -> Self {
        Self {
            file,
            offset,
            number,
        }
    }

    /// Where the next block begins,
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// and its number.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Makes sure that the next block is whole; whether there is one before the end.
    pub(crate) fn check_next(&mut self) -> Result<bool, BadSnapshot> {
        let block = self.next()?;
        block.map_or(Ok(false), |block| block.check().map(|()| true))
    }

    /// `None`: the end block stands here, is whole, and nothing follows it.
    pub(super) fn next(&mut self) -> Result<Option<Block>, BadSnapshot> {
        let block = self.read()?;
        self.number = self.number.saturating_add(1);
        self.offset += u64::try_from(block.octets.len()).unwrap_or_default();
        if block.header.kind != BLOCK_END {
            return Ok(Some(block));
        }
        block.check()?;
        if self.file.len()? != self.offset {
            return Err(damaged(self.offset, "something follows the last block"));
        }
        Ok(None)
    }

    fn read(&self) -> Result<Block, BadSnapshot> {
        let mut octets = vec![0; BLOCK_HEADER_LEN];
        self.fill(&mut octets, 0)?;
        let header = BlockHeader::decode(&octets);
        let header = header.ok_or_else(|| damaged(self.offset, "block header is damaged"))?;
        octets.resize(BLOCK_HEADER_LEN + header.len + 4, 0);
        self.fill(&mut octets, BLOCK_HEADER_LEN)?;
        Ok(Block {
            offset: self.offset,
            number: self.number,
            header,
            octets,
        })
    }

    /// Fills a block's octets from `from` on.
    fn fill(&self, octets: &mut [u8], from: usize) -> Result<(), BadSnapshot> {
        let rest = octets.get_mut(from..).unwrap_or_default();
        let at = self.offset + u64::try_from(from).unwrap_or_default();
        if read_full(self.file, rest, at)? == rest.len() {
            Ok(())
        } else {
            Err(damaged(self.offset, "file ends within a block"))
        }
    }
}

impl Block {
    fn check(&self) -> Result<(), BadSnapshot> {
        let checked = self.octets.split_last_chunk::<4>();
        let intact = checked
            .is_some_and(|(content, crc)| crc32fast::hash(content) == u32::from_be_bytes(*crc));
        if intact && self.header.number == self.number {
            Ok(())
        } else {
            Err(damaged(self.offset, "block is damaged"))
        }
    }

    fn items(&self) -> &[u8] {
        let items = BLOCK_HEADER_LEN..BLOCK_HEADER_LEN + self.header.len;
        self.octets.get(items).unwrap_or_default()
    }
}

/// What a block holds.
pub(super) enum Decoded {
    /// A part of the list.
    Entries(Entries),
    /// Contradicted entries.
    Conflicts(Vec<(MailboxName, Stored)>),
    /// Some sums of the list.
    Sums(Sums),
}

/// Entries that stand behind each other in the list.
pub(super) struct Entries {
    /// Where their block begins.
    pub(super) offset: u64,
    /// First and last name.
    pub(super) bounds: Option<(MailboxName, MailboxName)>,
    pub(super) leaves: Vec<Leaf>,
    /// What they add up to, unless the snapshot itself tells; and which of them are held.
    pub(super) part: Part,
}

/// Checks and decodes blocks, in any order.
pub(super) struct Decoder {
    sequence: Sequence,
    /// Where the snapshot does not tell sums itself.
    digester: Option<Digester>,
}

impl Decoder {
    pub(super) fn new(header: &Header) -> Self {
        Self {
            sequence: header.sequence,
            digester: (!header.has_sums).then(|| Digester::new(&header.lineage)),
        }
    }

    pub(super) fn decode(&mut self, block: &Block) -> Result<Decoded, BadSnapshot> {
        block.check()?;
        let decoded = match block.header.kind {
            BLOCK_ENTRIES => self.entries(block).map(Decoded::Entries),
            BLOCK_CONFLICTS => self.conflicts(block).map(Decoded::Conflicts),
            BLOCK_HOSTS => sums(block, sums::hosts),
            BLOCK_BUCKETS => sums(block, sums::buckets),
            _ => Err("block is of an unknown kind"),
        };
        decoded.map_err(|what| damaged(block.offset, what))
    }

    fn entries(&mut self, block: &Block) -> Result<Entries, &'static str> {
        let mut leaves = vec![Leaf::default()];
        let mut bounds: Option<(MailboxName, Vec<u8>)> = None;
        let mut part = Part::default();
        self.items(block, |digester, Item { listed, is_behind }| {
            if !is_behind {
                return Err("block is not in order");
            }
            let (_, last) = bounds.get_or_insert_with(|| (listed.mailbox.to_name(), Vec::new()));
            listed.mailbox.key().clone_into(last);
            match digester {
                Some(digester) => part.add(digester, &listed),
                None => part.hold(&listed),
            }
            if let Some(full) = leaves.last_mut().filter(|leaf| leaf.is_full()) {
                full.shrink();
                leaves.push(Leaf::default());
            }
            if let Some(leaf) = leaves.last_mut() {
                leaf.push(&listed);
            }
            Ok(())
        })?;
        if let Some(last) = leaves.last_mut() {
            last.shrink();
        }
        Ok(Entries {
            offset: block.offset,
            bounds: bounds.map(|(first, last)| (first, NameRef::of_known_key(&last).to_name())),
            leaves,
            part,
        })
    }

    fn conflicts(&mut self, block: &Block) -> Result<Vec<(MailboxName, Stored)>, &'static str> {
        let mut older = Vec::new();
        self.items(block, |_, item| {
            older.push(item.listed.to_owned());
            Ok(())
        })?;
        Ok(older)
    }

    fn items(
        &mut self,
        block: &Block,
        mut take: impl FnMut(&mut Option<Digester>, Item<'_>) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        let mut items = ItemReader::new(block.items());
        for _ in 0..block.header.items {
            let item = items.read().ok_or("block holds a damaged entry")?;
            if item.listed.changed > self.sequence {
                return Err("block holds an entry from after the snapshot");
            }
            take(&mut self.digester, item)?;
        }
        if items.is_at_end() {
            Ok(())
        } else {
            Err("block holds more than it says")
        }
    }
}

fn sums(block: &Block, read: fn(&[u8], u32) -> Option<Sums>) -> Result<Decoded, &'static str> {
    let sums = read(block.items(), block.header.items);
    sums.map(Decoded::Sums).ok_or("block holds a damaged sum")
}

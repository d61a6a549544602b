//! Header, blocks and items of a snapshot (`docs/store-format.md`, "Snapshots").

use std::sync::Arc;

use proto::{AclRef, EntryRef, LocationRef, NameRef};

use crate::bytes::{Reader, put_long, put_short};
use crate::list::Listed;
use crate::log::LogPosition;
use crate::log::record::EntryKind;
use crate::log::segment::{BadHeader, decode_lineage, encode_lineage, open, seal};
use crate::place::{Follows, put_follows, take_follows};
use crate::{Lineage, Root, Sequence, Version};

const MAGIC: [u8; 8] = *b"MUPDSNP\0";

/// Version of the format; the ones before it are read too. A higher one is refused by name, not taken for damage.
const FORMAT: u32 = 3;
/// From this one on a snapshot holds the sums of its list.
const FORMAT_WITH_SUMS: u32 = 3;

/// Block of entries.
pub(crate) const BLOCK_ENTRIES: u8 = 1;
/// Block of contradicted entries.
pub(crate) const BLOCK_CONFLICTS: u8 = 2;
/// Block of sums of servers.
pub(crate) const BLOCK_HOSTS: u8 = 3;
/// Block of sums of buckets.
pub(crate) const BLOCK_BUCKETS: u8 = 4;
/// Last block, empty.
pub(crate) const BLOCK_END: u8 = 0xFF;

/// Octets before a block's items: kind, number, length, items.
pub(crate) const BLOCK_HEADER_LEN: usize = 1 + 4 + 4 + 4;
/// A block is closed when it has this many octets.
pub(crate) const BLOCK_BYTES: usize = 256 << 10;
/// Longest block: one that was closed by the largest possible entry.
pub(crate) const BLOCK_BYTES_MAX: usize = 1 << 20;

const ITEM_KIND: u8 = 0x03;
const ITEM_SAME_LOCATION: u8 = 0x04;
const ITEM_SAME_ACL: u8 = 0x08;
const ITEM_HELD: u8 = 0x10;
const ITEM_BITS: u8 = ITEM_KIND | ITEM_SAME_LOCATION | ITEM_SAME_ACL | ITEM_HELD;

/// What a snapshot begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) number: u64,
    pub(crate) lineage: Arc<Lineage>,
    pub(crate) sequence: Sequence,
    pub(crate) count: u64,
    pub(crate) root: Root,
    pub(crate) conflicts: u64,
    pub(crate) log: LogPosition,
    pub(crate) held: u64,
    pub(crate) follows: Option<Follows>,
    /// Whether the sums of the list stand behind it.
    pub(crate) has_sums: bool,
}

impl Header {
    pub(crate) fn of(number: u64, version: &Version) -> Self {
        let conflicts: usize = version.conflicts().map(|(_, older)| older.len()).sum();
        Self {
            number,
            lineage: Arc::clone(&version.lineage),
            sequence: version.sequence,
            count: version.count(),
            root: version.root(),
            conflicts: u64::try_from(conflicts).unwrap_or(u64::MAX),
            log: version.log,
            held: version.held_count(),
            follows: version.follows.clone(),
            has_sums: true,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&FORMAT.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.number.to_be_bytes());
        encode_lineage(&mut out, &self.lineage);
        out.extend_from_slice(&self.sequence.0.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&self.root.0.to_be_bytes());
        out.extend_from_slice(&self.conflicts.to_be_bytes());
        out.extend_from_slice(&self.log.segment.to_be_bytes());
        out.extend_from_slice(&self.log.offset.to_be_bytes());
        out.extend_from_slice(&self.held.to_be_bytes());
        put_follows(&mut out, self.follows.as_ref());
        seal(&mut out);
        out
    }

    /// Decodes the header that these octets begin with, and tells its length.
    pub(crate) fn decode(octets: &[u8]) -> Result<(Self, usize), BadHeader> {
        let (format, mut input, len) = open(octets, MAGIC, FORMAT)?;
        let header = Self::fields(&mut input, format).filter(|_| input.is_empty());
        Ok((header.ok_or(BadHeader::Damaged)?, len))
    }

    fn fields(input: &mut Reader<'_>, format: u32) -> Option<Self> {
        let number = input.u64()?;
        let lineage = Arc::new(decode_lineage(input, format)?);
        let sequence = Sequence(input.u64()?);
        let count = input.u64()?;
        let root = Root(input.u128()?);
        let conflicts = input.u64()?;
        let log = LogPosition {
            segment: input.u64()?,
            offset: input.u64()?,
        };
        let (mut held, mut follows) = (0, None);
        if format > 1 {
            held = input.u64()?;
            take_follows(input, &mut follows)?;
        }
        Some(Self {
            number,
            lineage,
            sequence,
            count,
            root,
            conflicts,
            log,
            held,
            follows,
            has_sums: format >= FORMAT_WITH_SUMS,
        })
    }
}

/// What a block's head says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockHeader {
    pub(crate) kind: u8,
    pub(crate) number: u32,
    pub(crate) len: usize,
    pub(crate) items: u32,
}

impl BlockHeader {
    pub(crate) fn encode(self) -> [u8; BLOCK_HEADER_LEN] {
        let mut out = [0; BLOCK_HEADER_LEN];
        let len = u32::try_from(self.len).unwrap_or(u32::MAX);
        let fields = [self.number, len, self.items];
        let octets = fields.into_iter().flat_map(u32::to_be_bytes);
        for (place, octet) in out.iter_mut().zip([self.kind].into_iter().chain(octets)) {
            *place = octet;
        }
        out
    }

    pub(crate) fn decode(octets: &[u8]) -> Option<Self> {
        let mut input = Reader::new(octets);
        let header = Self {
            kind: input.u8()?,
            number: input.u32()?,
            len: usize::try_from(input.u32()?).ok()?,
            items: input.u32()?,
        };
        (header.len <= BLOCK_BYTES_MAX).then_some(header)
    }
}

/// Writes the items of one block, each shortened by what it shares with the one before.
#[derive(Default)]
pub(crate) struct ItemWriter<'a> {
    before: Option<Listed<'a>>,
}

impl<'a> ItemWriter<'a> {
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, item: Listed<'a>) {
        let (key, entry) = (item.mailbox.key(), item.entry);
        let same_location = self
            .before
            .is_some_and(|before| before.entry.location() == entry.location());
        let acl_before = self.before.and_then(|before| before.entry.acl());
        let same_acl = entry.acl().is_some() && acl_before == entry.acl();
        let mut head = EntryKind::of(entry).octet();
        if same_location {
            head |= ITEM_SAME_LOCATION;
        }
        if same_acl {
            head |= ITEM_SAME_ACL;
        }
        if item.held {
            head |= ITEM_HELD;
        }
        let shared = self
            .before
            .map_or(0, |before| shared_len(before.mailbox.key(), key));
        out.push(head);
        out.extend_from_slice(&u16::try_from(shared).unwrap_or_default().to_be_bytes());
        put_short(out, key.get(shared..).unwrap_or_default());
        out.extend_from_slice(&item.changed.0.to_be_bytes());
        if !same_location {
            put_short(out, entry.location().as_bytes());
        }
        if let Some(acl) = entry.acl().filter(|_| !same_acl) {
            put_long(out, acl.as_bytes());
        }
        self.before = Some(item);
    }
}

fn shared_len(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

/// Reads the items of one block.
pub(crate) struct ItemReader<'a> {
    input: Reader<'a>,
    key: Vec<u8>,
    /// Those of the item before.
    location: Option<LocationRef<'a>>,
    acl: Option<AclRef<'a>>,
}

/// An item of a block.
pub(crate) struct Item<'a> {
    pub(crate) listed: Listed<'a>,
    /// Whether its key comes behind that of the item before.
    pub(crate) is_behind: bool,
}

impl<'a> ItemReader<'a> {
    pub(crate) fn new(items: &'a [u8]) -> Self {
        Self {
            input: Reader::new(items),
            key: Vec::new(),
            location: None,
            acl: None,
        }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.input.is_empty()
    }

    /// The next item; `None`: it is damaged.
    pub(crate) fn read(&mut self) -> Option<Item<'_>> {
        let head = self.input.u8()?;
        if head & !ITEM_BITS != 0 {
            return None;
        }
        let shared = usize::from(self.input.u16()?);
        let rest = self.input.short()?;
        let is_behind = rest > self.key.get(shared..)?;
        self.key.truncate(shared);
        self.key.extend_from_slice(rest);
        let changed = Sequence(self.input.u64()?);
        if head & ITEM_SAME_LOCATION == 0 {
            self.location = Some(self.input.short()?.try_into().ok()?);
        }
        let location = self.location?;
        let entry = match EntryKind::from_octet(head & ITEM_KIND)? {
            EntryKind::Active => {
                if head & ITEM_SAME_ACL == 0 {
                    self.acl = Some(AclRef::from_normal(self.input.long()?)?);
                }
                let acl = self.acl?;
                EntryRef::Active { location, acl }
            }
            EntryKind::Reserved(by) => {
                self.acl = None;
                EntryRef::Reserved { location, by }
            }
        };
        let listed = Listed {
            mailbox: NameRef::from_key(&self.key).ok()?,
            entry,
            changed,
            held: head & ITEM_HELD != 0,
        };
        Some(Item { listed, is_behind })
    }
}

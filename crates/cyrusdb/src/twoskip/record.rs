//! Heads and bodies of records (format document, section 1).

use crate::{Error, wide};

/// Number of the highest level; also the number of lists.
pub(crate) const LEVEL_MAX: u8 = 31;
/// Lists 0 to 30.
pub(crate) const LISTS: usize = 31;
/// End of the DUMMY record, where the first other record may be.
pub(crate) const FIRST_RECORD_AT: u64 = 336;
/// Put before records to keep heads from crossing a block.
pub(crate) const FILLER: &[u8; 8] = b" BLANK\x07\xa0";
/// No record is shorter.
pub(crate) const RECORD_BYTES_MIN: u64 = 24;
/// Longest possible head: fixed part, two long lengths, 32 links, two checksums.
pub(crate) const HEAD_BYTES_MAX: usize = 8 + 16 + 32 * 8 + 8;

const KEY_LEN_LONG: u16 = u16::MAX;
const VALUE_LEN_LONG: u32 = u32::MAX;
/// Size of the blocks that a disk writes whole.
const BLOCK: u64 = 512;

/// The kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Dummy,
    Record,
    Delete,
    Commit,
}

impl Kind {
    fn of(octet: u8) -> Option<Self> {
        match octet {
            b'=' => Some(Self::Dummy),
            b'+' => Some(Self::Record),
            b'-' => Some(Self::Delete),
            b'$' => Some(Self::Commit),
            _ => None,
        }
    }

    fn octet(self) -> u8 {
        match self {
            Self::Dummy => b'=',
            Self::Record => b'+',
            Self::Delete => b'-',
            Self::Commit => b'$',
        }
    }
}

/// The part of a record that may be rewritten, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) offset: u64,
    pub(crate) kind: Kind,
    pub(crate) level: u8,
    pub(crate) key_len: u64,
    pub(crate) value_len: u64,
    links: [u64; 32],
    pub(crate) tail_crc: u32,
}

impl Head {
    /// A head without links, for a body of these lengths.
    pub(crate) fn new(kind: Kind, level: u8, key_len: usize, value_len: usize) -> Self {
        Self {
            offset: 0,
            kind,
            level,
            key_len: wide(key_len),
            value_len: wide(value_len),
            links: [0; 32],
            tail_crc: 0,
        }
    }

    /// The DUMMY of a new file.
    pub(crate) fn dummy() -> Self {
        let mut head = Self::new(Kind::Dummy, LEVEL_MAX, 0, 0);
        head.offset = super::header::DUMMY_AT;
        head
    }

    /// A DELETE or COMMIT with its one link.
    pub(crate) fn single(kind: Kind, link: u64) -> Self {
        let mut head = Self::new(kind, 0, 0, 0);
        head.links[0] = link;
        head
    }

    /// Length of a head whose first 8 bytes are these.
    pub(crate) fn len_of(start: [u8; 8]) -> usize {
        let [_, level, k0, k1, v0, v1, v2, v3] = start;
        let long_key = u16::from_be_bytes([k0, k1]) == KEY_LEN_LONG;
        let long_value = u32::from_be_bytes([v0, v1, v2, v3]) == VALUE_LEN_LONG;
        let longs = usize::from(long_key) + usize::from(long_value);
        8 + 8 * longs + 8 * (usize::from(level) + 1) + 8
    }

    /// Checks and reads a whole head found at `offset`.
    pub(crate) fn parse(offset: u64, raw: &[u8]) -> Result<Self, Error> {
        let fault = |what| Error::corrupt(offset, what);
        let ends_early = || Error::corrupt(offset, "record head is cut off");
        let (fields, crcs) = raw
            .split_at_checked(raw.len().saturating_sub(8))
            .ok_or_else(ends_early)?;
        let (head_crc, tail_crc) = crcs.split_first_chunk::<4>().ok_or_else(ends_early)?;
        if crc32fast::hash(fields).to_be_bytes() != *head_crc {
            return Err(fault("head checksum does not match"));
        }
        let (start, rest) = fields.split_first_chunk::<8>().ok_or_else(ends_early)?;
        let [kind, level, k0, k1, v0, v1, v2, v3] = *start;
        let kind = Kind::of(kind).ok_or_else(|| fault("unknown kind of record"))?;
        if level > LEVEL_MAX {
            return Err(fault("level above 31"));
        }
        let mut numbers = rest
            .as_chunks::<8>()
            .0
            .iter()
            .map(|raw| u64::from_be_bytes(*raw));
        let mut length = |short: u64, long: bool| {
            if long { numbers.next() } else { Some(short) }.ok_or_else(ends_early)
        };
        let key_len = u16::from_be_bytes([k0, k1]);
        let value_len = u32::from_be_bytes([v0, v1, v2, v3]);
        let mut head = Self {
            offset,
            kind,
            level,
            key_len: length(key_len.into(), key_len == KEY_LEN_LONG)?,
            value_len: length(value_len.into(), value_len == VALUE_LEN_LONG)?,
            links: [0; 32],
            tail_crc: tail_crc
                .first_chunk()
                .copied()
                .map_or(0, u32::from_be_bytes),
        };
        for (link, number) in head.links.iter_mut().zip(numbers) {
            *link = number;
        }
        head.check_shape()?;
        Ok(head)
    }

    fn check_shape(&self) -> Result<(), Error> {
        let bare = self.key_len == 0 && self.value_len == 0;
        let what = match self.kind {
            Kind::Dummy if self.level != LEVEL_MAX || !bare => "DUMMY of a wrong shape",
            Kind::Record if self.level == 0 || self.key_len == 0 => "RECORD of a wrong shape",
            Kind::Delete if self.level != 0 || !bare => "DELETE of a wrong shape",
            Kind::Commit if self.level != 0 || !bare => "COMMIT of a wrong shape",
            Kind::Dummy | Kind::Record | Kind::Delete | Kind::Commit => return Ok(()),
        };
        Err(Error::corrupt(self.offset, what))
    }

    /// Length of the head in bytes.
    pub(crate) fn head_len(&self) -> u64 {
        let longs = u64::from(self.key_len >= KEY_LEN_LONG.into())
            + u64::from(self.value_len >= VALUE_LEN_LONG.into());
        8 + 8 * longs + 8 * (u64::from(self.level) + 1) + 8
    }

    /// Length of key, value and padding; absurd lengths saturate, and then lie beyond any file.
    pub(crate) fn body_len(&self) -> u64 {
        let exact = self.key_len.saturating_add(self.value_len);
        exact.checked_next_multiple_of(8).unwrap_or(u64::MAX)
    }

    /// Offset of the key.
    pub(crate) fn body_at(&self) -> u64 {
        self.offset.saturating_add(self.head_len())
    }

    /// Offset behind the record.
    pub(crate) fn end(&self) -> u64 {
        self.body_at().saturating_add(self.body_len())
    }

    /// The head as bytes, with its checksum.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut raw = Vec::with_capacity(HEAD_BYTES_MAX);
        self.encode_to(&mut raw);
        raw
    }

    /// As [`Head::encode`], into an empty `raw`.
    pub(crate) fn encode_to(&self, raw: &mut Vec<u8>) {
        let key_len = u16::try_from(self.key_len).unwrap_or(KEY_LEN_LONG);
        let value_len = u32::try_from(self.value_len).unwrap_or(VALUE_LEN_LONG);
        raw.extend_from_slice(&[self.kind.octet(), self.level]);
        raw.extend_from_slice(&key_len.to_be_bytes());
        raw.extend_from_slice(&value_len.to_be_bytes());
        if key_len == KEY_LEN_LONG {
            raw.extend_from_slice(&self.key_len.to_be_bytes());
        }
        if value_len == VALUE_LEN_LONG {
            raw.extend_from_slice(&self.value_len.to_be_bytes());
        }
        for link in self.links() {
            raw.extend_from_slice(&link.to_be_bytes());
        }
        let crc = crc32fast::hash(raw);
        raw.extend_from_slice(&crc.to_be_bytes());
        raw.extend_from_slice(&self.tail_crc.to_be_bytes());
    }

    /// All links as they stand.
    pub(crate) fn links(&self) -> &[u64] {
        self.links
            .get(..=usize::from(self.level))
            .unwrap_or_default()
    }

    /// For recovery and bulk writing, which know what they do: the links, to be changed.
    pub(crate) fn links_mut(&mut self) -> &mut [u64] {
        self.links
            .get_mut(..=usize::from(self.level))
            .unwrap_or_default()
    }

    /// The one link of a DELETE or COMMIT.
    pub(crate) fn only_link(&self) -> u64 {
        self.links[0]
    }

    /// Where `list` goes on, as it stands: perhaps to a DELETE on list 0. `end` is the end that
    /// counts (format document, section 2); a list above 0 that goes beyond it, into a transaction
    /// under way, ends for us.
    pub(crate) fn link(&self, list: usize, end: u64) -> Result<u64, Error> {
        if list > 0 {
            let link = self.links.get(list + 1).copied().unwrap_or(0);
            return Ok(if link < end { link } else { 0 });
        }
        let [first, second, ..] = self.links;
        match (first < end, second < end) {
            (true, true) => Ok(first.max(second)),
            (true, false) => Ok(first),
            (false, true) => Ok(second),
            (false, false) => Err(Error::corrupt(self.offset, "no link below the end")),
        }
    }

    /// Makes `list` go on at `target`, in a transaction that began at `committed`.
    pub(crate) fn set_link(&mut self, list: usize, target: u64, committed: u64) {
        let [first, second, ..] = self.links;
        let at = match list {
            0 if first >= committed => 0,
            0 if second >= committed => 1,
            0 => usize::from(second <= first),
            upper => upper + 1,
        };
        if let Some(link) = self.links.get_mut(at) {
            *link = target;
        }
    }
}

/// How many bytes of fillers go before a record with a head of `head_len` that would begin at `at`.
pub(crate) fn filler_len(at: u64, head_len: u64) -> u64 {
    if head_len > BLOCK - 8 {
        return 0;
    }
    let mut fillers = 0;
    while (at + fillers + 8) % BLOCK > (at + fillers + head_len - 8) % BLOCK {
        fillers += 8;
    }
    fillers
}

/// A head and its body, in memory that is used again for the next record.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Record {
    /// Room for a record, of offset 0, where none can be.
    pub(crate) fn empty() -> Self {
        Self {
            head: Head::new(Kind::Dummy, LEVEL_MAX, 0, 0),
            body: Vec::new(),
        }
    }

    /// The key.
    pub(crate) fn key(&self) -> &[u8] {
        let end = usize::try_from(self.head.key_len).unwrap_or(usize::MAX);
        self.body.get(..end).unwrap_or_default()
    }

    /// The value.
    pub(crate) fn value(&self) -> &[u8] {
        let start = usize::try_from(self.head.key_len).unwrap_or(usize::MAX);
        let len = usize::try_from(self.head.value_len).unwrap_or(usize::MAX);
        let rest = self.body.get(start..).unwrap_or_default();
        rest.get(..len).unwrap_or_default()
    }

    /// Checks the body against the head.
    pub(crate) fn check_body(&self) -> Result<(), Error> {
        if crc32fast::hash(&self.body) == self.head.tail_crc {
            Ok(())
        } else {
            Err(Error::corrupt(
                self.head.body_at(),
                "body checksum does not match",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dummy_is_cyruss_own_and_heads_survive_encoding() {
        let raw = Head::dummy().encode();
        assert_eq!(raw, include_bytes!("../../tests/vectors/01-empty.db")[64..]);
        assert_eq!(raw[264..268], 0x4339_bc53_u32.to_be_bytes());
        let mut head = Head::new(Kind::Record, 3, 70_000, 5);
        head.offset = 4096;
        head.links_mut().copy_from_slice(&[8, 16, 24, 32]);
        let raw = head.encode();
        assert_eq!(wide(raw.len()), head.head_len());
        assert_eq!(Head::len_of(*raw.first_chunk().unwrap()), raw.len());
        assert_eq!(Head::parse(4096, &raw).unwrap(), head);
    }

    #[test]
    fn list_0_keeps_the_link_of_the_last_commit() {
        let mut head = Head::new(Kind::Record, 1, 1, 0);
        head.links_mut().copy_from_slice(&[0, 400]);
        head.set_link(0, 1000, 900);
        assert_eq!(head.links(), [1000, 400]);
        head.set_link(0, 1100, 900);
        assert_eq!(head.links(), [1100, 400]);
        assert_eq!(head.link(0, 900).unwrap(), 400);
        assert_eq!(head.link(0, 2000).unwrap(), 1100);
        head.set_link(0, 2100, 2000);
        assert_eq!(head.links(), [1100, 2100]);
        assert!(head.link(0, 1000).is_err());
    }

    #[test]
    fn fillers_keep_the_changing_part_in_one_block() {
        for head_len in (24..=288).step_by(8) {
            for at in (336..4096).step_by(8) {
                let at = at + filler_len(at, head_len);
                assert_eq!((at + 8) / 512, (at + head_len - 1) / 512, "{at} {head_len}");
            }
        }
    }
}

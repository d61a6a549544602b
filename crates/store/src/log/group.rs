//! Groups: what is written and synced at once.

use crate::bytes::Reader;
use crate::intern::Intern;
use crate::log::record::{self, Record, Stamp, What};
use crate::{Root, Sequence};

/// Begins every group. No value that a peer can choose holds a NUL, so none can look like a group.
pub(crate) const MAGIC: [u8; 4] = *b"\0MG\x01";

/// Octets before the records: magic, length, first, last, count, root, number of records.
pub(crate) const HEADER_LEN: usize = 4 + 4 + 8 + 8 + 8 + 16 + 4;

/// Octets behind the records.
const CRC_LEN: usize = 4;

/// Longest group, in octets; a length beyond it is damage.
pub(crate) const GROUP_BYTES_MAX: usize = 1 << 28;

/// Changes that became durable together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Number of the first change.
    pub first: Sequence,
    /// Number of the last; before `first` when there is no change.
    pub last: Sequence,
    /// Entries in the list after it.
    pub count: u64,
    /// Digest of the list after it.
    pub root: Root,
    /// What was done, in order.
    pub records: Vec<Record>,
}

/// Collects the octets of a group.
pub(crate) struct Builder {
    octets: Vec<u8>,
    first: Sequence,
    records: u32,
    stamp: Option<Stamp>,
}

impl Builder {
    /// A group whose first change will be `first`.
    pub(crate) fn new(first: Sequence) -> Self {
        Self {
            octets: vec![0; HEADER_LEN],
            first,
            records: 0,
            stamp: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Length so far, in octets.
    pub(crate) fn len(&self) -> usize {
        self.octets.len()
    }

    pub(crate) fn push(&mut self, sequence: Sequence, stamp: &Stamp, what: &What) {
        let ahead = u32::try_from(sequence.0.saturating_sub(self.first.0)).unwrap_or(u32::MAX);
        let known = self.stamp.as_ref() == Some(stamp);
        record::encode(&mut self.octets, ahead, (!known).then_some(stamp), what);
        if !known {
            self.stamp = Some(stamp.clone());
        }
        self.records += 1;
    }

    /// The octets for the file.
    pub(crate) fn finish(mut self, last: Sequence, count: u64, root: Root) -> Vec<u8> {
        let body = self.octets.len() - HEADER_LEN;
        let mut header = Vec::with_capacity(HEADER_LEN);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&u32::try_from(body).unwrap_or(u32::MAX).to_be_bytes());
        header.extend_from_slice(&self.first.0.to_be_bytes());
        header.extend_from_slice(&last.0.to_be_bytes());
        header.extend_from_slice(&count.to_be_bytes());
        header.extend_from_slice(&root.0.to_be_bytes());
        header.extend_from_slice(&self.records.to_be_bytes());
        if let Some(place) = self.octets.first_chunk_mut::<HEADER_LEN>() {
            place.copy_from_slice(&header);
        }
        let crc = crc32fast::hash(&self.octets);
        self.octets.extend_from_slice(&crc.to_be_bytes());
        self.octets
    }
}

/// The whole length of the group that these octets begin with, if they can be a group's.
pub(crate) fn announced_len(octets: &[u8]) -> Option<usize> {
    let mut input = Reader::new(octets);
    let magic: [u8; 4] = input.array()?;
    let body = usize::try_from(input.u32()?).ok()?;
    (magic == MAGIC && body <= GROUP_BYTES_MAX).then_some(HEADER_LEN + body + CRC_LEN)
}

/// Whether these octets end in the checksum of what is before it.
pub(crate) fn is_intact(octets: &[u8]) -> bool {
    let checked = octets.split_last_chunk::<CRC_LEN>();
    checked.is_some_and(|(content, crc)| crc32fast::hash(content) == u32::from_be_bytes(*crc))
}

/// Decodes the group that these octets begin with; `None`: there is no whole, undamaged one.
/// Returns also its length.
pub(crate) fn decode(octets: &[u8], interner: &mut impl Intern) -> Option<(Group, usize)> {
    let len = announced_len(octets)?;
    let (content, crc) = octets.get(..len)?.split_last_chunk::<CRC_LEN>()?;
    if crc32fast::hash(content) != u32::from_be_bytes(*crc) {
        return None;
    }
    let mut input = Reader::new(content.get(8..)?);
    let first = Sequence(input.u64()?);
    let last = Sequence(input.u64()?);
    let count = input.u64()?;
    let root = Root(input.u128()?);
    let number = input.u32()?;
    let mut records = Vec::new();
    let mut stamp = None;
    for _ in 0..number {
        records.push(record::decode(&mut input, first, &mut stamp, interner)?);
    }
    let group = Group {
        first,
        last,
        count,
        root,
        records,
    };
    input.is_empty().then_some((group, len))
}

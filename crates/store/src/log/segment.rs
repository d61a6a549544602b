//! Segment files: names and headers.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::bytes::Reader;
use crate::file::{File, FileSystem, Open, read_full};
use crate::ids::{FORKS_MAX, put_forks, take_forks};
use crate::{Epoch, Lineage, Root, Sequence};

const MAGIC: [u8; 8] = *b"MUPDLOG\0";

/// Version of the format. A higher one is refused by name, not taken for damage.
const FORMAT: u32 = 1;

const PREFIX: &str = "log.";

/// Octets that tell magic, version and length.
const START_LEN: usize = 16;

/// Longest header: all forks that are remembered.
pub(crate) const HEADER_BYTES_MAX: usize = 128 + 24 * FORKS_MAX;

/// What a segment begins with: where the list stood, and of which store it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) number: u64,
    pub(crate) lineage: Arc<Lineage>,
    pub(crate) sequence: Sequence,
    pub(crate) count: u64,
    pub(crate) root: Root,
}

/// Why some octets are not a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// Written by a later version of this program.
    Format(u32),
    /// Anything else.
    Damaged,
}

/// Name of a segment's file.
pub(crate) fn file_name(number: u64) -> String {
    format!("{PREFIX}{number:010}")
}

/// Number of the segment that a file name stands for.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_prefix(PREFIX)?.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&FORMAT.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.number.to_be_bytes());
        encode_lineage(&mut out, &self.lineage);
        out.extend_from_slice(&self.sequence.0.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&self.root.0.to_be_bytes());
        seal(&mut out);
        out
    }

    /// Decodes the header that these octets begin with, and tells its length.
    pub(crate) fn decode(octets: &[u8]) -> Result<(Self, usize), BadHeader> {
        let (mut input, len) = open(octets, MAGIC, FORMAT)?;
        let header = Self::fields(&mut input).filter(|_| input.is_empty());
        Ok((header.ok_or(BadHeader::Damaged)?, len))
    }

    fn fields(input: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            number: input.u64()?,
            lineage: Arc::new(decode_lineage(input)?),
            sequence: Sequence(input.u64()?),
            count: input.u64()?,
            root: Root(input.u128()?),
        })
    }
}

/// Reads the header of a segment's file.
pub(crate) fn read_header(fs: &dyn FileSystem, path: &Path) -> io::Result<Header> {
    let file = fs.open(path, Open::Read)?;
    let header = header_of(&*file)?;
    let (header, _) = header.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(header)
}

/// Reads the header of an open segment, and tells its length.
pub(crate) fn header_of(file: &dyn File) -> io::Result<Result<(Header, usize), BadHeader>> {
    let mut octets = vec![0; HEADER_BYTES_MAX];
    let filled = read_full(file, &mut octets, 0)?;
    octets.truncate(filled);
    Ok(Header::decode(&octets))
}

/// Fills in the length and appends the checksum.
pub(crate) fn seal(out: &mut Vec<u8>) {
    let len = u32::try_from(out.len() + 4).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(12..16) {
        place.copy_from_slice(&len.to_be_bytes());
    }
    let crc = crc32fast::hash(out);
    out.extend_from_slice(&crc.to_be_bytes());
}

/// Checks magic, version, length and checksum; returns the fields' octets and the whole length.
pub(crate) fn open(
    octets: &[u8],
    magic: [u8; 8],
    format: u32,
) -> Result<(Reader<'_>, usize), BadHeader> {
    let mut start = Reader::new(octets);
    let (Some(found), Some(version), Some(len)) = (start.array::<8>(), start.u32(), start.u32())
    else {
        return Err(BadHeader::Damaged);
    };
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let whole = octets.get(..len).filter(|_| len <= HEADER_BYTES_MAX);
    let checked = whole.and_then(|whole| whole.split_last_chunk::<4>());
    let intact = checked.filter(|(content, crc)| {
        found == magic && crc32fast::hash(content) == u32::from_be_bytes(**crc)
    });
    let (content, _) = intact.ok_or(BadHeader::Damaged)?;
    if version != format {
        return Err(BadHeader::Format(version));
    }
    let fields = content.get(START_LEN..).ok_or(BadHeader::Damaged)?;
    Ok((Reader::new(fields), len))
}

pub(crate) fn encode_lineage(out: &mut Vec<u8>, lineage: &Lineage) {
    out.extend_from_slice(&lineage.epoch().0);
    out.extend_from_slice(lineage.key());
    put_forks(out, lineage.forks());
}

pub(crate) fn decode_lineage(input: &mut Reader<'_>) -> Option<Lineage> {
    let epoch = Epoch(input.array()?);
    let key = input.array()?;
    let forks = take_forks(input)?;
    Some(Lineage::from_parts(epoch, key, forks))
}

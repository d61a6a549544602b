//! Segment files: names and headers.

use std::io;
use std::num::NonZeroU128;
use std::path::Path;
use std::sync::Arc;

use crate::bytes::Reader;
use crate::file::{File, FileSystem, Open, read_full};
use crate::ids::{FORKS_MAX, Token, put_forks, take_forks};
use crate::place::{Follows, put_follows, take_follows};
use crate::{Epoch, Lineage, Root, Sequence, Version};

const MAGIC: [u8; 8] = *b"MUPDLOG\0";

/// Version of the format; the ones before it are read too. A higher one is refused by name, not taken for damage.
pub(crate) const FORMAT: u32 = 2;

const PREFIX: &str = "log.";

/// Octets that tell magic, version and length.
const START_LEN: usize = 16;

/// Longest header: all forks that are remembered, of the store and of the owner.
pub(crate) const HEADER_BYTES_MAX: usize = 256 + 2 * 24 * FORKS_MAX;

/// What a segment begins with: where the list stood, and of which store it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) number: u64,
    pub(crate) lineage: Arc<Lineage>,
    pub(crate) sequence: Sequence,
    pub(crate) count: u64,
    pub(crate) root: Root,
    pub(crate) held: u64,
    pub(crate) follows: Option<Follows>,
    /// That of the file.
    pub(crate) format: u32,
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
            held,
            follows,
            format,
        })
    }

    /// Whether the list stood at a version's when the segment began.
    pub(crate) fn continues(&self, version: &Version) -> bool {
        self.sequence == version.sequence
            && self.count == version.count()
            && self.root == version.root()
            && (self.format == 1
                || (self.held == version.held_count() && self.follows == version.follows))
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

/// Checks magic, version, length and checksum; returns the version, the fields' octets and the whole
/// length.
pub(crate) fn open(
    octets: &[u8],
    magic: [u8; 8],
    newest: u32,
) -> Result<(u32, Reader<'_>, usize), BadHeader> {
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
    if !(1..=newest).contains(&version) {
        return Err(BadHeader::Format(version));
    }
    let fields = content.get(START_LEN..).ok_or(BadHeader::Damaged)?;
    Ok((version, Reader::new(fields), len))
}

pub(crate) fn encode_lineage(out: &mut Vec<u8>, lineage: &Lineage) {
    out.extend_from_slice(&lineage.epoch().0);
    out.extend_from_slice(lineage.key());
    put_forks(out, lineage.forks());
    let token = lineage.token().map_or(0, |token| token.0.get());
    out.extend_from_slice(&token.to_be_bytes());
}

pub(crate) fn decode_lineage(input: &mut Reader<'_>, format: u32) -> Option<Lineage> {
    let epoch = Epoch(input.array()?);
    let key = input.array()?;
    let forks = take_forks(input)?;
    let token = match format {
        1 => None,
        _ => NonZeroU128::new(input.u128()?).map(Token),
    };
    Some(Lineage::from_parts(epoch, key, forks, token))
}

//! The readers of files, given any octets: for fuzzing.

use std::io;

use crate::file::File;
use crate::intern::Interner;
use crate::log::scan::{Scan, Scanned};
use crate::log::segment::Header;
use crate::snapshot;

/// Reads octets as a log segment; returns how many groups are whole, or nothing if the header is not.
pub fn segment(octets: &[u8]) -> Option<usize> {
    let (_, len) = Header::decode(octets).ok()?;
    Some(groups(octets.get(len..).unwrap_or_default()))
}

/// Reads octets as the groups of a log segment, without its header.
pub fn groups(octets: &[u8]) -> usize {
    let mut interner = Interner::default();
    let mut scan = Scan::new(octets, 0);
    let scanned = std::iter::from_fn(|| scan.next(&mut interner));
    let whole = |scanned: &Scanned| matches!(scanned, Scanned::Group { .. });
    scanned.filter(whole).count()
}

/// Reads octets as a snapshot; returns its number of entries if it is sound.
pub fn snapshot(octets: &[u8]) -> Option<usize> {
    let file = Octets(octets.to_vec());
    let version = snapshot::read::read(&file);
    version.ok().map(|version| version.len())
}

/// Reads octets as the items of a snapshot's block, which a checksum would otherwise keep from the
/// fuzzer; returns how many are sound.
pub fn snapshot_items(octets: &[u8]) -> usize {
    let mut items = snapshot::format::ItemReader::new(octets);
    let mut sound = 0;
    while items.read().is_some() {
        sound += 1;
    }
    sound
}

/// Reads octets as log records, which a checksum would otherwise keep from the fuzzer; returns how
/// many are sound.
pub fn records(octets: &[u8]) -> usize {
    let mut input = crate::bytes::Reader::new(octets);
    let mut stamp = None;
    let mut interner = Interner::default();
    let first = crate::Sequence(1);
    std::iter::from_fn(|| crate::log::record::decode(&mut input, first, &mut stamp, &mut interner))
        .count()
}

/// A file in memory.
struct Octets(Vec<u8>);

impl File for Octets {
    fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.0.len()).unwrap_or(u64::MAX))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.0.get(offset..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        let (head, _) = buffer.split_at_mut(len);
        head.copy_from_slice(rest.get(..len).unwrap_or_default());
        Ok(len)
    }

    fn write_at(&mut self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn set_len(&mut self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

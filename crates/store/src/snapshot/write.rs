//! Writing a snapshot.

use std::io;
use std::path::Path;

use crate::file::{File, FileSystem, Open, TEMPORARY};
use crate::snapshot::file_name;
use crate::snapshot::format::{
    BLOCK_BUCKETS, BLOCK_BYTES, BLOCK_CONFLICTS, BLOCK_END, BLOCK_ENTRIES, BLOCK_HOSTS,
    BlockHeader, Header, ItemWriter,
};
use crate::snapshot::sums::{put_bucket, put_host};
use crate::{Listed, Version};

/// Writes a version beside the log, under its final name only when it is whole and durable. Returns
/// its length in octets.
pub(crate) fn write(
    fs: &dyn FileSystem,
    dir: &Path,
    number: u64,
    version: &Version,
) -> io::Result<u64> {
    let path = dir.join(file_name(number));
    let temporary = path.with_added_extension(TEMPORARY);
    let written = write_file(fs, &temporary, number, version);
    if written.is_err() {
        // A full disk must not stay full of what can't be used.
        drop(fs.remove(&temporary));
    }
    let len = written?;
    fs.rename(&temporary, &path)?;
    fs.sync_dir(dir)?;
    Ok(len)
}

fn write_file(fs: &dyn FileSystem, path: &Path, number: u64, version: &Version) -> io::Result<u64> {
    let mut out = Output {
        file: fs.open(path, Open::Create)?,
        offset: 0,
        blocks: 0,
    };
    out.put(&Header::of(number, version).encode())?;
    out.blocks_of(BLOCK_ENTRIES, version.walk())?;
    let conflicts = version.conflicts();
    let conflicts =
        conflicts.flat_map(|(name, older)| older.iter().map(move |one| Listed::new(name, one)));
    out.blocks_of(BLOCK_CONFLICTS, conflicts)?;
    let mut hosts = version.digests.hosts();
    out.sums(BLOCK_HOSTS, |block| {
        let (server, sum) = hosts.next()?;
        put_host(block, server, sum);
        Some(())
    })?;
    let mut buckets = version.digests.buckets.iter();
    out.sums(BLOCK_BUCKETS, |block| {
        put_bucket(block, buckets.next()?);
        Some(())
    })?;
    out.block(BLOCK_END, 0, &[])?;
    out.file.sync()?;
    Ok(out.offset)
}

struct Output {
    file: Box<dyn File>,
    offset: u64,
    blocks: u32,
}

impl Output {
    fn put(&mut self, octets: &[u8]) -> io::Result<()> {
        self.file.write_at(octets, self.offset)?;
        self.offset += u64::try_from(octets.len()).unwrap_or_default();
        Ok(())
    }

    fn blocks_of<'a>(
        &mut self,
        kind: u8,
        items: impl Iterator<Item = Listed<'a>>,
    ) -> io::Result<()> {
        let mut octets = Vec::with_capacity(BLOCK_BYTES + 4096);
        let mut number = 0;
        let mut writer = ItemWriter::default();
        for item in items {
            writer.write(&mut octets, item);
            number += 1;
            if octets.len() >= BLOCK_BYTES {
                self.block(kind, number, &octets)?;
                octets.clear();
                number = 0;
                writer = ItemWriter::default();
            }
        }
        if number > 0 {
            self.block(kind, number, &octets)?;
        }
        Ok(())
    }

    /// Blocks of what `put` appends one by one, until it has no more.
    fn sums(
        &mut self,
        kind: u8,
        mut put: impl FnMut(&mut Vec<u8>) -> Option<()>,
    ) -> io::Result<()> {
        loop {
            let (mut octets, mut number) = (Vec::new(), 0);
            while octets.len() < BLOCK_BYTES && put(&mut octets).is_some() {
                number += 1;
            }
            if number == 0 {
                return Ok(());
            }
            self.block(kind, number, &octets)?;
        }
    }

    fn block(&mut self, kind: u8, items: u32, octets: &[u8]) -> io::Result<()> {
        let header = BlockHeader {
            kind,
            number: self.blocks,
            len: octets.len(),
            items,
        };
        let mut block = Vec::with_capacity(octets.len() + 32);
        block.extend_from_slice(&header.encode());
        block.extend_from_slice(octets);
        let crc = crc32fast::hash(&block);
        block.extend_from_slice(&crc.to_be_bytes());
        self.blocks += 1;
        self.put(&block)
    }
}

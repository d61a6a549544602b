//! Decoding blocks by several threads, with a result as if one had done it.

use std::iter;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope};

use crate::snapshot::blocks::{Block, Blocks, Decoded, Decoder};
use crate::snapshot::format::Header;
use crate::snapshot::read::{BadSnapshot, Loading};

/// Blocks that a thread may have before it and behind it.
const DEPTH: usize = 2;

/// A thread, the blocks on their way to it, and what it has made of them.
struct Lane {
    blocks: SyncSender<Block>,
    decoded: Receiver<Result<Decoded, BadSnapshot>>,
}

impl Lane {
    fn start<'scope, 'env>(
        scope: &'scope Scope<'scope, 'env>,
        header: &'env Header,
    ) -> std::io::Result<Self> {
        let (blocks, todo) = sync_channel::<Block>(DEPTH);
        let (out, decoded) = sync_channel(DEPTH);
        let work = move || {
            let mut reader = Decoder::new(header);
            for block in todo {
                if out.send(reader.decode(&block)).is_err() {
                    break;
                }
            }
        };
        thread::Builder::new()
            .name("store-load".into())
            .spawn_scoped(scope, work)?;
        Ok(Self { blocks, decoded })
    }
}

/// Hands the blocks to the threads in turn, and takes them back in the same turn.
pub(super) fn decode(
    blocks: &mut Blocks<'_>,
    loading: &mut Loading,
    header: &Header,
    workers: usize,
) -> Result<(), BadSnapshot> {
    thread::scope(|scope| {
        let lanes = iter::repeat_with(|| Lane::start(scope, header));
        let lanes = lanes.take(workers).collect::<Result<Vec<Lane>, _>>()?;
        let mut to = lanes.iter().cycle();
        let mut from = lanes.iter().cycle();
        let mut under_way = 0;
        let mut end = None;
        loop {
            while end.is_none() && under_way < lanes.len() * DEPTH {
                match blocks.next() {
                    Ok(Some(block)) => {
                        // A thread that is gone has panicked, which the scope passes on.
                        drop(to.next().map(|lane| lane.blocks.send(block)));
                        under_way += 1;
                    }
                    Ok(None) => end = Some(Ok(())),
                    Err(bad) => end = Some(Err(bad)),
                }
            }
            if under_way == 0 {
                return end.unwrap_or(Ok(()));
            }
            let decoded = from.next().map(|lane| lane.decoded.recv());
            let Some(Ok(decoded)) = decoded else {
                return Ok(());
            };
            loading.take(decoded?)?;
            under_way -= 1;
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use proto::{Acl, Entry, Location, MailboxName, ReservedBy};

    use crate::digest::Digester;
    use crate::file::{File, FileSystem, Open, OsFileSystem, read_all};
    use crate::snapshot::file_name;
    use crate::snapshot::read::{read, read_with};
    use crate::{Lineage, Sequence, Stored, Version, snapshot};

    struct Octets(Vec<u8>);

    impl File for Octets {
        fn len(&self) -> io::Result<u64> {
            Ok(self.0.len().try_into().unwrap())
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let rest = self.0.get(offset.try_into().unwrap()..).unwrap_or_default();
            let len = rest.len().min(buffer.len());
            buffer[..len].copy_from_slice(&rest[..len]);
            Ok(len)
        }

        fn write_at(&mut self, _: &[u8], _: u64) -> io::Result<()> {
            unreachable!()
        }

        fn set_len(&mut self, _: u64) -> io::Result<()> {
            unreachable!()
        }

        fn sync(&mut self) -> io::Result<()> {
            unreachable!()
        }
    }

    fn entry(i: u64) -> Entry {
        let location = Location::try_from(format!("be{}!p{}", i % 5, i % 7).as_bytes()).unwrap();
        if i.is_multiple_of(13) {
            let by = ReservedBy::Reserve;
            return Entry::Reserved { location, by };
        }
        let acl = Acl::try_from(format!("u{}\tlrswip\t", i / 6).as_bytes()).unwrap();
        Entry::Active { location, acl }
    }

    /// Long enough for some blocks of entries and two of contradicted ones.
    fn snapshot_of(entries: u64) -> (Version, Vec<u8>) {
        let lineage = Arc::new(Lineage::random());
        let mut digester = Digester::new(&lineage);
        let mut version = Version::empty(lineage);
        for i in 0..entries {
            let name = MailboxName::try_from(format!("user.u{}.f{}", i / 6, i % 6).as_bytes());
            let stored = |i| Stored {
                entry: entry(i),
                changed: Sequence(i),
                held: i.is_multiple_of(7),
            };
            let name = name.unwrap();
            version.apply(&mut digester, &name, Some(&stored(i)));
            if i.is_multiple_of(4) {
                version.keep_conflict(&name, &stored(i + 1));
            }
        }
        version.sequence = Sequence(entries);
        let dir = tempfile::tempdir().unwrap();
        snapshot::write::write(&OsFileSystem, dir.path(), 1, &version).unwrap();
        let file = OsFileSystem.open(&dir.path().join(file_name(1)), Open::Read);
        (version, read_all(&*file.unwrap()).unwrap())
    }

    #[test]
    fn any_number_of_threads_reads_the_same_list() {
        let (version, octets) = snapshot_of(80_000);
        let file = Octets(octets);
        let mut results: Vec<Version> = [0, 1, 2, 3, 7]
            .map(|workers| read_with(&file, workers).unwrap())
            .into();
        results.push(read(&file).unwrap());
        for found in results {
            assert!(found.list == version.list && found.conflicts == version.conflicts);
            assert!(found.digests == version.digests && found.held == version.held);
        }
    }

    #[test]
    fn any_number_of_threads_finds_the_same_damage() {
        let (_, octets) = snapshot_of(24_000);
        for at in (0..octets.len()).step_by(octets.len() / 30) {
            let mut damaged = octets.clone();
            damaged[at] ^= 0x41;
            for content in [damaged, octets[..at].to_vec()] {
                let file = Octets(content);
                let found = [0, 1, 3].map(|workers| {
                    let bad = read_with(&file, workers).unwrap_err();
                    format!("{bad:?}")
                });
                assert!(found.iter().all(|one| *one == found[0]), "{at}: {found:?}");
            }
        }
    }
}

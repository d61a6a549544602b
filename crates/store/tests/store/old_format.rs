//! Files of format 1, which know of no token, nothing held and nobody that is followed.

use std::path::Path;
use std::sync::Arc;

use store::sim::SimDisk;
use store::{FileSystem, Stepped, Store, StoreConfig};

use crate::common::{Model, Plain, activate, batch, check, delete, dir, group};

/// Magic, format, length, number, epoch, key, and that there are no forks.
const LINEAGE_END: usize = 8 + 4 + 4 + 8 + 16 + 32 + 4;
const TOKEN: usize = 16;
/// Number of held entries, and that nobody is followed.
const FOLLOWS: usize = 8 + 1;
const CRC: usize = 4;
/// Sequence, count and root.
const STOOD: usize = 8 + 8 + 16;
/// What a snapshot says behind them: conflicts, segment and offset.
const OF_SNAPSHOT: usize = 8 + 8 + 8;

fn open(disk: &SimDisk) -> Stepped {
    let config = StoreConfig::default();
    Store::open_stepped(Arc::new(disk.clone()), dir(), config, Box::new(Plain)).unwrap()
}

/// A file as the version before wrote it.
fn older(content: &[u8], fields: usize) -> Vec<u8> {
    let len = LINEAGE_END + TOKEN + fields + FOLLOWS + CRC;
    assert_eq!(
        content[8..16],
        [[0, 0, 0, 2], u32::try_from(len).unwrap().to_be_bytes()].concat()
    );
    let mut out = content[..LINEAGE_END].to_vec();
    out.extend_from_slice(&content[LINEAGE_END + TOKEN..][..fields]);
    if fields > STOOD {
        // The place in the log, whose header is shorter now, too.
        let (_, offset) = out.split_last_chunk_mut::<8>().unwrap();
        let moved = u64::from_be_bytes(*offset) - u64::try_from(TOKEN + FOLLOWS).unwrap();
        *offset = moved.to_be_bytes();
    }
    out[11] = 1;
    let whole = u32::try_from(out.len() + CRC).unwrap();
    out[12..16].copy_from_slice(&whole.to_be_bytes());
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_be_bytes());
    out.extend_from_slice(&content[len..]);
    out
}

fn rewrite(disk: &SimDisk, name: &str, fields: usize) {
    let path = dir().join(name);
    disk.put(&path, older(&disk.content(&path), fields));
}

fn has(disk: &SimDisk, path: &Path) -> bool {
    disk.files().iter().any(|file| file == path)
}

#[test]
fn a_store_of_the_first_format_goes_on_in_this_one() {
    for with_snapshot in [false, true] {
        let disk = SimDisk::new();
        let mut stepped = open(&disk);
        for i in 0..6 {
            let edits = vec![
                activate(&format!("user.u{i}"), &format!("be{}!p", i % 2)),
                delete("user.u1"),
            ];
            group(&mut stepped, &[batch(edits)]).remove(0).unwrap();
            if with_snapshot && i == 3 {
                stepped.snapshotter.step().unwrap();
            }
        }
        let before = stepped.store.current();
        drop(stepped);
        rewrite(&disk, "log.0000000001", STOOD);
        if with_snapshot {
            rewrite(&disk, "snapshot.0000000001", STOOD + OF_SNAPSHOT);
        }
        let token = dir().join("token");
        disk.remove(&token).unwrap();

        let stepped = open(&disk);
        assert!(stepped.report.findings.is_empty(), "{:?}", stepped.report);
        assert_eq!(stepped.report.snapshot.is_some(), with_snapshot);
        let after = stepped.store.current();
        check(&after);
        assert_eq!(Model::of(&after), Model::of(&before));
        assert_eq!(after.epoch(), before.epoch());
        drop(stepped);
        assert!(has(&disk, &token) && has(&disk, &dir().join("log.0000000002")));
        let first = disk.content(&dir().join("log.0000000001"));
        assert_eq!(first[11], 1, "what is there stays as it is");

        let mut stepped = open(&disk);
        stepped.read_history();
        assert!(stepped.report.findings.is_empty(), "{:?}", stepped.report);
        let more = [batch(vec![activate("user.more", "be1!p")])];
        group(&mut stepped, &more).remove(0).unwrap();
        assert!(!has(&disk, &dir().join("log.0000000003")), "once is enough");
        let version = stepped.store.current();
        assert_eq!(version.history().len(), before.history().len() + 1);
    }
}

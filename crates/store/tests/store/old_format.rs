//! Files of format 1, which know of no token, nothing held and nobody that is followed, and snapshots of format 2,
//! which know of no sums.

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
/// A block's kind, number, length and items.
const BLOCK_HEAD: usize = 1 + 4 + 4 + 4;
/// Kinds of blocks that came with format 3.
const SUMS: [u8; 2] = [3, 4];

fn open(disk: &SimDisk) -> Stepped {
    let config = StoreConfig::default();
    Store::open_stepped(Arc::new(disk.clone()), dir(), config, Box::new(Plain)).unwrap()
}

/// A file as the first version wrote it.
fn older(content: &[u8], fields: usize) -> Vec<u8> {
    let len = LINEAGE_END + TOKEN + fields + FOLLOWS + CRC;
    assert_eq!(header_len(content), len);
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

fn header_len(content: &[u8]) -> usize {
    let len = u32::from_be_bytes(content[12..16].try_into().unwrap());
    len.try_into().unwrap()
}

/// A snapshot of format 2.
fn without_sums(content: &[u8]) -> Vec<u8> {
    assert_eq!(content[8..12], [0, 0, 0, 3]);
    let (header, mut blocks) = content.split_at(header_len(content));
    let mut out = header[..header.len() - CRC].to_vec();
    out[11] = 2;
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_be_bytes());
    let (mut kinds, mut kept) = (Vec::new(), 0_u32);
    while !blocks.is_empty() {
        let len = u32::from_be_bytes(blocks[5..9].try_into().unwrap());
        let (block, rest) = blocks.split_at(BLOCK_HEAD + usize::try_from(len).unwrap() + CRC);
        blocks = rest;
        kinds.push(block[0]);
        if !SUMS.contains(&block[0]) {
            let mut block = block[..block.len() - CRC].to_vec();
            block[1..5].copy_from_slice(&kept.to_be_bytes());
            kept += 1;
            let crc = crc32fast::hash(&block);
            out.extend_from_slice(&block);
            out.extend_from_slice(&crc.to_be_bytes());
        }
    }
    assert!(SUMS.iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
    out
}

fn strip(disk: &SimDisk, name: &str) {
    let path = dir().join(name);
    disk.put(&path, without_sums(&disk.content(&path)));
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
            strip(&disk, "snapshot.0000000001");
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

#[test]
fn a_snapshot_without_sums_is_read_with_its_digests_computed() {
    let disk = SimDisk::new();
    let mut stepped = open(&disk);
    let edits = (0..60).map(|i| activate(&format!("user.u{i}"), &format!("be{}!p", i % 3)));
    group(&mut stepped, &[batch(edits.collect())])
        .remove(0)
        .unwrap();
    stepped.snapshotter.step().unwrap();
    let before = stepped.store.current();
    drop(stepped);
    strip(&disk, "snapshot.0000000001");
    let stepped = open(&disk);
    assert!(stepped.report.findings.is_empty(), "{:?}", stepped.report);
    assert!(stepped.report.snapshot.is_some());
    let after = stepped.store.current();
    check(&after);
    assert_eq!(Model::of(&after), Model::of(&before));
}

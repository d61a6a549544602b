//! A store that was copied, or brought back, is noticed.

use std::path::PathBuf;

use store::sim::{SimDisk, Tear};
use store::{FileSystem, Finding, OsFileSystem, Store, StoreConfig};

use crate::common::{Plain, activate, batch, dir, drive, group, open};

fn token() -> PathBuf {
    dir().join("token")
}

fn filled() -> SimDisk {
    let disk = SimDisk::new();
    disk.set_machine("one");
    let mut stepped = open(&disk).unwrap();
    assert!(stepped.report.findings.is_empty());
    let edits = [batch(vec![activate("user.a", "be1!p")])];
    group(&mut stepped, &edits).remove(0).unwrap();
    disk
}

fn is_copied(disk: &SimDisk) -> bool {
    let findings = open(disk).unwrap().report.findings;
    assert!(findings.len() <= 1, "{findings:?}");
    matches!(findings.first(), Some(Finding::Copied { .. }))
}

#[test]
fn a_store_at_home_is_none() {
    let disk = filled();
    assert!(!is_copied(&disk));
    for tear in [Tear::Lose, Tear::Keep, Tear::Mix] {
        disk.reboot(tear, 1);
        assert!(!is_copied(&disk), "after a power cut");
    }
}

#[test]
fn copies_are_noticed_until_they_are_at_home() {
    let elsewhere = |disk: &SimDisk| disk.set_machine("two");
    let new_file = |disk: &SimDisk| disk.put(&token(), disk.content(&token()));
    let left_out = |disk: &SimDisk| FileSystem::remove(disk, &token()).unwrap();
    let of_another = |disk: &SimDisk| disk.put(&token(), filled().content(&token()));
    let damaged = |disk: &SimDisk| {
        let mut content = disk.content(&token());
        content[20] ^= 1;
        disk.put(&token(), content);
    };
    let ways: [&dyn Fn(&SimDisk); 5] = [&elsewhere, &new_file, &left_out, &of_another, &damaged];
    for (i, copy) in ways.into_iter().enumerate() {
        let disk = filled().copy();
        copy(&disk);
        for _ in 0..2 {
            assert!(is_copied(&disk), "way {i}");
        }
        let mut stepped = open(&disk).unwrap();
        let store = stepped.store.clone();
        let before = store.current();
        let writer = &mut stepped.writer;
        drive(store.new_epoch(), || _ = writer.step())
            .unwrap()
            .unwrap();
        drop(stepped);
        assert!(is_copied(&disk), "way {i}, after the new epoch only");
        let mut stepped = open(&disk).unwrap();
        let store = stepped.store.clone();
        let writer = &mut stepped.writer;
        drive(store.renew_token(), || _ = writer.step()).unwrap();
        drop((stepped, store));
        assert!(!is_copied(&disk), "way {i}");
        let after = open(&disk).unwrap().store.current();
        assert!(after.epoch() != before.epoch());
        assert!(after.lineage().includes(before.epoch(), before.sequence()));
        assert!(after.iter().eq(before.iter()));
    }
}

#[test]
fn power_cut_while_the_token_is_renewed_leaves_a_copy_or_a_home() {
    for call in 0..12 {
        for seed in 0..4 {
            let disk = filled().copy();
            disk.set_machine("two");
            let mut stepped = open(&disk).unwrap();
            disk.cut_power_after(disk.calls() + call);
            let store = stepped.store.clone();
            let writer = &mut stepped.writer;
            let renewed = drive(store.renew_token(), || _ = writer.step());
            drop((stepped, store));
            disk.reboot(Tear::Mix, seed);
            let copied = is_copied(&disk);
            assert!(renewed.is_err() || !copied, "call {call}, seed {seed}");
            assert_eq!(open(&disk).unwrap().store.current().len(), 1);
        }
    }
}

#[tokio::test]
async fn a_real_directory_that_is_copied_is_noticed() {
    let (home, away) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = |dir: &tempfile::TempDir| {
        let config = StoreConfig::default();
        Store::open(OsFileSystem, dir.path(), config, Box::new(Plain)).unwrap()
    };
    for _ in 0..2 {
        let (store, report) = open(&home);
        assert!(report.findings.is_empty(), "{report:?}");
        store.shutdown().await;
    }
    for file in std::fs::read_dir(home.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), away.path().join(file.file_name())).unwrap();
    }
    let (store, report) = open(&away);
    assert!(matches!(report.findings[..], [Finding::Copied { .. }]));
    store.renew_token().await.unwrap();
    store.shutdown().await;
    for dir in [&home, &away] {
        let (store, report) = open(dir);
        assert!(report.findings.is_empty(), "{report:?}");
        store.shutdown().await;
    }
}

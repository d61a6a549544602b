//! What a start learns from the marker.

use std::path::Path;

use store::marker::{Keeper, Marker, MarkerError, RecoveryReason};
use store::sim::SimDisk;
use store::{Epoch, FileSystem, Open, Sequence, Store, Version};

use crate::common::{Plain, activate, batch, delete, dir, drive, group, open, small};

fn path() -> &'static Path {
    Path::new("/conf/mupdate.state")
}

fn edit(disk: &SimDisk, edits: Vec<proto::Edit>) -> Version {
    let mut stepped = open(disk).unwrap();
    group(&mut stepped, &[batch(edits)]).remove(0).unwrap();
    Version::clone(&stepped.store.current())
}

fn current(disk: &SimDisk) -> Version {
    Version::clone(&open(disk).unwrap().store.current())
}

fn assess(marker: Marker, version: &Version) -> Option<RecoveryReason> {
    Marker::assess(&Ok(Some(marker)), version)
}

#[test]
fn a_store_that_is_what_it_was_is_trusted() {
    let disk = SimDisk::new();
    assert_eq!(Marker::assess(&Ok(None), &current(&disk)), None);
    assert_eq!(
        assess(Marker::of(&current(&disk)), &current(&SimDisk::new())),
        None
    );
    let marker = Marker::of(&edit(&disk, vec![activate("user.a", "be1!p")]));
    assert_eq!(assess(marker, &current(&disk)), None);
    // The marker is written about once a second: the store may be ahead of it.
    assert_eq!(assess(marker, &edit(&disk, vec![delete("user.a")])), None);
    let mut stepped = open(&disk).unwrap();
    drive(stepped.store.clone().new_epoch(), || {
        _ = stepped.writer.step();
    })
    .unwrap()
    .unwrap();
    assert_eq!(assess(marker, &stepped.store.current()), None);
}

#[test]
fn a_store_that_is_not_what_it_was_is_in_recovery() {
    let disk = SimDisk::new();
    edit(&disk, vec![activate("user.a", "be1!p")]);
    let old = disk.copy();
    let version = edit(&disk, vec![activate("user.b", "be1!p")]);
    let marker = Marker::of(&version);
    let sequence = version.sequence();

    let recovery = Marker {
        recovery: true,
        ..marker
    };
    assert_eq!(assess(recovery, &version), Some(RecoveryReason::NotEnded));
    let missing = assess(marker, &current(&SimDisk::new()));
    assert_eq!(
        missing,
        Some(RecoveryReason::Missing { count: 2, sequence })
    );
    let rolled_back = assess(marker, &current(&old));
    let older = RecoveryReason::Older {
        found: Sequence(1),
        expected: sequence,
    };
    assert_eq!(rolled_back, Some(older));
    let other = edit(&old, vec![activate("user.c", "be1!p")]);
    assert_eq!(
        assess(marker, &other),
        Some(RecoveryReason::Differs { sequence })
    );
    let stranger = edit(&SimDisk::new(), vec![activate("user.a", "be1!p")]);
    let epochs = (stranger.epoch(), version.epoch());
    let expected = RecoveryReason::OtherEpoch {
        found: epochs.0,
        expected: epochs.1,
    };
    assert_eq!(assess(marker, &stranger), Some(expected));
    let damaged = Marker::assess(&Err(MarkerError::Damaged), &version);
    assert_eq!(damaged, Some(RecoveryReason::MarkerDamaged));
}

#[test]
fn a_last_group_that_was_cut_off_is_missed() {
    let disk = SimDisk::new();
    edit(&disk, vec![activate("user.a", "be1!p")]);
    let marker = Marker::of(&edit(&disk, vec![delete("user.a")]));
    let log = dir().join("log.0000000001");
    let mut content = disk.content(&log);
    *content.last_mut().unwrap() ^= 1;
    disk.put(&log, content);
    let stepped = open(&disk).unwrap();
    assert_eq!(stepped.report.findings.len(), 1);
    let reason = assess(marker, &stepped.store.current()).unwrap();
    assert!(matches!(reason, RecoveryReason::Older { .. }), "{reason}");
}

#[tokio::test]
async fn the_keeper_follows_the_store_but_not_in_recovery() {
    let disk = SimDisk::new();
    let (store, _) = Store::open(disk.clone(), dir(), small(), Box::new(Plain)).unwrap();
    let before = Marker {
        epoch: Epoch([1; 16]),
        sequence: Sequence(99),
        count: 5,
        ..Marker::of(&store.current())
    };
    let start =
        |before, recovery| Keeper::start(disk.clone(), path().into(), &store, before, recovery);
    let keeper = start(Some(before), true).unwrap();
    store
        .edit(batch(vec![activate("user.a", "be1!p")]))
        .await
        .unwrap();
    keeper.stop();
    let kept = Marker::read(&disk, path()).unwrap().unwrap();
    assert_eq!(
        kept,
        Marker {
            recovery: true,
            ..before
        }
    );

    let keeper = start(Some(kept), true).unwrap();
    keeper.set_recovery(false);
    store
        .edit(batch(vec![activate("user.b", "be1!p")]))
        .await
        .unwrap();
    keeper.stop();
    let kept = Marker::read(&disk, path()).unwrap().unwrap();
    assert_eq!(kept, Marker::of(&store.current()));
    store.shutdown().await;

    let mut file = disk.open(path(), Open::Write).unwrap();
    file.write_at(b"x", 20).unwrap();
    assert!(matches!(
        Marker::read(&disk, path()),
        Err(MarkerError::Damaged)
    ));
}

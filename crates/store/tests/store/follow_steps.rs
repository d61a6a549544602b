//! What following a list does, step by step.

use std::collections::HashSet;
use std::sync::Arc;

use proto::Edit;
use store::sim::{SimDisk, Tear};
use store::{Batch, Following, HostFilter, Place, Standing, Stepped, Store};

use crate::common::{activate, batch, delete, drive, group, name, open, origin};
use crate::follow::check_digests;

fn follow(stepped: &mut Stepped, edits: Vec<Edit>, place: Option<Place>, continues: bool) {
    let store = stepped.store.clone();
    let reached = place.map(|place| Following {
        place,
        forks: Arc::default(),
        continues,
        expected: None,
    });
    let asked = store.follow(batch(edits), reached);
    drive(asked, || _ = stepped.writer.step()).unwrap().unwrap();
}

fn at(sequence: u64) -> Place {
    Place {
        epoch: store::Epoch([9; 16]),
        sequence: store::Sequence(sequence),
    }
}

#[test]
fn what_changes_nothing_is_told_on() {
    let mut stepped = open(&SimDisk::new()).unwrap();
    follow(
        &mut stepped,
        vec![activate("user.a", "be1!p")],
        Some(at(10)),
        false,
    );
    // The owner had it elsewhere and back again, told as one line; and deleted what is not here.
    follow(
        &mut stepped,
        vec![activate("user.a", "be1!p"), delete("user.b")],
        Some(at(14)),
        true,
    );
    let version = stepped.store.current();
    let Standing::From(position) = version.local_position(&at(12)) else {
        panic!("{:?}", version.local_position(&at(12)));
    };
    let mut feed = stepped.store.feed(position);
    let only_be2 = HostFilter::new([b"be2".to_vec()]);
    let chunk = feed.next_chunk(None, 100).unwrap();
    assert_eq!(chunk.lines, [name("user.a"), name("user.b")]);
    let chunk = stepped
        .store
        .feed(position)
        .next_chunk(Some(&only_be2), 100);
    assert_eq!(chunk.unwrap().lines, [name("user.b")]);
    assert_eq!(version.local_position(&at(15)), Standing::Behind);
    assert_eq!(version.local_position(&at(9)), Standing::Unknown);
    // After a dump nobody can be told what came in between.
    follow(&mut stepped, Vec::new(), Some(at(20)), false);
    let version = stepped.store.current();
    assert_eq!(version.local_position(&at(14)), Standing::Unknown);
    assert_eq!(
        version.local_position(&at(20)),
        Standing::From(version.sequence())
    );
}

#[test]
fn a_place_moves_without_a_change_and_survives() {
    let disk = SimDisk::new();
    let mut stepped = open(&disk).unwrap();
    follow(
        &mut stepped,
        vec![activate("user.a", "be1!p")],
        Some(at(5)),
        false,
    );
    let sequence = stepped.store.current().sequence();
    let calls = disk.calls();
    for _ in 0..3 {
        follow(&mut stepped, Vec::new(), Some(at(7)), true);
    }
    assert_eq!(
        disk.calls(),
        calls + 2,
        "said again, it is not written again"
    );
    drop(stepped);
    let version = open(&disk).unwrap().store.current();
    assert_eq!((version.place(), version.sequence()), (at(7), sequence));
    assert!(!version.is_exact());
}

#[test]
fn a_long_batch_is_seen_as_a_whole() {
    let disk = SimDisk::new();
    let config = store::StoreConfig {
        group_bytes: 200,
        ..crate::common::small()
    };
    let open = |disk: &SimDisk| {
        let disk = Arc::new(disk.clone());
        Store::open_stepped(
            disk,
            crate::common::dir(),
            config.clone(),
            Box::new(crate::common::Plain),
        )
        .unwrap()
    };
    let mut stepped = open(&disk);
    follow(&mut stepped, Vec::new(), Some(at(1)), false);
    let begin = disk.calls();
    let edits: Vec<Edit> = (0..40)
        .map(|i| activate(&format!("user.u{i}"), "be1!p"))
        .collect();
    for call in begin..begin + 40 {
        for seed in 0..3 {
            let copy = disk.copy();
            let mut stepped = open(&copy);
            let before = stepped.store.current();
            copy.cut_power_after(copy.calls() + call - begin);
            let batch = Batch {
                origin: origin(),
                edits: edits.clone(),
            };
            let reached = Following {
                place: at(41),
                forks: Arc::default(),
                continues: true,
                expected: None,
            };
            let store = stepped.store.clone();
            let asked = store.follow(batch, Some(reached));
            let answer = drive(asked, || _ = stepped.writer.step());
            let published = stepped.store.current();
            match answer {
                Ok(_) => assert_eq!((published.len(), published.place()), (40, at(41))),
                Err(_) => assert!(Arc::ptr_eq(&published, &before)),
            }
            copy.reboot(Tear::Mix, seed);
            let version = open(&copy).store.current();
            check_digests(&version);
            if version.place() == at(41) || answer.is_ok() {
                assert_eq!((version.len(), version.place()), (40, at(41)));
            } else {
                assert_eq!(version.place(), at(1));
            }
        }
    }
}

/// A list of which it is known how long it becomes has its buckets from the beginning, whatever it becomes in the end.
#[test]
fn buckets_for_what_is_expected_are_there_at_once_and_stay() {
    for (expected, len) in [(3_000, 256), (40, 16), (u64::MAX, 1 << 20)] {
        let mut stepped = open(&SimDisk::new()).unwrap();
        let store = stepped.store.clone();
        drive(store.expect(expected), || _ = stepped.writer.step()).unwrap();
        assert_eq!(stepped.store.current().buckets().len(), len);
        for first in (0..240).step_by(60) {
            let names = (first..first + 60).map(|i| format!("user.u{}.f{}", i / 3, i % 3));
            let new = names.map(|name| activate(&name, "be1!p")).collect();
            group(&mut stepped, &[batch(new)]).remove(0).unwrap();
            let version = stepped.store.current();
            check_digests(&version);
            assert_eq!(version.buckets().len(), len);
        }
        let store = stepped.store.clone();
        drive(store.expect(1), || _ = stepped.writer.step()).unwrap();
        assert_eq!(
            stepped.store.current().buckets().len(),
            len,
            "it is not empty any more"
        );
    }
}

#[test]
fn buckets_grow_and_shrink_with_the_list() {
    let mut stepped = open(&SimDisk::new()).unwrap();
    let edits = |range: std::ops::Range<u32>, edit: &dyn Fn(&str) -> Edit| {
        let names = range.map(|i| format!("user.u{}.f{}", i / 3, i % 3));
        names.map(|name| edit(&name)).collect::<Vec<_>>()
    };
    let mut lens = HashSet::new();
    for i in 0..60 {
        let new = edits(i * 50..(i + 1) * 50, &|name| activate(name, "be1!p"));
        group(&mut stepped, &[batch(new)]).remove(0).unwrap();
        let version = stepped.store.current();
        check_digests(&version);
        lens.insert(version.buckets().len());
    }
    assert!(
        lens.contains(&16) && lens.iter().any(|&len| len >= 128),
        "{lens:?}"
    );
    let before = stepped.store.current();
    assert_eq!(
        before.buckets().groups(),
        store::Buckets::grouped(&before.buckets().folded(1 << 20))
    );
    let halved = before.buckets().folded(before.buckets().len() / 2);
    assert_eq!(
        store::Buckets::fold(before.buckets().groups(), before.buckets().len() / 32),
        store::Buckets::grouped(&halved)
    );
    for i in 0..60 {
        let gone = edits(i * 50..(i + 1) * 50, &delete);
        group(&mut stepped, &[batch(gone)]).remove(0).unwrap();
        check_digests(&stepped.store.current());
    }
    assert_eq!(stepped.store.current().buckets().len(), 16);
}

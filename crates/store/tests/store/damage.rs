//! Damage at every octet of every file: noticed and named, or cut off with a report.

use std::path::{Path, PathBuf};

use crate::common::{
    Model, activate, batch, check, deactivate, delete, dir, drive, group, open, reserve,
};
use store::sim::SimDisk;
use store::{Finding, OpenError, Stepped};

/// A store of a few segments, and the lists it went through.
fn filled(snapshots: &[usize]) -> (SimDisk, Vec<Model>) {
    let disk = SimDisk::new();
    let mut stepped = open(&disk).unwrap();
    let mut stages = vec![Model::default()];
    for i in 0..9 {
        let edits = vec![
            activate(&format!("user.u{i}"), &format!("be{}!p", i % 2)),
            reserve(&format!("user.u{i}.new"), "be1!p"),
            activate("user.u0", &format!("be{}!p", i % 2)),
            if i % 2 == 0 {
                delete("user.u1")
            } else {
                deactivate("user.u2", "be1!q")
            },
        ];
        group(&mut stepped, &[batch(edits)]).remove(0).unwrap();
        stages.push(Model::of(&stepped.store.current()));
        if snapshots.contains(&i) {
            stepped.snapshotter.step().unwrap();
        }
    }
    (disk, stages)
}

fn finding_path(finding: &Finding) -> &Path {
    match finding {
        Finding::CutOff { path, .. }
        | Finding::SnapshotUnusable { path, .. }
        | Finding::HistoryDamaged { path, .. }
        | Finding::HistoryUnreadable { path, .. }
        | Finding::Copied { path, .. }
        | Finding::Abandoned { path } => path,
        other => panic!("unknown finding {other:?}"),
    }
}

/// What a damaged store may do: name the file and refuse, or name it and serve a list that was once
/// right; an earlier one only after cutting off its end.
fn judge(opened: Result<Stepped, OpenError>, path: &Path, stages: &[Model], context: &str) {
    match opened {
        Err(OpenError::Damaged { path: named, .. }) => assert_eq!(named, path, "{context}"),
        Err(other) => panic!("{context}: {other}"),
        Ok(stepped) => {
            let version = stepped.store.current();
            check(&version);
            let found = Model::of(&version);
            let findings = &stepped.report.findings;
            assert!(
                findings.iter().any(|f| finding_path(f) == path),
                "{context}: unnoticed"
            );
            let cut = findings.iter().any(|f| matches!(f, Finding::CutOff { .. }));
            let last = stages.len() - if cut { 2 } else { 1 };
            assert_eq!(found, stages[last], "{context}: {findings:?}");
        }
    }
}

fn damage_every_octet(disk: &SimDisk, stages: &[Model], files: &[PathBuf]) {
    for path in files {
        let whole = disk.content(path);
        for at in 0..whole.len() {
            for bits in [0x01, 0x80, 0xFF] {
                let copy = disk.copy();
                let mut damaged = whole.clone();
                damaged[at] ^= bits;
                copy.put(path, damaged);
                let context = format!("{} at {at} ^ {bits:#x}", path.display());
                judge(open(&copy), path, stages, &context);
            }
        }
    }
}

fn files_of(disk: &SimDisk, kind: &str) -> Vec<PathBuf> {
    let mut files = disk.files();
    files.retain(|path| path.to_str().unwrap().contains(kind));
    assert!(!files.is_empty());
    files
}

#[test]
fn every_octet_of_a_log() {
    let (disk, stages) = filled(&[]);
    let files = files_of(&disk, "log.");
    assert!(files.len() > 2);
    damage_every_octet(&disk, &stages, &files);
}

#[test]
fn every_octet_of_a_log_with_snapshots_and_of_the_newest_one() {
    let (disk, stages) = filled(&[4, 6]);
    damage_every_octet(&disk, &stages, &files_of(&disk, "log."));
    let newest = files_of(&disk, "snapshot.").pop().unwrap();
    damage_every_octet(&disk, &stages, &[newest]);
}

#[test]
fn every_cut_of_the_last_segment() {
    let (disk, stages) = filled(&[]);
    let last = files_of(&disk, "log.").pop().unwrap();
    let content = disk.content(&last);
    for len in 0..content.len() {
        let copy = disk.copy();
        copy.put(&last, content[..len].to_vec());
        match open(&copy) {
            Err(OpenError::Damaged { path, .. }) => assert_eq!(path, last),
            Err(other) => panic!("cut to {len}: {other}"),
            Ok(stepped) => {
                let found = Model::of(&stepped.store.current());
                assert!(stages.contains(&found), "cut to {len}");
            }
        }
    }
}

#[test]
fn a_missing_segment_is_named() {
    let (disk, _) = filled(&[]);
    let files = files_of(&disk, "log.");
    for (i, path) in files.iter().enumerate().take(files.len() - 1) {
        let copy = disk.copy();
        store::FileSystem::remove(&copy, path).unwrap();
        let refused = open(&copy).unwrap_err();
        let OpenError::Damaged { path, .. } = &refused else {
            panic!("{refused}");
        };
        assert_eq!(*path, files[i + 1]);
    }
}

#[test]
fn both_snapshots_damaged_and_the_log_cut_is_refused() {
    let (disk, stages) = filled(&[3, 5, 7]);
    let mut stepped = open(&disk).unwrap();
    drive(stepped.store.clone().new_epoch(), || {
        _ = stepped.writer.step();
    })
    .unwrap()
    .unwrap();
    drop(stepped);
    let snapshots = files_of(&disk, "snapshot.");
    let copy = disk.copy();
    for path in &snapshots {
        copy.put(path, b"not a snapshot".to_vec());
    }
    let stepped = open(&copy).unwrap();
    assert_eq!(stepped.report.findings.len(), 2);
    assert_eq!(Some(&Model::of(&stepped.store.current())), stages.last());
    drop(stepped);
    store::FileSystem::remove(&copy, &dir().join("log.0000000001")).unwrap();
    let refused = open(&copy).unwrap_err().to_string();
    assert!(
        refused.contains("log.0000000002") && refused.contains("empty list"),
        "{refused}"
    );
}

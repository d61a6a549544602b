//! The checkpoint: what others do meanwhile is kept, they don't wait, and nothing else changes.

#![cfg(test)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use cyrusdb::Error;
use cyrusdb::lock::{LockKind, lock};
use cyrusdb::twoskip::{Database, Options, Progress};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use support::{Cyrus, expected, listing, open, vector};

type Model = BTreeMap<String, String>;

fn text(model: &Model) -> String {
    model
        .iter()
        .map(|(key, value)| support::line(key, value))
        .collect()
}

/// Puts, replacements, single deletions, and stretches that go or come as a whole.
fn change(database: &mut Database, model: &mut Model, rng: &mut StdRng, count: usize) {
    let mut transaction = database.write().unwrap();
    for number in 0..count {
        let at = rng.random_range(0..6000);
        let key = format!("user.{at:04}");
        match rng.random_range(0..32) {
            0..20 => {
                let value = format!("{number} {}", "y".repeat(rng.random_range(0..60)));
                transaction.put(key.as_bytes(), value.as_bytes()).unwrap();
                model.insert(key, value);
            }
            20..30 => {
                let there = model.remove(&key).is_some();
                assert_eq!(transaction.delete(key.as_bytes()).unwrap(), there);
            }
            30 => {
                let gone: Vec<String> = model
                    .range(key..)
                    .take(20)
                    .map(|(key, _)| key.clone())
                    .collect();
                for key in gone {
                    assert!(transaction.delete(key.as_bytes()).unwrap());
                    model.remove(&key);
                }
            }
            _ => {
                // The last key of all goes: its DELETE leads nowhere.
                if let Some((key, _)) = model.pop_last() {
                    assert!(transaction.delete(key.as_bytes()).unwrap());
                }
            }
        }
    }
    transaction.commit().unwrap();
}

#[test]
fn what_is_written_during_a_checkpoint_is_in_the_new_file() {
    let cyrus = Cyrus::new();
    let path = cyrus.path("busy.db");
    for seed in 0..6 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let mut model = Model::new();
        let mut database = open(&path);
        let mut transaction = database.write().unwrap();
        for at in 0..6000 {
            let (key, value) = (format!("user.{at:04}"), format!("first {at}"));
            transaction.put(key.as_bytes(), value.as_bytes()).unwrap();
            model.insert(key, value);
        }
        transaction.commit().unwrap();
        change(&mut database, &mut model, rng, 1000);
        let mut other = open(&path);
        let (mut copying, mut replaying) = (0, 0);
        let report = database
            .checkpoint(|progress| {
                // Shorter each time: a writer that never lets up is another test.
                let count = match progress {
                    Progress::Copying { .. } => {
                        copying += 1;
                        300
                    }
                    Progress::Replaying { .. } => {
                        replaying += 1;
                        if replaying > 12 { 0 } else { 40 }
                    }
                    Progress::Swapping => rng.random_range(0..10),
                };
                change(&mut other, &mut model, rng, count);
                ControlFlow::Continue(())
            })
            .unwrap();
        assert!(
            copying > 1 && replaying > 1 && report.replayed > 0,
            "{report:?}"
        );
        assert_eq!(report.records, u64::try_from(model.len()).unwrap());
        for reader in [&mut database, &mut other] {
            assert!(listing(reader).unwrap() == text(&model), "seed {seed}");
        }
        assert_eq!(database.check(|_, _| {}).unwrap().faults, []);
        change(&mut other, &mut model, rng, 50);
        assert!(cyrus.show(&path).unwrap() == text(&model), "seed {seed}");
        cyrus.assert_consistent(&path);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn the_copy_is_made_without_a_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("free.db");
    fs::copy(vector("04-changes.db"), &path).unwrap();
    let mut database = open(&path);
    let mut told = Vec::new();
    let report = database
        .checkpoint(|progress| {
            // A writer that waits for nothing gets the lock.
            let other = fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(&path)
                .unwrap();
            assert!(lock(&other, LockKind::Exclusive, Duration::ZERO).unwrap());
            told.push(progress);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(matches!(
        told.as_slice(),
        [Progress::Copying { .. }, .., Progress::Swapping]
    ));
    assert_eq!(report.generation, 2);
}

/// A writer that stays in the middle of its transaction holds up nothing but the swap.
#[test]
fn a_lock_that_is_not_let_go_ends_the_checkpoint_without_harm() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("held.db");
    fs::copy(vector("04-changes.db"), &path).unwrap();
    let options = Options {
        lock_wait_max: Duration::from_millis(50),
        ..Options::default()
    };
    let mut database = Database::open_path(&path, options).unwrap();
    let holder = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let error = database
        .checkpoint(|progress| {
            if progress == Progress::Swapping {
                assert!(lock(&holder, LockKind::Shared, Duration::ZERO).unwrap());
            }
            ControlFlow::Continue(())
        })
        .unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    assert_only(dir.path(), &["held.db"]);
    assert_eq!(listing(&mut database).unwrap(), expected("04-changes"));
}

fn assert_only(dir: &Path, names: &[&str]) {
    let entries = fs::read_dir(dir).unwrap();
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    found.sort();
    assert_eq!(found, names);
}

#[test]
fn owner_mode_and_links_stay_and_cyruss_own_temporary_name_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deliver.db");
    fs::copy(vector("04-changes.db"), &path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    // Only root may give files away; others keep what is theirs anyway.
    let given = std::os::unix::fs::chown(&path, Some(12_345), Some(23_456)).is_ok();
    let theirs = dir.path().join("deliver.db.NEW");
    fs::write(&theirs, "of cyrus").unwrap();
    let link = dir.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    // What a crash of an earlier checkpoint left.
    fs::write(dir.path().join("deliver.db.mupdate-checkpoint"), "leftover").unwrap();

    let before = fs::metadata(&path).unwrap();
    let report = open(&link)
        .checkpoint(|_| ControlFlow::Continue(()))
        .unwrap();
    let after = fs::metadata(&path).unwrap();
    assert_ne!(after.ino(), before.ino());
    assert_eq!(after.mode() & 0o7777, 0o640);
    assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
    assert!(!given || after.uid() == 12_345);
    assert_eq!(after.len(), report.bytes_after);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&theirs).unwrap(), b"of cyrus");
    assert_only(dir.path(), &["deliver.db", "deliver.db.NEW", "link.db"]);
    assert_eq!(listing(&mut open(&path)).unwrap(), expected("04-changes"));
    assert!(open(&path).is_in_order().unwrap());
}

#[test]
fn one_checkpoint_at_a_time_and_none_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("twice.db");
    fs::copy(vector("04-changes.db"), &path).unwrap();
    let mut other = open(&path);
    let error = open(&path)
        .checkpoint(|_| {
            let error = other.checkpoint(|_| ControlFlow::Continue(())).unwrap_err();
            assert!(matches!(error, Error::CheckpointRunning), "{error}");
            ControlFlow::Break(())
        })
        .unwrap_err();
    assert!(matches!(error, Error::GivenUp), "{error}");
    assert_only(dir.path(), &["twice.db"]);
    assert_eq!(
        fs::read(&path).unwrap(),
        fs::read(vector("04-changes.db")).unwrap()
    );
}

#[test]
fn a_file_that_cyrus_repacks_meanwhile_stays_cyruss() {
    let cyrus = Cyrus::new();
    let path = cyrus.path("raced.db");
    fs::copy(vector("04-changes.db"), &path).unwrap();
    let mut database = open(&path);
    let error = database
        .checkpoint(|progress| {
            if matches!(progress, Progress::Copying { .. }) {
                // Twice, so that the inode number of the first file may be in use again.
                for key in ["one", "two"] {
                    cyrus.dbtool(&path, &["set", key, "value"], "").unwrap();
                    cyrus.dbtool(&path, &["repack"], "").unwrap();
                }
            }
            ControlFlow::Continue(())
        })
        .unwrap_err();
    assert!(matches!(error, Error::Replaced), "{error}");
    let wanted = format!("{}one\tvalue\ntwo\tvalue\n", expected("04-changes"));
    assert_eq!(listing(&mut database).unwrap(), wanted);
    cyrus.assert_consistent(&path);
}

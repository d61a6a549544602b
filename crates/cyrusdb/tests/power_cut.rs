//! Transactions against a model, with the power cut after every file call: what is found afterwards
//! is the old content or the new, for us and for Cyrus.

#![cfg(test)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;

use cyrusdb::twoskip::{Database, Options, Transaction};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use support::sim::SimDisk;
use support::{Cyrus, listing, vector};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Transactions of one run.
const TRANSACTIONS: usize = 25;
/// Different losses tried for each power cut.
const CUTS: usize = 4;

fn open(content: &[u8]) -> (SimDisk, Database<SimDisk>) {
    let disk = SimDisk::new(content.to_vec());
    let database = Database::open(disk.clone(), Options::default()).unwrap();
    (disk, database)
}

fn model_listing(model: &Model) -> String {
    let mut text = String::new();
    for (key, value) in model {
        cyrusdb::listing::escape(key, &mut text);
        text.push('\t');
        cyrusdb::listing::escape(value, &mut text);
        text.push('\n');
    }
    text
}

/// Some puts, replacements and deletions, to the database and to the model.
fn change(rng: &mut StdRng, database: &mut Database<SimDisk>, model: &mut Model) {
    changed(rng, database, model).commit().unwrap();
}

/// The same, not committed yet.
fn changed<'d>(
    rng: &mut StdRng,
    database: &'d mut Database<SimDisk>,
    model: &mut Model,
) -> Transaction<'d, SimDisk> {
    let mut transaction = database.write().unwrap();
    for _ in 0..rng.random_range(1..8) {
        let key = format!("user.{:02}", rng.random_range(0..40)).into_bytes();
        if rng.random_ratio(1, 3) {
            let there = model.remove(&key).is_some();
            assert_eq!(transaction.delete(&key).unwrap(), there);
        } else {
            let value = vec![rng.random_range(b'a'..=b'z'); rng.random_range(0..300)];
            let changed = model.get(&key) != Some(&value);
            assert_eq!(transaction.put(&key, &value).unwrap(), changed);
            assert_eq!(transaction.get(&key).unwrap().as_ref(), Some(&value));
            model.insert(key, value);
        }
    }
    transaction
}

/// What a file holds for us, after recovery; whatever was lost, it is whole then.
fn recovered(image: &[u8]) -> String {
    let (_, mut database) = open(image);
    database.recover().unwrap();
    let check = database.check(|_, _| {}).unwrap();
    assert!(check.clean && check.faults.is_empty(), "{check:?}");
    listing(&mut database).unwrap()
}

/// Every image that a kill or a power cut during a run from `start` may leave.
fn images(disk: &SimDisk, start: &[u8], rng: &mut StdRng) -> Vec<Vec<u8>> {
    let mut images = Vec::new();
    for calls in 0..=disk.calls() {
        images.push(disk.killed_after(start.to_vec(), calls));
        for _ in 0..CUTS {
            images.push(disk.power_cut_after(start.to_vec(), calls, rng));
        }
    }
    images
}

#[test]
fn a_cut_after_any_call_leaves_the_old_content_or_the_new() {
    let cyrus = Cyrus::new();
    let path = cyrus.path("cut.db");
    for seed in 0..2 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let mut content = fs::read(vector("01-empty.db")).unwrap();
        let mut model = Model::new();
        let mut by_cyrus = 0;
        for _ in 0..TRANSACTIONS {
            let old = model_listing(&model);
            let (disk, mut database) = open(&content);
            change(rng, &mut database, &mut model);
            let new = model_listing(&model);
            assert_eq!(listing(&mut database).unwrap(), new);
            let (mut olds, mut news) = (0, 0);
            for (number, image) in images(&disk, &content, rng).iter().enumerate() {
                let found = recovered(image);
                assert!(found == old || found == new, "{found}");
                olds += usize::from(found == old);
                news += usize::from(found == new);
                // Cyrus's own recovery of the same file. Not of every one: each takes a process.
                if number % 11 == 0 {
                    by_cyrus += 1;
                    fs::write(&path, image).unwrap();
                    assert_eq!(cyrus.show(&path).unwrap(), found);
                    assert_eq!(recovered(&fs::read(&path).unwrap()), found);
                }
            }
            assert!(olds > 0 && news > 0);
            content = disk.killed_after(content, disk.calls());
        }
        assert!(by_cyrus > 50, "{by_cyrus}");
        cyrus.assert_consistent(&path);
    }
}

/// The header as DIRTY and the sync of it: the calls with which a transaction begins.
const FIRST_CALLS: usize = 2;

#[test]
fn an_early_commit_is_whole_or_undone_until_the_next_sync() {
    let cyrus = Cyrus::new();
    let path = cyrus.path("cut.db");
    let rng = &mut StdRng::seed_from_u64(3);
    let mut content = fs::read(vector("04-changes.db")).unwrap();
    let mut model = Model::new();
    let (_, mut database) = open(&content);
    database
        .read()
        .unwrap()
        .walk(None, |key, value| {
            model.insert(key.to_vec(), value.to_vec());
            true
        })
        .unwrap();
    let mut undone = 0;
    for round in 0..TRANSACTIONS {
        let before = model_listing(&model);
        let (disk, mut database) = open(&content);
        changed(rng, &mut database, &mut model)
            .commit_early()
            .unwrap();
        let (after, committed) = (model_listing(&model), disk.calls());
        // Others see it, and find the file clean.
        let seen = disk.killed_after(content.clone(), committed);
        let mut reader = Database::open(SimDisk::new(seen), Options::read_only()).unwrap();
        assert!(reader.read().unwrap().is_clean());
        assert_eq!(listing(&mut reader).unwrap(), after);

        if round % 2 == 0 {
            database.sync().unwrap();
        } else {
            changed(rng, &mut database, &mut model)
                .commit_early()
                .unwrap();
        }
        let last = model_listing(&model);
        let kept = committed + if round % 2 == 0 { 1 } else { FIRST_CALLS };
        for calls in committed..=disk.calls() {
            for _ in 0..CUTS {
                let image = disk.power_cut_after(content.clone(), calls, rng);
                let found = recovered(&image);
                if calls < kept {
                    assert!(found == before || found == after, "{found}");
                    undone += usize::from(found == before && before != after);
                } else {
                    assert!(found == after || found == last, "{found}");
                }
                if calls == committed {
                    fs::write(&path, image).unwrap();
                    assert_eq!(cyrus.show(&path).unwrap(), found);
                }
            }
        }
        content = disk.killed_after(content, disk.calls());
    }
    assert!(undone > 0);
}

#[test]
fn a_cut_during_recovery_loses_nothing_more() {
    let cyrus = Cyrus::new();
    let path = cyrus.path("cut.db");
    let rng = &mut StdRng::seed_from_u64(7);
    for name in support::UNCLEAN {
        let start = fs::read(vector(&format!("{name}.db"))).unwrap();
        let (disk, mut database) = open(&start);
        assert!(database.recover().unwrap());
        for (number, image) in images(&disk, &start, rng).iter().enumerate() {
            assert_eq!(recovered(image), support::expected(name), "{name}");
            if number % 31 == 0 {
                fs::write(&path, image).unwrap();
                assert_eq!(cyrus.show(&path).unwrap(), support::expected(name));
            }
        }
    }
}

#[test]
fn a_cut_during_a_checkpoint_leaves_the_old_file_or_the_new() {
    let cyrus = Cyrus::new();
    let path = cyrus.path("cut.db");
    let rng = &mut StdRng::seed_from_u64(11);
    let start = fs::read(vector("04-changes.db")).unwrap();
    let (disk, mut database) = open(&start);
    let done = database.checkpoint(|_| ControlFlow::Continue(())).unwrap();
    assert_eq!((done.generation, done.bytes_before), (2, 14_800));
    let (mut olds, mut news) = (0, 0);
    for image in images(&disk, &start, rng) {
        assert_eq!(recovered(&image), support::expected("04-changes"));
        if image == start {
            olds += 1;
        } else {
            news += 1;
            fs::write(&path, &image).unwrap();
            assert_eq!(cyrus.show(&path).unwrap(), support::expected("04-changes"));
            cyrus.assert_consistent(&path);
        }
    }
    assert!(olds > 0 && news > 0);
}

#[test]
fn a_transaction_got_ready_is_a_commit_or_nothing() {
    let start = fs::read(vector("04-changes.db")).unwrap();
    let rng = &mut StdRng::seed_from_u64(5);
    for commit in [false, true] {
        let (disk, mut database) = open(&start);
        let mut transaction = database.write().unwrap();
        transaction.get_ready().unwrap();
        assert_eq!(disk.calls(), FIRST_CALLS);
        if commit {
            transaction.put(b"new", b"value").unwrap();
            transaction.commit().unwrap();
        } else {
            transaction.abort();
        }
        let new = listing(&mut database).unwrap();
        let old = support::expected("04-changes");
        assert_eq!(new != old, commit);
        let left = disk.killed_after(start.clone(), disk.calls());
        let mut reader = Database::open(SimDisk::new(left), Options::read_only()).unwrap();
        assert!(reader.read().unwrap().is_clean());
        for image in images(&disk, &start, rng) {
            let found = recovered(&image);
            assert!(found == old || found == new, "{found}");
        }
    }
}

#[test]
fn an_aborted_transaction_does_not_touch_the_file() {
    let start = fs::read(vector("04-changes.db")).unwrap();
    let (disk, mut database) = open(&start);
    let mut transaction = database.write().unwrap();
    transaction.put(b"new", b"value").unwrap();
    transaction.abort();
    assert_eq!(database.get(b"new").unwrap(), None);
    assert_eq!(disk.calls(), 0);
}

/// How often the calls are gone through in turn.
const ROUNDS: usize = 12;

/// A full disk, an I/O error: the transaction fails, the file is as before and clean, and the next
/// transaction works.
#[test]
fn a_failing_call_rolls_the_transaction_back() {
    let start = fs::read(vector("04-changes.db")).unwrap();
    let old = support::expected("04-changes");
    let act = |database: &mut Database<SimDisk>| {
        let mut transaction = database.write()?;
        transaction.put(b"new", b"value")?;
        transaction.delete(b"Nuser\x1fuser002")?;
        transaction.commit()
    };
    let (disk, mut database) = open(&start);
    act(&mut database).unwrap();
    let new = listing(&mut database).unwrap();
    let (mut rolled_back, mut seen) = (0, 0);
    // The level of a new record is drawn, so which call is the commit's sync differs each time: once
    // over, the loop may well miss it.
    let calls = 0..disk.calls() + 20;
    for failing in (0..ROUNDS).flat_map(|_| calls.clone()) {
        let (disk, mut database) = open(&start);
        disk.fail_at(failing);
        // Records' levels are random, and so is the number of calls.
        if act(&mut database).is_ok() {
            continue;
        }
        // Without recovery: whoever comes next finds it clean.
        let image = disk.killed_after(start.clone(), disk.calls());
        let read_only = Options::read_only();
        let mut reader = Database::open(SimDisk::new(image), read_only).unwrap();
        assert!(reader.read().unwrap().is_clean(), "call {failing}");
        let found = listing(&mut reader).unwrap();
        assert!(found == old || found == new, "call {failing}");
        // After a failed sync of the commit itself, and only then, others may have seen it.
        rolled_back += usize::from(found == old && (failing == 0 || disk.calls() > failing));
        seen += usize::from(found == new && disk.calls() == failing);
        act(&mut database).unwrap();
        assert!(listing(&mut database).unwrap() == new);
    }
    assert!(
        rolled_back > 4 && (1..4 * ROUNDS).contains(&seen),
        "{rolled_back} {seen}"
    );
}

#[test]
fn a_failing_call_ends_a_checkpoint_without_harm() {
    let start = fs::read(vector("04-changes.db")).unwrap();
    let (disk, mut database) = open(&start);
    database.checkpoint(|_| ControlFlow::Continue(())).unwrap();
    for failing in 0..disk.calls() {
        let (disk, mut database) = open(&start);
        disk.fail_at(failing);
        database
            .checkpoint(|_| ControlFlow::Continue(()))
            .unwrap_err();
        assert_eq!(
            listing(&mut database).unwrap(),
            support::expected("04-changes")
        );
        assert_eq!(database.check(|_, _| {}).unwrap().faults, []);
    }
}

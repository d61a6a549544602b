//! Files with damage: an error that names the offset, or the right answer.

#![cfg(test)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;

use cyrusdb::Error;
use cyrusdb::twoskip::{Database, Options};
use support::listing;
use support::sim::SimDisk;

/// Some records, replaced and deleted ones among them, of a file small enough to break everywhere.
fn small_file() -> (Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>) {
    let disk = SimDisk::new(Vec::new());
    let mut database = Database::open(disk.clone(), Options::default()).unwrap();
    let mut model = BTreeMap::new();
    for round in 0..3 {
        let mut transaction = database.write().unwrap();
        for number in 0..6 {
            let key = format!("user.{}", number * (round + 1)).into_bytes();
            let value = format!("%(T er S b{round} A %())").into_bytes();
            transaction.put(&key, &value).unwrap();
            model.insert(key, value);
        }
        let gone = format!("user.{round}").into_bytes();
        assert_eq!(
            transaction.delete(&gone).unwrap(),
            model.remove(&gone).is_some()
        );
        transaction.commit().unwrap();
    }
    let content = disk.killed_after(Vec::new(), disk.calls());
    (content, model)
}

fn open(content: Vec<u8>) -> Result<Database<SimDisk>, Error> {
    Database::open(SimDisk::new(content), Options::default())
}

/// An error that points into the file, or names a format or a version.
fn assert_names_its_place(error: &Error, len: usize) {
    match error {
        Error::Corrupt { offset, .. } => {
            assert!(usize::try_from(*offset).unwrap() <= len, "{error}");
        }
        Error::OtherFormat { .. } | Error::Version(_) => {}
        other => panic!("{other}"),
    }
}

/// Every way to read the file, and to write to it, with the right content as the judge.
fn try_everything(content: &[u8], model: &BTreeMap<Vec<u8>, Vec<u8>>, wanted: &str) -> bool {
    let len = content.len();
    let mut database = match open(content.to_vec()) {
        Ok(database) => database,
        Err(error) => {
            assert_names_its_place(&error, len);
            return true;
        }
    };
    let mut noticed = false;
    let mut judge = |right: Result<bool, Error>| match right {
        Ok(right) => assert!(right, "a wrong answer"),
        Err(error) => {
            assert_names_its_place(&error, len);
            noticed = true;
        }
    };
    for (key, value) in model {
        judge(database.get(key).map(|found| found.as_ref() == Some(value)));
    }
    judge(database.get(b"user.").map(|found| found.is_none()));
    judge(database.get(b"user.99").map(|found| found.is_none()));
    judge(listing(&mut database).map(|found| found == wanted));
    let check = database.check(|_, _| {});
    judge(check.map(|check| {
        check
            .faults
            .iter()
            .all(|fault| usize::try_from(fault.offset).unwrap() <= len)
    }));

    // Writing: done right, or refused.
    let put = database.write().and_then(|mut transaction| {
        transaction.put(b"user.7x", b"new")?;
        transaction.delete(b"user.3")?;
        transaction.commit()
    });
    if put.is_ok() {
        judge(
            database
                .get(b"user.7x")
                .map(|found| found.as_deref() == Some(b"new")),
        );
        judge(database.get(b"user.3").map(|found| found.is_none()));
    }
    judge(put.map(|()| true));
    // A checkpoint must not make a sound file with a wrong content.
    let report = open(content.to_vec()).and_then(|mut database| {
        database.checkpoint(|_| ControlFlow::Continue(()))?;
        listing(&mut database)
    });
    judge(report.map(|found| found == wanted));
    noticed
}

#[test]
fn a_changed_byte_is_noticed_or_does_not_matter() {
    let (content, model) = small_file();
    let wanted = listing(&mut open(content.clone()).unwrap()).unwrap();
    assert_eq!(wanted.lines().count(), model.len());
    assert!(!try_everything(&content, &model, &wanted));
    let mut unnoticed = 0;
    for at in 0..content.len() {
        for change in [0x01, 0xff] {
            let mut damaged = content.clone();
            damaged[at] ^= change;
            try_everything(&damaged, &model, &wanted);
            let check = open(damaged).and_then(|mut database| database.check(|_, _| {}));
            unnoticed += usize::from(check.is_ok_and(|check| check.faults.is_empty()));
        }
    }
    // The check itself looks at every byte: nothing escapes it.
    assert_eq!(unnoticed, 0);
}

#[test]
fn a_cut_file_is_noticed() {
    let (content, model) = small_file();
    let wanted = listing(&mut open(content.clone()).unwrap()).unwrap();
    for len in 1..content.len() {
        assert!(
            try_everything(&content[..len], &model, &wanted),
            "cut to {len}"
        );
    }
}

#[test]
fn damage_in_an_unclean_file_is_noticed_or_does_not_matter() {
    let content = fs::read(support::vector("06-dirty-damage.db")).unwrap();
    let wanted = support::expected("06-dirty-damage");
    for at in 0..content.len() {
        let mut damaged = content.clone();
        damaged[at] ^= 0x40;
        for options in [Options::default(), Options::read_only()] {
            let disk = SimDisk::new(damaged.clone());
            let found =
                Database::open(disk, options).and_then(|mut database| listing(&mut database));
            match found {
                Ok(found) => assert_eq!(found, wanted, "byte {at}"),
                Err(error) => assert_names_its_place(&error, content.len()),
            }
        }
    }
}

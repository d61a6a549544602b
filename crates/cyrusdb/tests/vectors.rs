//! Files that Cyrus wrote, of five series, and what is in them.

#![cfg(test)]

mod support;

use std::fs;

use cyrusdb::Error;
use cyrusdb::twoskip::{Database, Options};
use support::{CLEAN, UNCLEAN, expected, listing, vector};

#[test]
fn all_vectors_parse_to_their_listings_and_stay_as_they_are() {
    for name in CLEAN.into_iter().chain(UNCLEAN) {
        let path = vector(&format!("{name}.db"));
        let before = fs::read(&path).unwrap();
        let mut database = Database::open_path(&path, Options::read_only()).unwrap();
        assert_eq!(listing(&mut database).unwrap(), expected(name), "{name}");
        let clean = database.read().unwrap().is_clean();
        assert_eq!(clean, CLEAN.contains(&name), "{name}");
        let check = database.check(|_, _| {}).unwrap();
        assert_eq!(check.faults, [], "{name}");
        let lines = expected(name).lines().count();
        assert_eq!(check.totals.live, u64::try_from(lines).unwrap(), "{name}");
        assert_eq!(fs::read(&path).unwrap(), before, "{name}");
    }
}

#[test]
fn each_key_is_found_and_no_other() {
    for name in CLEAN.into_iter().chain(UNCLEAN) {
        let path = vector(&format!("{name}.db"));
        let mut database = Database::open_path(&path, Options::read_only()).unwrap();
        for line in expected(name).lines() {
            let (key, value) = line.split_once('\t').unwrap();
            let key = cyrusdb::listing::unescape(key).unwrap();
            let value = cyrusdb::listing::unescape(value).unwrap();
            assert_eq!(database.get(&key).unwrap(), Some(value), "{name}: {line}");
            let other = [key.as_slice(), b"\0"].concat();
            assert_eq!(database.get(&other).unwrap(), None, "{name}: {line}");
        }
    }
}

#[test]
fn unclean_vectors_recover_to_their_listings() {
    for (name, like) in UNCLEAN.into_iter().zip(["02-one", "08-recovered"]) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.db");
        fs::copy(vector(&format!("{name}.db")), &path).unwrap();
        let mut database = Database::open_path(&path, Options::default()).unwrap();
        assert!(database.recover().unwrap(), "{name}");
        assert!(!database.recover().unwrap(), "{name}");
        assert_eq!(listing(&mut database).unwrap(), expected(name), "{name}");
        let check = database.check(|_, _| {}).unwrap();
        assert!(check.clean && check.faults.is_empty(), "{name}: {check:?}");
        let clean = fs::read(vector(&format!("{like}.db"))).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().len(),
            u64::try_from(clean.len()).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn other_formats_are_named_with_the_way_out() {
    for (name, format) in [("20-skiplist", "skiplist"), ("21-twom", "twom")] {
        let path = vector(&format!("{name}.db"));
        let error = Database::open_path(&path, Options::read_only()).unwrap_err();
        assert!(matches!(error, Error::OtherFormat { .. }), "{error}");
        let message = error.to_string();
        let way_out = format!("cvt_cyrusdb FILE {format} NEWFILE twoskip");
        assert!(message.contains(&way_out), "{message}");
    }
}

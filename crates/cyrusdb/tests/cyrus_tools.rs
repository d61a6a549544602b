//! What we write, read by Cyrus's own programs; and both writing to one file in turn.

#![cfg(test)]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::ops::ControlFlow;

use cyrusdb::mailboxes::{KeyMeaning, KeyStyle, Mailboxes, Outcome, Record};
use cyrusdb::twoskip::{Database, Options};
use proto::{Acl, Entry, Location, MailboxName, ReservedBy};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use support::{Cyrus, expected, line, listing, open, vector};

fn name(text: &str) -> MailboxName {
    MailboxName::try_from(text.as_bytes()).unwrap()
}

fn active(location: &str, acl: &str) -> Entry {
    Entry::Active {
        location: Location::try_from(location.as_bytes()).unwrap(),
        acl: Acl::try_from(acl.as_bytes()).unwrap(),
    }
}

fn reserved(location: &str) -> Entry {
    Entry::Reserved {
        location: Location::try_from(location.as_bytes()).unwrap(),
        by: ReservedBy::Reserve,
    }
}

/// A list with all that is odd: names, identifiers, a domain, a deleted mailbox, a reservation.
fn odd_mailboxes() -> Vec<(MailboxName, Entry)> {
    let mut list = vec![
        (
            name("user.alice"),
            active("b1.test!default", "alice\tlrswipkxtecda\t"),
        ),
        (name("user.alice.a b"), active("b1.test!default", "")),
        (
            name("user.bob.sub^dot"),
            active("b2.test!p2", "bob\tlrs\t-carol\tlrs\t"),
        ),
        (
            name("user.quoted"),
            active("b2.test!p2", "user with space\tlrs\tp(1)%\tl\t"),
        ),
        (
            name("example.org!user.dave"),
            active("b1.test!default", "dave@example.org\tlrs\t"),
        ),
        (
            name("DELETED.user.alice.5F3C1A2B"),
            active("b1.test!default", "alice\tlrs\t"),
        ),
        (name("shared.pub"), active("b2.test", "anyone\tlrsp\t")),
        (name("user.coming"), reserved("b2.test!p2")),
    ];
    for number in 0..500 {
        let acl = format!("u{number:03}\tlrswipkxtecda\t");
        list.push((
            name(&format!("user.u{number:03}")),
            active("b1.test!default", &acl),
        ));
    }
    list
}

#[test]
fn entries_we_write_are_read_by_ctl_mboxlist_and_mbpath() {
    let cyrus = Cyrus::new();
    let path = cyrus.mailboxes_db();
    let mailboxes = Mailboxes::new(KeyStyle::ByName);
    let mut database = open(&path);
    let mut transaction = database.write().unwrap();
    for (name, entry) in odd_mailboxes() {
        let outcome = mailboxes
            .set(&mut transaction, &name, &entry, 1_795_300_713)
            .unwrap();
        assert_eq!(outcome, Outcome::Changed);
        let again = mailboxes
            .set(&mut transaction, &name, &entry, 1_795_399_999)
            .unwrap();
        assert_eq!(again, Outcome::Unchanged);
    }
    transaction.commit().unwrap();

    cyrus.assert_consistent(&path);
    let mut raw = Vec::new();
    for pair in database.page(None, 1000).unwrap() {
        raw.extend([pair.key(), b"\t", pair.value(), b"\n"].concat());
    }
    assert_eq!(cyrus.show_raw(&path).unwrap(), raw);
    let dump = cyrus.run("ctl_mboxlist", &["-d"], "").unwrap();
    for (number, (name, entry)) in odd_mailboxes().into_iter().enumerate() {
        assert!(
            dump.contains(&format!("\"{name}\"")),
            "{name} not in {dump}"
        );
        if number % 100 > 10 {
            continue;
        }
        let server = String::from_utf8(entry.location().server().to_vec()).unwrap();
        if matches!(entry, Entry::Active { .. }) {
            let said = cyrus.run("mbpath", &["-u", "-p", &name.to_string()], "");
            let place = cyrus.run("mbpath", &[&name.to_string()], "");
            let said = format!("{said:?} {place:?}");
            assert!(said.contains(&server), "{name}: {said}");
        }
    }
    let absent = cyrus.run("mbpath", &["user.nobody"], "");
    assert!(!format!("{absent:?}").contains("b1.test"), "{absent:?}");
}

#[test]
fn ours_and_cyrus_write_one_file_in_turn() {
    let cyrus = Cyrus::new();
    let path = cyrus.path("turn.db");
    let rng = &mut StdRng::seed_from_u64(3);
    let mut database = open(&path);
    let mut model = BTreeMap::new();
    for turn in 0..120 {
        let mut puts = BTreeMap::new();
        for _ in 0..rng.random_range(1..30) {
            let key = format!("user.{:03}", rng.random_range(0..150));
            let value = format!("{turn} {}", "x".repeat(rng.random_range(0..200)));
            puts.insert(key, value);
        }
        let gone: Vec<String> = model
            .keys()
            .filter(|_| rng.random_ratio(1, 12))
            .cloned()
            .collect();
        let gone: Vec<&String> = gone.iter().filter(|key| !puts.contains_key(*key)).collect();
        if turn % 2 == 0 {
            let mut transaction = database.write().unwrap();
            for (key, value) in &puts {
                transaction.put(key.as_bytes(), value.as_bytes()).unwrap();
            }
            for key in &gone {
                assert!(transaction.delete(key.as_bytes()).unwrap());
            }
            transaction.commit().unwrap();
        } else {
            let mut input = String::new();
            for (key, value) in &puts {
                writeln!(input, "{key}\t{value}").unwrap();
            }
            cyrus.dbtool(&path, &["set"], &input).unwrap();
            let keys = gone
                .iter()
                .fold(String::new(), |keys, key| keys + key + "\n");
            cyrus.dbtool(&path, &["delete"], &keys).unwrap();
        }
        for key in gone {
            model.remove(key);
        }
        model.extend(puts);
        match turn % 40 {
            13 => {
                cyrus.dbtool(&path, &["repack"], "").unwrap();
            }
            26 => {
                database.checkpoint(|_| ControlFlow::Continue(())).unwrap();
            }
            _ => {}
        }
        let text: String = model.iter().map(|(key, value)| line(key, value)).collect();
        assert_eq!(listing(&mut database).unwrap(), text);
        if turn % 5 == 0 {
            assert_eq!(cyrus.show(&path).unwrap(), text);
            cyrus.assert_consistent(&path);
            assert_eq!(database.check(|_, _| {}).unwrap().faults, []);
        }
    }
}

#[test]
fn appending_to_each_vector_leaves_it_consistent() {
    let cyrus = Cyrus::new();
    for name in support::CLEAN.into_iter().chain(support::UNCLEAN) {
        let path = cyrus.path("vector.db");
        fs::copy(vector(&format!("{name}.db")), &path).unwrap();
        let mut database = open(&path);
        let mut transaction = database.write().unwrap();
        transaction.put(b"zz last", b"x").unwrap();
        transaction.put(b"\x01 first", b"y").unwrap();
        transaction.commit().unwrap();
        let wanted = format!("\\x01 first\ty\n{}zz last\tx\n", expected(name));
        assert_eq!(listing(&mut database).unwrap(), wanted, "{name}");
        cyrus.assert_consistent(&path);
        if !wanted.contains("\\x0d\\x0a") {
            assert_eq!(cyrus.show(&path).unwrap(), wanted, "{name}");
        }
    }
}

/// Real slaves' files hold what their master told them; we read the same from all key styles.
#[test]
fn records_of_real_slaves_are_read() {
    let styles = [
        ("10-murder-361", KeyStyle::ByName),
        ("11-murder-361-racl", KeyStyle::ByName),
        ("12-murder-3018", KeyStyle::Plain),
        ("13-murder-main", KeyStyle::ByName),
        ("14-murder-3123", KeyStyle::ByName),
    ];
    for (file, style) in styles {
        let path = vector(&format!("{file}.db"));
        let mut database = Database::open_path(&path, Options::read_only()).unwrap();
        assert_eq!(
            Mailboxes::detect_style(&mut database).unwrap(),
            Some(style),
            "{file}"
        );
        let mailboxes = Mailboxes::new(style);
        let mut entries = BTreeMap::new();
        for pair in database.page(None, 1000).unwrap() {
            match mailboxes.naming.meaning(pair.key()) {
                KeyMeaning::Mailbox(name) => {
                    let record = Record::parse(pair.value()).unwrap();
                    assert_eq!(record.local(Some(b"frontend.test")), None);
                    let entry = record.entry().unwrap();
                    assert_eq!(mailboxes.naming.key(&name), pair.key());
                    let value = Record::encode(style, &entry, record.modified().unwrap());
                    if file != "13-murder-main" {
                        assert_eq!(value, pair.value(), "{file}: {name}");
                    }
                    entries.insert(name, entry);
                }
                KeyMeaning::Other => assert!(pair.value().is_empty()),
                KeyMeaning::Unusable(error) => panic!("{file}: {error}"),
            }
        }
        assert_eq!(
            entries[&name("user.bob")],
            reserved("backend2.example.com!part2")
        );
        let dave = active(
            "backend1.example.com!default",
            "dave@example.org\tlrswipkxtecda\t",
        );
        assert_eq!(entries[&name("example.org!user.dave")], dave);
        let nopart = active("backend1.example.com", "x\tlrs\t");
        assert_eq!(entries[&name("user.nopart")], nopart);
    }
    let empty = vector("01-empty.db");
    let mut database = Database::open_path(&empty, Options::read_only()).unwrap();
    assert_eq!(Mailboxes::detect_style(&mut database).unwrap(), None);
}

/// The index that a real 3.6.1 slave keeps comes out of our own writing of the same entries.
#[test]
fn reverse_acls_are_kept_where_the_marker_is() {
    let cyrus = Cyrus::new();
    let path = cyrus.path("racl.db");
    let mut mailboxes = Mailboxes::new(KeyStyle::ByName);
    mailboxes.admins = vec![b"cyrus".to_vec()];
    let real = vector("11-murder-361-racl.db");
    let mut real = Database::open_path(&real, Options::read_only()).unwrap();
    let mut database = open(&path);
    let mut transaction = database.write().unwrap();
    transaction.put(b"AS\x1e", b"").unwrap();
    for pair in real.page(Some(b"N"), 1000).unwrap() {
        let KeyMeaning::Mailbox(name) = mailboxes.naming.meaning(pair.key()) else {
            panic!("{pair:?}");
        };
        let record = Record::parse(pair.value()).unwrap();
        let (entry, modified) = (record.entry().unwrap(), record.modified().unwrap());
        // First another ACL, so that the index has to change with it.
        let other = active("backend9.example.com", "someone\tlr\tanyone\tp\t");
        mailboxes.set(&mut transaction, &name, &other, 1).unwrap();
        mailboxes
            .set(&mut transaction, &name, &entry, modified)
            .unwrap();
    }
    transaction.commit().unwrap();
    assert_eq!(
        listing(&mut database).unwrap(),
        expected("11-murder-361-racl")
    );
    cyrus.assert_consistent(&path);

    let mut transaction = database.write().unwrap();
    for pair in real.page(Some(b"N"), 1000).unwrap() {
        if let KeyMeaning::Mailbox(name) = mailboxes.naming.meaning(pair.key()) {
            assert_eq!(
                mailboxes.remove(&mut transaction, &name).unwrap(),
                Outcome::Changed
            );
        }
    }
    transaction.commit().unwrap();
    assert_eq!(listing(&mut database).unwrap(), "AS\\x1e\t\n");
}

#[test]
fn local_records_of_a_unified_server_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut mailboxes = Mailboxes::new(KeyStyle::ByName);
    mailboxes.own_server = Some(b"here.test".to_vec());
    let mut database = open(&dir.path().join("unified.db"));
    let local = b"%(T e I 4f2c P default M 1 A %(joe lrs))";
    let mut transaction = database.write().unwrap();
    transaction.put(b"Nuser\x1fjoe", local).unwrap();
    transaction.put(b"I4f2c", b"%(N user\x1fjoe T e)").unwrap();
    transaction.commit().unwrap();
    let before = listing(&mut database).unwrap();
    let mut transaction = database.write().unwrap();
    let elsewhere = active("b1.test!default", "joe\tl\t");
    let here = active("here.test!default", "x\tl\t");
    for (name, entry) in [(name("user.joe"), &elsewhere), (name("user.x"), &here)] {
        let outcome = mailboxes.set(&mut transaction, &name, entry, 2).unwrap();
        assert!(matches!(outcome, Outcome::LeftAlone(_)), "{outcome:?}");
    }
    let outcome = mailboxes
        .remove(&mut transaction, &name("user.joe"))
        .unwrap();
    assert!(matches!(outcome, Outcome::LeftAlone(_)), "{outcome:?}");
    assert!(transaction.is_empty());
    transaction.commit().unwrap();
    assert_eq!(listing(&mut database).unwrap(), before);
}

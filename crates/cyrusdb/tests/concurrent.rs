//! Eight processes on one file, ours and Cyrus's: writing, reading, repacking.

#![cfg(test)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use support::{Cyrus, listing, open};

/// Records that nobody touches, so that each listing must show them all.
const BASE: usize = 5000;
/// Transactions of each writer.
const TRANSACTIONS: u32 = 400;

fn hammer(file: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_cyrusdb-hammer"))
        .arg(file)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn finish(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn fill(file: &Path) {
    let mut database = open(file);
    let mut transaction = database.write().unwrap();
    for number in 0..BASE {
        let key = format!("user.{number:04}.base");
        transaction.put(key.as_bytes(), &[b'v'; 100]).unwrap();
    }
    transaction.commit().unwrap();
}

/// Writes and deletes by `cyr_dbtool`, one transaction for each line; returns what should be there.
fn write_by_cyrus(cyrus: &Cyrus, file: &Path, name: &str) -> BTreeMap<String, String> {
    let mut own = BTreeMap::new();
    let portion = 40;
    for round in 0..TRANSACTIONS / portion {
        let keys = (0..portion).map(|number| format!("user.{:03}.{name}", round * 13 + number * 5));
        let puts: BTreeMap<_, _> = keys.map(|key| (key, format!("{round} by cyrus"))).collect();
        let lines: String = puts
            .iter()
            .map(|(key, value)| support::line(key, value))
            .collect();
        cyrus.dbtool(file, &["set"], &lines).unwrap();
        own.extend(puts);
        let gone: Vec<String> = own.keys().step_by(7).cloned().collect();
        cyrus
            .dbtool(file, &["delete"], &(gone.join("\n") + "\n"))
            .unwrap();
        own.retain(|key, _| !gone.contains(key));
    }
    own
}

fn show_by_cyrus(cyrus: &Cyrus, file: &Path, stop: &AtomicBool) -> usize {
    let mut listings = 0;
    while !stop.load(Ordering::Relaxed) {
        let text = cyrus.show(file).unwrap();
        let keys: Vec<&str> = text
            .lines()
            .map(|line| line.split_once('\t').unwrap().0)
            .collect();
        assert!(keys.is_sorted_by(|one, other| one < other));
        assert_eq!(
            keys.iter().filter(|key| key.contains(".base")).count(),
            BASE
        );
        listings += 1;
    }
    listings
}

fn repack_by_cyrus(cyrus: &Cyrus, file: &Path, stop: &AtomicBool) -> usize {
    let mut repacks = 0;
    while !stop.load(Ordering::Relaxed) {
        // Its own check before it locks fails now and then when others write: not our matter.
        repacks += usize::from(cyrus.dbtool(file, &["repack"], "").is_ok());
        thread::sleep(Duration::from_millis(300));
    }
    repacks
}

#[test]
fn eight_processes_lose_no_update_and_see_no_bad_listing() {
    let cyrus = Cyrus::new();
    let file = cyrus.path("shared.db");
    fill(&file);
    let stop_file = cyrus.path("stop");
    let stop_path = stop_file.to_str().unwrap();
    let count = TRANSACTIONS.to_string();
    let writers = ["one", "two"].map(|name| hammer(&file, &["write", name, &count]));
    let reader = hammer(&file, &["read", &BASE.to_string(), stop_path]);
    let checkpointer = hammer(&file, &["checkpoint", stop_path]);
    let stop = AtomicBool::new(false);
    let (mut expected, shows, repacks) = thread::scope(|scope| {
        let show = scope.spawn(|| show_by_cyrus(&cyrus, &file, &stop));
        let repack = scope.spawn(|| repack_by_cyrus(&cyrus, &file, &stop));
        let by_cyrus = ["three", "four"]
            .map(|name| scope.spawn(|| write_by_cyrus(&cyrus, &file, name)))
            .map(thread::ScopedJoinHandle::join);
        let ours = writers.map(finish);
        stop.store(true, Ordering::Relaxed);
        fs::write(&stop_file, "").unwrap();
        let mut expected = BTreeMap::new();
        for own in by_cyrus {
            expected.extend(own.unwrap());
        }
        for line in ours.iter().flat_map(|own| own.lines()) {
            let (key, value) = line.split_once('\t').unwrap();
            expected.insert(key.to_owned(), value.to_owned());
        }
        (expected, show.join().unwrap(), repack.join().unwrap())
    });
    let reads: usize = finish(reader).trim().parse().unwrap();
    let checkpoints = finish(checkpointer);
    println!(
        "{shows} and {reads} listings, {repacks} repacks, checkpoints (and keys replayed): {checkpoints}"
    );
    assert!(shows > 0 && reads > 0);
    assert!(!checkpoints.starts_with("0 "), "{checkpoints}");

    for number in 0..BASE {
        expected.insert(format!("user.{number:04}.base"), "v".repeat(100));
    }
    let wanted: String = expected
        .iter()
        .map(|(key, value)| support::line(key, value))
        .collect();
    let mut database = open(&file);
    let found = listing(&mut database).unwrap();
    let lost: Vec<_> = wanted
        .lines()
        .filter(|line| !found.contains(line))
        .collect();
    let extra: Vec<_> = found
        .lines()
        .filter(|line| !wanted.contains(line))
        .collect();
    assert!(found == wanted, "lost {lost:?}, extra {extra:?}");
    assert_eq!(database.check(|_, _| {}).unwrap().faults, []);
    assert_eq!(cyrus.show(&file).unwrap(), wanted);
    cyrus.assert_consistent(&file);
    assert!(!cyrus.path("shared.db.mupdate-checkpoint").exists());
}

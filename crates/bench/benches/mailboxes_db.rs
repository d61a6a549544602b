//! Cyrus's `mailboxes.db`: transactions, walks, and comparing it with a store: `cargo bench -p bench --bench mailboxes_db`.
//! Files lie in the directory for temporary files, and are synced as they would be.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench that fails may end"
)]

mod support;

use std::path::PathBuf;
use std::sync::Arc;

use cyrusdb::mailboxes::{KeyStyle, Naming, Record};
use cyrusdb::twoskip::{Database, Options};
use divan::Bencher;
use divan::counter::ItemsCount;
use exporter::{Exporter, ExporterConfig, StyleSetting};
use store::{AsTold, Batch, Origin, OsFileSystem, Store, StoreConfig};
use tokio::runtime::Runtime;

/// In the file.
const MAILBOXES: usize = 50_000;
/// When all of them were changed.
const MODIFIED: u64 = 1_795_300_713;

fn main() {
    divan::main();
}

fn record(number: usize, lap: usize) -> (Vec<u8>, Vec<u8>) {
    let key = Naming::new(KeyStyle::ByName).key(&support::name(number));
    (
        key,
        Record::encode(KeyStyle::ByName, &support::entry(number, lap), MODIFIED),
    )
}

/// A file with all mailboxes.
fn filled() -> (tempfile::TempDir, Database) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mailboxes.db");
    let mut database = Database::open_path(&path, Options::create()).unwrap();
    let mut transaction = database.write().unwrap();
    for number in 0..MAILBOXES {
        let (key, value) = record(number, 0);
        transaction.put(&key, &value).unwrap();
    }
    transaction.commit().unwrap();
    (directory, database)
}

/// A transaction of so many changes all over the file, with its syncs.
#[divan::bench(args = [1, 10, 1000], sample_count = 100)]
fn twoskip_append(bencher: Bencher<'_, '_>, changes: usize) {
    let (_directory, mut database) = filled();
    let mut made = 0;
    let next = || {
        made += changes;
        (made..made + changes)
            .map(|i| record(support::scatter(i, MAILBOXES), 1 + i / MAILBOXES))
            .collect::<Vec<_>>()
    };
    bencher
        .counter(ItemsCount::new(changes))
        .with_inputs(next)
        .bench_local_values(|records| {
            let mut transaction = database.write().unwrap();
            for (key, value) in &records {
                transaction.put(key, value).unwrap();
            }
            transaction.commit().unwrap();
        });
}

/// All records in order, under one lock.
#[divan::bench]
fn twoskip_walk(bencher: Bencher<'_, '_>) {
    let (_directory, mut database) = filled();
    bencher.counter(ItemsCount::new(MAILBOXES)).bench_local(|| {
        let mut found = 0;
        database
            .read()
            .unwrap()
            .walk(None, |_, _| {
                found += 1;
                true
            })
            .unwrap();
        assert_eq!(found, MAILBOXES);
    });
}

/// One record.
#[divan::bench]
fn twoskip_get(bencher: Bencher<'_, '_>) {
    let (_directory, mut database) = filled();
    let keys: Vec<_> = (0..1000)
        .map(|i| record(support::scatter(i, MAILBOXES), 0).0)
        .collect();
    let mut at = 0;
    bencher.bench_local(|| {
        at = (at + 1) % keys.len();
        database.get(&keys[at]).unwrap().is_some()
    });
}

/// A start of the exporter that has lost its state: every record of the file compared, nothing to change.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn compare(bencher: Bencher<'_, '_>) {
    let directory = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let _inside = runtime.enter();
    let place = |name: &str| -> PathBuf { directory.path().join(name) };
    let (store, _) = Store::open(
        OsFileSystem,
        &place("store"),
        StoreConfig::default(),
        Box::new(AsTold),
    )
    .unwrap();
    for first in (0..MAILBOXES).step_by(1000) {
        let origin = Origin {
            identity: Arc::from("bench"),
            peer: Arc::from("-"),
        };
        let edits = (first..first + 1000)
            .map(|number| support::edit(number, 0))
            .collect();
        runtime
            .block_on(store.edit(Batch { origin, edits }))
            .unwrap();
    }
    let mut config = ExporterConfig::new(place("mailboxes.db"), place("state"));
    config.style = StyleSetting::Fixed(KeyStyle::ByName);
    let export = || {
        let exporter = Exporter::start(store.clone(), config.clone()).unwrap();
        runtime.block_on(async {
            exporter.ready().wait_for(|ready| *ready).await.unwrap();
            exporter.shutdown().await;
        });
    };
    export();
    bencher
        .counter(ItemsCount::new(MAILBOXES))
        .with_inputs(|| std::fs::remove_file(&config.state_file).unwrap())
        .bench_local_values(|()| export());
}

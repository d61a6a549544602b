//! The list: changes, scans and feeds, on a disk in memory and on a real one: `cargo bench -p bench --bench store`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench that fails may end"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use proto::Edit;
use proto::codec::encode::Lines;
use store::sim::SimDisk;
use store::{AsTold, Batch, FileSystem, Origin, OsFileSystem, Sequence, Store, StoreConfig};
use tokio::runtime::Runtime;

/// On the list.
const MAILBOXES: usize = 100_000;

fn main() {
    divan::main();
}

/// A store with a list.
struct Filled {
    runtime: Runtime,
    store: Store,
    edits: AtomicUsize,
    _directory: tempfile::TempDir,
}

impl Filled {
    fn new(fs: impl FileSystem + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let (store, _) = Store::open(
            fs,
            &directory.path().join("store"),
            StoreConfig::default(),
            Box::new(AsTold),
        )
        .unwrap();
        let filled = Self {
            runtime,
            store,
            edits: AtomicUsize::new(0),
            _directory: directory,
        };
        for first in (0..MAILBOXES).step_by(1000) {
            filled.edit(
                (first..first + 1000)
                    .map(|number| support::edit(number, 0))
                    .collect(),
            );
        }
        filled
    }

    fn edit(&self, edits: Vec<Edit>) {
        let origin = Origin {
            identity: Arc::from("bench"),
            peer: Arc::from("-"),
        };
        let answers = self
            .runtime
            .block_on(self.store.edit(Batch { origin, edits }))
            .unwrap();
        assert!(answers.iter().all(Result::is_ok));
    }

    /// The next so many changes, all over the list or in the order of names.
    fn changes(&self, many: usize, scattered: bool) -> Vec<Edit> {
        let first = self.edits.fetch_add(many, Ordering::Relaxed);
        let place = |i: usize| {
            if scattered {
                support::scatter(i, MAILBOXES)
            } else {
                i % MAILBOXES
            }
        };
        (first..first + many)
            .map(|i| support::edit(place(i), 1 + i / MAILBOXES))
            .collect()
    }
}

/// What the writer does for a group but for the disk: deciding, the list, digests, history, the octets of the log.
#[divan::bench(args = [1, 200, 800], sample_count = 200)]
fn version_update_in_order(bencher: Bencher<'_, '_>, group: usize) {
    update(bencher, &Filled::new(SimDisk::new()), group, false);
}

/// The same of names all over the list.
#[divan::bench(args = [1, 200, 800], sample_count = 200)]
fn version_update_scattered(bencher: Bencher<'_, '_>, group: usize) {
    update(bencher, &Filled::new(SimDisk::new()), group, true);
}

/// The same while somebody holds the version from before, as a dump does: what would be changed in place is copied.
#[divan::bench(args = [1, 200, 800], sample_count = 200)]
fn version_update_scattered_beside_a_dump(bencher: Bencher<'_, '_>, group: usize) {
    let filled = Filled::new(SimDisk::new());
    let held = filled.store.current();
    update(bencher, &filled, group, true);
    drop(held);
}

/// A group on a real disk, in the directory for temporary files: all of the above, and one fdatasync.
#[divan::bench(args = [1, 200, 800], sample_count = 200)]
fn group_commit(bencher: Bencher<'_, '_>, group: usize) {
    update(bencher, &Filled::new(OsFileSystem), group, true);
}

fn update(bencher: Bencher<'_, '_>, filled: &Filled, group: usize, scattered: bool) {
    bencher
        .counter(ItemsCount::new(group))
        .with_inputs(|| filled.changes(group, scattered))
        .bench_local_values(|edits| filled.edit(edits));
}

/// The whole list, in order.
#[divan::bench]
fn scan(bencher: Bencher<'_, '_>) {
    let version = Filled::new(SimDisk::new()).store.current();
    bencher
        .counter(ItemsCount::new(MAILBOXES))
        .bench(|| version.walk().map(black_box).count());
}

/// The whole list as the lines of a dump, in pages.
#[divan::bench]
fn scan_and_encode(bencher: Bencher<'_, '_>) {
    let version = Filled::new(SimDisk::new()).store.current();
    let pages = || {
        let (mut page, mut bytes) = (Lines::new("U01", 1 << 18), 0);
        for listed in version.walk() {
            page.push(listed.mailbox, listed.entry);
            if page.len() >= 1 << 18 {
                bytes += page.len();
                page = Lines::new("U01", 1 << 18);
            }
        }
        bytes + page.len()
    };
    bencher
        .counter(ItemsCount::new(MAILBOXES))
        .counter(BytesCount::new(pages()))
        .bench(pages);
}

/// One mailbox.
#[divan::bench]
fn get(bencher: Bencher<'_, '_>) {
    let version = Filled::new(SimDisk::new()).store.current();
    let names: Vec<_> = (0..1000)
        .map(|i| support::name(support::scatter(i, MAILBOXES)))
        .collect();
    let mut at = 0;
    bencher.bench_local(|| {
        at = (at + 1) % names.len();
        version.find(black_box(&names[at])).is_some()
    });
}

/// A chunk of a feed of 1000 changes to as many mailboxes.
#[divan::bench]
fn feed_chunk(bencher: Bencher<'_, '_>) {
    let filled = Filled::new(SimDisk::new());
    let from = Sequence(filled.store.current().sequence().0 - 1000);
    bencher
        .counter(ItemsCount::new(1000_usize))
        .with_inputs(|| filled.store.feed(from))
        .bench_local_values(|mut feed| {
            let chunk = feed.next_chunk(None, 1000).unwrap();
            assert_eq!(chunk.lines.len(), 1000);
        });
}

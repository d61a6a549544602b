//! Figures of a store: `cargo run --release -p store --example measure [MAILBOXES] [DIRECTORY]`.
//! A directory that a run has filled is only opened, so that memory is that of the list.
//!
//! *Open for reading* ends when the list can be served, *history complete* when feeds can resume from
//! as far back as the history is kept; both count from the same moment.

#![expect(clippy::print_stdout, reason = "it is there to print figures")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use proto::{Acl, Edit, EditKind, Location, MailboxName};
use store::{AsTold, Batch, Origin, OsFileSystem, Store, StoreConfig};

/// Edits of one batch, as of a backend that pipelines.
const BATCH: u64 = 200;
/// Backends at once.
const BACKENDS: u64 = 4;
/// Folders of a user.
const FOLDERS: u64 = 12;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mailboxes = arguments.next().map_or(Ok(500_000), |n| n.parse())?;
    let scratch = tempfile::tempdir()?;
    let dir = arguments
        .next()
        .map_or_else(|| scratch.path().to_owned(), PathBuf::from);
    let config = StoreConfig::default();
    if dir.join("lock").exists() {
        read_snapshot(&dir)?;
        let short = StoreConfig {
            history_changes_max: 0,
            ..config.clone()
        };
        start(&dir, &short, "start without history").await?;
        return start(&dir, &config, "start with history").await;
    }

    let (store, _) = open(&dir, &config)?;
    let took = load(&store, mailboxes, |i| i).await?;
    println!("load in name order: {:.0} edits/s", rate(mailboxes, took));
    let random = move |i: u64| i.wrapping_mul(0x9E37_79B9_7F4A_7C15) % mailboxes;
    let took = load(&store, mailboxes, random).await?;
    println!(
        "edits of random names: {:.0} edits/s",
        rate(mailboxes, took)
    );
    let began = Instant::now();
    for i in 0..1000 {
        store.edit(batch(i..i + 1, |i| i)?).await?;
    }
    println!(
        "one edit after another: {:.3} ms",
        began.elapsed().as_secs_f64()
    );
    scan(&store);
    let began = Instant::now();
    let mut feed = store.feed(store.current().history().start());
    let mut lines = 0;
    while feed.position() < store.current().sequence() {
        lines += feed.next_chunk(None, 1000)?.lines.len();
    }
    println!(
        "feed of {lines} lines: {:.3} s",
        began.elapsed().as_secs_f64()
    );
    println!("resident with the full history: {} MiB", resident() >> 20);
    drop(feed);
    let began = Instant::now();
    store.shutdown().await;
    println!(
        "shutdown with a snapshot: {:.3} s",
        began.elapsed().as_secs_f64()
    );

    Ok(())
}

/// Reads the newest snapshot's file from its begin to its end: no start can be faster.
fn read_snapshot(dir: &Path) -> Result<(), Box<dyn Error>> {
    let mut snapshots = Vec::new();
    for file in std::fs::read_dir(dir)? {
        let path = file?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("snapshot.") {
            snapshots.push(path);
        }
    }
    let newest = snapshots.iter().max().ok_or("there is no snapshot")?;
    let began = Instant::now();
    let octets = std::io::copy(&mut std::fs::File::open(newest)?, &mut std::io::sink())?;
    println!(
        "sequential read of the snapshot, {octets} octets: {:.3} s",
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

async fn start(dir: &Path, config: &StoreConfig, what: &str) -> Result<(), Box<dyn Error>> {
    let before = resident();
    let worked = processor();
    let began = Instant::now();
    let (store, report) = open(dir, config)?;
    let opened = began.elapsed().as_secs_f64();
    let worked = processor() - worked;
    let grown = resident().saturating_sub(before);
    store.history_complete().wait_for(|&done| done).await?;
    let complete = began.elapsed().as_secs_f64();
    let with_history = resident().saturating_sub(before);
    let version = store.current();
    let entries = u64::try_from(version.len())?.max(1);
    println!(
        "{what}: open for reading {opened:.3} s ({worked:.2} s of processors), {} octets an entry, {} groups replayed",
        grown / entries,
        report.replayed_groups,
    );
    println!(
        "{what}: history complete {complete:.3} s, {} octets an entry, {} changes held",
        with_history / entries,
        version.history().len(),
    );
    drop(version);
    scan(&store);
    store.shutdown().await;
    Ok(())
}

fn open(dir: &Path, config: &StoreConfig) -> Result<(Store, store::OpenReport), store::OpenError> {
    Store::open(OsFileSystem, dir, config.clone(), Box::new(AsTold))
}

async fn load(
    store: &Store,
    mailboxes: u64,
    which: impl Fn(u64) -> u64 + Copy + Send + 'static,
) -> Result<f64, Box<dyn Error>> {
    let began = Instant::now();
    let mut backends = Vec::new();
    for backend in 0..BACKENDS {
        let store = store.clone();
        let mut first = backend * BATCH;
        backends.push(tokio::spawn(async move {
            while first < mailboxes {
                let numbers = first..(first + BATCH).min(mailboxes);
                let batch = batch(numbers, which).map_err(|error| error.to_string())?;
                store.edit(batch).await.map_err(|error| error.to_string())?;
                first += BATCH * BACKENDS;
            }
            Ok::<(), String>(())
        }));
    }
    for backend in backends {
        backend.await??;
    }
    Ok(began.elapsed().as_secs_f64())
}

fn batch(
    numbers: std::ops::Range<u64>,
    which: impl Fn(u64) -> u64,
) -> Result<Batch, Box<dyn Error>> {
    let edit = |i: u64| {
        let (user, folder) = (which(i) / FOLDERS, which(i) % FOLDERS);
        let name = if folder == 0 {
            format!("user.u{user:07}")
        } else {
            format!("user.u{user:07}.Projects.{}", 2010 + folder)
        };
        let location = format!("backend{}.test!default", user % 8);
        let acl = format!("u{user:07}\tlrswipkxtecda\t");
        Ok::<Edit, Box<dyn Error>>(Edit {
            mailbox: MailboxName::try_from(name.as_bytes())?,
            kind: EditKind::Activate {
                location: Location::try_from(location.as_bytes())?,
                acl: Acl::try_from(acl.as_bytes())?,
            },
        })
    };
    Ok(Batch {
        origin: Origin {
            identity: Arc::from("backend1"),
            peer: Arc::from("127.0.0.1:4711"),
        },
        edits: numbers.map(edit).collect::<Result<_, _>>()?,
    })
}

/// All entries, about as they would be sent.
fn scan(store: &Store) {
    let version = store.current();
    let began = Instant::now();
    let mut page = Vec::new();
    let mut octets = 0;
    for (name, stored) in version.iter() {
        page.extend_from_slice(b"U01 MAILBOX \"");
        name.write_to(&mut page);
        page.extend_from_slice(b"\" \"");
        page.extend_from_slice(stored.entry.location().as_bytes());
        page.extend_from_slice(b"\" \"");
        page.extend_from_slice(stored.entry.acl().map(Acl::as_bytes).unwrap_or_default());
        page.extend_from_slice(b"\"\r\n");
        if page.len() > 1 << 16 {
            octets += page.len();
            page.clear();
        }
    }
    let took = began.elapsed().as_secs_f64();
    println!(
        "scan of {} entries, {octets} octets: {took:.3} s",
        version.len()
    );
}

fn rate(edits: u64, seconds: f64) -> f64 {
    f64::from(u32::try_from(edits).unwrap_or(u32::MAX)) / seconds
}

/// Processor time that all threads of this process have had, in seconds: what a start costs, also
/// where others are at work.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 14 and 15, in hundredths of a second; the second field, in brackets, may hold spaces.
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    let ticks = fields.split(' ').skip(11).take(2);
    ticks.filter_map(|n| n.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Resident memory of this process, in octets.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() << 10
}

//! How long an export takes: `measure [MAILBOXES]`, in a temporary directory.

use std::error::Error;
use std::io::{Write, stdout};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cyrusdb::mailboxes::KeyStyle;
use cyrusdb::twoskip::{Database, Options};
use exporter::{Exporter, ExporterConfig, StyleSetting};
use proto::{Acl, Edit, EditKind, Location, MailboxName};
use store::{AsTold, Batch, Origin, OsFileSystem, Sequence, Store, StoreConfig};

type Failure = Box<dyn Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let count = std::env::args()
        .nth(1)
        .map_or(Ok(100_000), |count| count.parse())?;
    let dir = tempfile::tempdir()?;
    let opened = Store::open(
        OsFileSystem,
        &dir.path().join("store"),
        StoreConfig::default(),
        Box::new(AsTold),
    );
    let store = opened?.0;
    fill(&store, count).await?;
    let file = dir.path().join("mailboxes.db");
    let mut config = ExporterConfig::new(&file, dir.path().join("state"));
    config.style = StyleSetting::Fixed(KeyStyle::ByName);

    let stop = Arc::new(AtomicBool::new(false));
    let reader = longest_read(&file, &stop);
    run("into an empty file", &store, &config).await?;
    stop.store(true, Ordering::Relaxed);
    let longest = reader.join().map_err(|_| "reader panicked")?;
    say(&format!("longest wait of a reader meanwhile: {longest:?}"))?;
    run("restart, unchanged", &store, &config).await?;
    std::fs::remove_file(&config.state_file)?;
    run(
        "restart without state, all compared, nothing differs",
        &store,
        &config,
    )
    .await?;

    let exporter = Exporter::start(store.clone(), config.clone())?;
    let mut longest = Duration::ZERO;
    let started = Instant::now();
    let rounds = 1000;
    for number in 0..rounds {
        let changed = Instant::now();
        let sequence = edit(&store, vec![mailbox(number, 9)?]).await?;
        exporter.wait_for(sequence, Duration::from_mins(1)).await;
        longest = longest.max(changed.elapsed());
    }
    let mean = started.elapsed() / rounds;
    say(&format!(
        "a change until it is in the file: {mean:?}, at most {longest:?}"
    ))?;
    exporter.shutdown().await;
    Ok(())
}

async fn run(what: &str, store: &Store, config: &ExporterConfig) -> Result<(), Failure> {
    let started = Instant::now();
    let exporter = Exporter::start(store.clone(), config.clone())?;
    exporter.ready().wait_for(|&ready| ready).await?;
    let took = started.elapsed();
    exporter.shutdown().await;
    let bytes = std::fs::metadata(&config.mailboxes_db)?.len();
    say(&format!("{what}: {took:?}, {bytes} bytes"))
}

/// Looks up a key again and again, as a proxy does.
fn longest_read(file: &Path, stop: &Arc<AtomicBool>) -> thread::JoinHandle<Duration> {
    let (file, stop) = (file.to_owned(), Arc::clone(stop));
    thread::spawn(move || {
        let mut longest = Duration::ZERO;
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
            let Ok(mut database) = Database::open_path(&file, Options::read_only()) else {
                continue;
            };
            let started = Instant::now();
            if database.get(b"Nuser\x1fu0000000").is_ok() {
                longest = longest.max(started.elapsed());
            }
        }
        longest
    })
}

async fn fill(store: &Store, count: u32) -> Result<(), Failure> {
    let numbers: Vec<u32> = (0..count).collect();
    for portion in numbers.chunks(5000) {
        let edits: Result<Vec<Edit>, Failure> = portion.iter().map(|&n| mailbox(n, 1)).collect();
        edit(store, edits?).await?;
    }
    Ok(())
}

async fn edit(store: &Store, edits: Vec<Edit>) -> Result<Sequence, Failure> {
    let origin = Origin {
        identity: Arc::from("measure"),
        peer: Arc::from("-"),
    };
    let answers = store.edit(Batch { origin, edits }).await?;
    let last = answers.into_iter().next_back().ok_or("no answer")?;
    Ok(last?.sequence)
}

fn mailbox(number: u32, server: u32) -> Result<Edit, Failure> {
    let user = format!("u{:07}", number / 5);
    let folder = ["", ".Drafts", ".Sent", ".Trash", ".Archive"];
    let folder = folder
        .get(usize::try_from(number % 5)?)
        .copied()
        .unwrap_or_default();
    let acl = format!("{user}\tlrswipkxtecda\tadmin\tlrswipkxtecda\t");
    Ok(Edit {
        mailbox: MailboxName::try_from(format!("user.{user}{folder}").as_bytes())?,
        kind: EditKind::Activate {
            location: Location::try_from(format!("b{server}.example.com!default").as_bytes())?,
            acl: Acl::try_from(acl.as_bytes())?,
        },
    })
}

fn say(text: &str) -> Result<(), Failure> {
    Ok(writeln!(stdout(), "{text}")?)
}

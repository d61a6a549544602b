//! `mupdatectl db`: Cyrus's own database files.

mod progress;
mod window;

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Subcommand;
use cyrusdb::listing::{escape, unescape};
use cyrusdb::twoskip::{Check, Database, Header, Options, Progress};

use progress::Meter;
use window::Window;

const HELP: &str = "\
Works on any Cyrus database in twoskip format (the default since Cyrus 2.5): mailboxes.db, deliver.db,
annotations.db, conversations and so on, while Cyrus is using it. Files of other formats are named,
together with what to do.

Run it as the user who owns the files (usually cyrus), or as root.

Examples:
  mupdatectl db check /var/lib/cyrus/mailboxes.db
  mupdatectl db show /var/lib/cyrus/mailboxes.db --prefix 'Nuser\\x1famy'
  mupdatectl db get /var/lib/cyrus/mailboxes.db 'Nuser\\x1famy'
  mupdatectl db checkpoint /var/lib/cyrus/deliver.db --window 02:00-05:00";

const CHECKPOINT_HELP: &str = "\
Readers and writers go on while the copy is made; they wait only for the moment of the swap. Disk space
for a second copy is needed beside the file.

Outside of the window nothing is done, which is not an error, so that a timer may call this as often as
it likes. If the window closes on the way, the copy is thrown away and the file stays as it was.";

/// How many pairs are read under one lock.
const PAGE_PAIRS: u64 = 1000;

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
    /// How long to wait for a lock that others hold.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, global = true)]
    wait: u64,
    /// No progress on standard error.
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Read every byte and follow every list: damage is named by its offset.
    Check {
        /// The database file.
        file: PathBuf,
    },
    /// Print keys and values in order, KEY<TAB>VALUE, other bytes than 0x20-0x7e as \xNN.
    Show {
        /// The database file.
        file: PathBuf,
        /// Only keys that begin so, with \xNN for other bytes.
        #[arg(long)]
        prefix: Option<String>,
    },
    /// Print the value of one key.
    Get {
        /// The database file.
        file: PathBuf,
        /// The key, with \xNN for other bytes.
        key: String,
    },
    /// Write all records in order into a new file and put it in place, without making anybody wait.
    #[command(after_help = CHECKPOINT_HELP)]
    Checkpoint {
        /// The database file.
        file: PathBuf,
        /// Only between these times of the day, local time.
        #[arg(long, value_name = "HH:MM-HH:MM")]
        window: Option<Window>,
    },
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let open = |file: &Path, options: Options| {
        let lock_wait_max = Duration::from_secs(args.wait);
        Database::open_path(
            file,
            Options {
                lock_wait_max,
                ..options
            },
        )
    };
    let meter = Meter::new(args.quiet);
    let (file, done) = match &args.action {
        Action::Check { file } => {
            let database = open(file, Options::read_only());
            (
                file,
                database
                    .map_err(Into::into)
                    .and_then(|mut database| check(&mut database, meter)),
            )
        }
        Action::Show { file, prefix } => {
            let database = open(file, Options::read_only());
            let prefix = prefix.as_deref().unwrap_or_default();
            (
                file,
                database
                    .map_err(Into::into)
                    .and_then(|mut database| show(&mut database, prefix)),
            )
        }
        Action::Get { file, key } => {
            let database = open(file, Options::read_only());
            (
                file,
                database
                    .map_err(Into::into)
                    .and_then(|mut database| get(&mut database, key)),
            )
        }
        Action::Checkpoint { file, window } => {
            if let Some(window) = window.as_ref().filter(|window| !window.is_open()) {
                let out = writeln!(io::stdout(), "outside of {window}, nothing done");
                return Ok(out?);
            }
            let database = open(file, Options::default());
            let window = window.as_ref();
            let run = |mut database: Database| checkpoint(&mut database, window, meter);
            (file, database.map_err(Into::into).and_then(run))
        }
    };
    match done {
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        other => other.with_context(|| file.display().to_string()),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn check(database: &mut Database, mut meter: Meter) -> anyhow::Result<()> {
    let check = database.check(|done, of| meter.show("checked", done, of, "bytes"))?;
    meter.end();
    let mut out = io::stdout();
    let Some(header) = check.header else {
        return Ok(writeln!(
            out,
            "empty: whoever opens it first makes it a database"
        )?);
    };
    write_check(&mut out, &check, &header)?;
    for fault in &check.faults {
        writeln!(out, "damaged at offset {:#x}: {}", fault.offset, fault.what)?;
    }
    if check.faults.is_empty() {
        writeln!(out, "sound")?;
        return Ok(());
    }
    bail!("{} places are damaged", check.faults.len())
}

fn write_check(out: &mut impl Write, check: &Check, header: &Header) -> anyhow::Result<()> {
    let totals = &check.totals;
    writeln!(
        out,
        "generation {}, {} bytes",
        header.generation, header.committed
    )?;
    writeln!(
        out,
        "{} keys; log of {} records, {} deletions, {} transactions",
        totals.live, totals.records, totals.deletions, totals.commits
    )?;
    if !check.clean {
        writeln!(
            out,
            "unclean: a writer died; whoever uses it next brings it back to the last commit"
        )?;
    }
    Ok(())
}

fn show(database: &mut Database, prefix: &str) -> anyhow::Result<()> {
    let prefix = unescape(prefix).context("prefix")?;
    let mut out = io::stdout();
    let mut after: Option<Vec<u8>> = None;
    loop {
        // Printed only after the lock is let go: the reader of our output may be a slow one.
        let mut lines = String::new();
        let mut reading = database.read()?;
        let pairs_max = if reading.is_clean() {
            PAGE_PAIRS
        } else {
            u64::MAX
        };
        let (mut seen, mut ended, mut last) = (0, true, None);
        let start = after.as_deref().or_else(|| before_prefix(&prefix));
        reading.walk(start, |key, value| {
            seen += 1;
            if key.starts_with(&prefix) {
                escape(key, &mut lines);
                lines.push('\t');
                escape(value, &mut lines);
                lines.push('\n');
            } else if key > prefix.as_slice() {
                return false;
            }
            last = Some(key.to_vec());
            ended = seen < pairs_max;
            ended
        })?;
        drop(reading);
        out.write_all(lines.as_bytes())?;
        if ended {
            return Ok(());
        }
        after = last;
    }
}

/// A key before all that begin with the prefix, near to them.
fn before_prefix(prefix: &[u8]) -> Option<&[u8]> {
    let (_, shorter) = prefix.split_last()?;
    (!shorter.is_empty()).then_some(shorter)
}

fn get(database: &mut Database, key: &str) -> anyhow::Result<()> {
    let value = database.get(&unescape(key).context("key")?)?;
    let value = value.with_context(|| format!("no key {key}"))?;
    let mut line = String::new();
    escape(&value, &mut line);
    writeln!(io::stdout(), "{line}")?;
    Ok(())
}

fn checkpoint(
    database: &mut Database,
    window: Option<&Window>,
    mut meter: Meter,
) -> anyhow::Result<()> {
    let mut out = io::stdout();
    if database.is_in_order()? {
        return Ok(writeln!(out, "all in order already, nothing done")?);
    }
    let done = database.checkpoint(|progress| {
        match progress {
            Progress::Copying { copied, of } => meter.show("copied", copied, of, "keys"),
            Progress::Replaying { bytes, .. } => meter.show("to follow", bytes, bytes, "bytes"),
            Progress::Swapping => {}
        }
        match window {
            Some(window) if !window.is_open() => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    meter.end();
    let done = done.context("checkpoint")?;
    writeln!(
        out,
        "{} keys, {} bytes before, {} after, generation {}; others waited at most {:.1} ms",
        done.records,
        done.bytes_before,
        done.bytes_after,
        done.generation,
        done.locked_for.as_secs_f64() * 1000.0
    )?;
    database.retire();
    Ok(())
}

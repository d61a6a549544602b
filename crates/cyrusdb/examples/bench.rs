//! Figures of this crate beside Cyrus's own programs, on files of one run:
//!
//! ```text
//! cargo run --release -p cyrusdb --example bench -- [--records 500000] [--dir DIR]
//! ```

use std::error::Error;
use std::fs;
use std::io::{BufWriter, Write, stdout};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use cyrusdb::mailboxes::{KeyStyle, Naming, Record};
use cyrusdb::twoskip::{Database, Options};
use proto::{Acl, Entry, Location, MailboxName};

type Failure = Box<dyn Error + Send + Sync>;
type Pairs = [(Vec<u8>, Vec<u8>)];

const CYR_BIN: &str = "/usr/lib/cyrus/bin";
/// Between two transactions of the writer.
const WRITER_PAUSE: Duration = Duration::from_millis(2);
const MODIFIED: u64 = 1_795_300_713;

/// Load, walk and checkpoint beside `cyr_dbtool` and `ctl_mboxlist`.
#[derive(Parser)]
struct Args {
    /// How many mailboxes.
    #[arg(long, default_value_t = 500_000)]
    records: usize,
    /// Records of one transaction when loading.
    #[arg(long, default_value_t = 1000)]
    batch: usize,
    /// Where to put the files; a temporary directory otherwise.
    #[arg(long)]
    dir: Option<PathBuf>,
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let temporary = tempfile::tempdir()?;
    let dir = args.dir.as_deref().unwrap_or_else(|| temporary.path());
    let conf = configure(dir)?;
    let pairs = pairs(args.records)?;
    say(&format!(
        "{} records, transactions of {}",
        args.records, args.batch
    ))?;
    let ours = dir.join("ours.db");
    let theirs = dir.join("conf/mailboxes.db");

    let mut database = Database::open_path(&ours, Options::create())?;
    timed("load, ours", || load(&mut database, &pairs, args.batch))?;
    let input = dir.join("input");
    write_input(&input, &pairs)?;
    timed("load, cyr_dbtool set, one transaction", || {
        let mut command = dbtool(&conf, &theirs, &["-T"], "set");
        run(command.stdin(fs::File::open(&input)?))
    })?;

    let mut count = 0;
    timed("ordered walk in pages of 1000, ours", || {
        count = walk(&mut database)?;
        Ok(())
    })?;
    timed("ordered walk under one lock, ours", || {
        database.read()?.walk(None, |_, _| true)?;
        Ok(())
    })?;
    if count != args.records {
        return Err(format!("{count} records found").into());
    }
    timed("cyr_dbtool show, same file", || {
        run(&mut dbtool(&conf, &ours, &[], "show"))
    })?;
    timed("ctl_mboxlist -d, cyr_dbtool's file", || {
        run(Command::new(format!("{CYR_BIN}/ctl_mboxlist"))
            .arg("-C")
            .arg(&conf)
            .arg("-d"))
    })?;
    timed("check, ours", || {
        let faults = database.check(|_, _| {})?.faults;
        if faults.is_empty() {
            Ok(())
        } else {
            Err(format!("{faults:?}").into())
        }
    })?;
    timed("cyr_dbtool consistent, same file", || {
        run(&mut dbtool(&conf, &ours, &[], "consistent"))
    })?;

    checkpoints(&mut database, &conf, &ours, &pairs)
}

/// Checkpoints with a reader beside them, and Cyrus's own of the same content.
fn checkpoints(
    database: &mut Database,
    conf: &Path,
    ours: &Path,
    pairs: &Pairs,
) -> Result<(), Failure> {
    let copy = ours.with_file_name("repack.db");
    fs::copy(ours, &copy)?;
    let idle = || {
        std::thread::sleep(Duration::from_secs(2));
        Ok(())
    };
    waits("nothing, for comparison", ours, pairs, idle)?;
    with_writer(ours, pairs, || {
        waits("nothing, beside a writer", ours, pairs, idle)
    })?;
    let mut locked_for = Duration::ZERO;
    waits("checkpoint, ours", ours, pairs, || {
        locked_for = database
            .checkpoint(|_| ControlFlow::Continue(()))?
            .locked_for;
        Ok(())
    })?;
    say(&format!(
        "    lock held for the swap: {:.1} ms",
        millis(locked_for)
    ))?;
    let mut under_writes = locked_for;
    with_writer(ours, pairs, || {
        waits("checkpoint, ours, beside a writer", ours, pairs, || {
            let report = database.checkpoint(|_| ControlFlow::Continue(()))?;
            under_writes = report.locked_for;
            say(&format!("    changes replayed: {}", report.replayed))
        })
    })?;
    say(&format!(
        "    lock held for the swap: {:.1} ms",
        millis(under_writes)
    ))?;
    waits("cyr_dbtool repack", &copy, pairs, || {
        run(&mut dbtool(conf, &copy, &[], "repack"))
    })
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn say(line: &str) -> Result<(), Failure> {
    Ok(writeln!(stdout(), "{line}")?)
}

fn timed(what: &str, act: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let started = Instant::now();
    act()?;
    say(&format!("{what}: {:.2} s", started.elapsed().as_secs_f64()))
}

/// Does something while a reader asks for one key after another, about once a millisecond, and says
/// how long that had to wait at most.
fn waits(
    what: &str,
    file: &Path,
    pairs: &Pairs,
    act: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let stop = AtomicBool::new(false);
    let (longest, count) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_until(file, pairs, &stop));
        let done = timed(what, act);
        stop.store(true, Ordering::Relaxed);
        let waited = reader.join().map_err(|_| "the reader panicked")?;
        done.and(waited)
    })?;
    say(&format!(
        "    longest wait of a reader: {:.1} ms ({count} lookups)",
        millis(longest)
    ))
}

fn read_until(file: &Path, pairs: &Pairs, stop: &AtomicBool) -> Result<(Duration, usize), Failure> {
    let mut database = Database::open_path(file, Options::default())?;
    let (mut longest, mut count) = (Duration::ZERO, 0);
    for (key, _) in pairs.iter().cycle().step_by(7919) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let started = Instant::now();
        database.read()?;
        longest = longest.max(started.elapsed());
        database.get(key)?.ok_or("a key is missing")?;
        count += 1;
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok((longest, count))
}

/// Does something while a writer replaces one value after another, a transaction each.
fn with_writer(
    file: &Path,
    pairs: &Pairs,
    act: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<(), Failure> {
            let mut database = Database::open_path(file, Options::default())?;
            for (key, value) in pairs.iter().cycle().step_by(6007) {
                let value = [value, format!(" {:?}", Instant::now()).as_bytes()].concat();
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let mut transaction = database.write()?;
                transaction.put(key, &value)?;
                transaction.commit()?;
                // Cyrus does something else in between, too; without a pause nobody gets the lock.
                std::thread::sleep(WRITER_PAUSE);
            }
            Ok(())
        });
        let done = act();
        stop.store(true, Ordering::Relaxed);
        let wrote = writer.join().map_err(|_| "the writer panicked")?;
        done.and(wrote)
    })
}

fn load(database: &mut Database, pairs: &Pairs, batch: usize) -> Result<(), Failure> {
    for batch in pairs.chunks(batch) {
        let mut transaction = database.write()?;
        for (key, value) in batch {
            transaction.put(key, value)?;
        }
        transaction.commit()?;
    }
    Ok(())
}

fn walk(database: &mut Database) -> Result<usize, Failure> {
    let (mut after, mut count) = (None::<Vec<u8>>, 0);
    loop {
        let page = database.page(after.as_deref(), 1000)?;
        let Some(last) = page.last() else {
            return Ok(count);
        };
        count += page.len();
        after = Some(last.key().to_vec());
    }
}

/// Mailboxes of users with five folders each, in an order that is not the keys'.
fn pairs(count: usize) -> Result<Box<Pairs>, Failure> {
    let naming = Naming::new(KeyStyle::ByName);
    let folders = ["", ".Archive", ".Drafts", ".Sent", ".Trash"];
    let users = count.div_ceil(folders.len());
    let mut pairs = Vec::with_capacity(count);
    for (number, folder) in (0..users)
        .flat_map(|user| folders.map(|folder| (user, folder)))
        .take(count)
    {
        // A stride without a common divisor visits every user once.
        let user = number * 611_953 % users.max(1);
        let name = MailboxName::try_from(format!("user.u{user:07}{folder}").as_bytes())?;
        let entry = Entry::Active {
            location: Location::try_from(
                format!("backend{}.example.com!default", user % 20).as_bytes(),
            )?,
            acl: Acl::try_from(format!("u{user:07}\tlrswipkxtecda\t").as_bytes())?,
        };
        pairs.push((
            naming.key(&name),
            Record::encode(KeyStyle::ByName, &entry, MODIFIED),
        ));
    }
    Ok(pairs.into())
}

fn write_input(path: &Path, pairs: &Pairs) -> Result<(), Failure> {
    let mut file = BufWriter::new(fs::File::create(path)?);
    for (key, value) in pairs {
        for part in [key.as_slice(), b"\t", value, b"\n"] {
            file.write_all(part)?;
        }
    }
    Ok(file.flush()?)
}

fn configure(dir: &Path) -> Result<PathBuf, Failure> {
    for sub in ["conf/db", "conf/lock", "conf/proc", "conf/socket"] {
        fs::create_dir_all(dir.join(sub))?;
    }
    let id = |flag| -> Result<String, Failure> {
        let output = Command::new("id").arg(flag).output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let (at, user, group) = (dir.display(), id("-un")?, id("-gn")?);
    let conf = dir.join("imapd.conf");
    let text = format!(
        "configdirectory: {at}/conf\ndefaultpartition: default\npartition-default: {at}\n\
         cyrus_user: {user}\ncyrus_group: {group}\n"
    );
    fs::write(&conf, text)?;
    Ok(conf)
}

fn dbtool(conf: &Path, file: &Path, flags: &[&str], action: &str) -> Command {
    let mut command = Command::new(format!("{CYR_BIN}/cyr_dbtool"));
    command.arg("-C").arg(conf).args(flags);
    if !file.exists() {
        command.arg("-n");
    }
    command.arg(file).args(["twoskip", action]);
    command
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let status = command.stdout(Stdio::null()).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{command:?}: {status}").into())
    }
}

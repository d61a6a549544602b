//! One of the processes that use a file at the same time: see `tests/concurrent.rs`.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Write, stdout};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use cyrusdb::twoskip::{Database, Options};

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [file, "write", name, count] => write(&mut open(file)?, name, count.parse()?),
        [file, "read", base, stop] => read(&mut open(file)?, base.parse()?, Path::new(stop)),
        [file, "checkpoint", stop] => checkpoint(&mut open(file)?, Path::new(stop)),
        _ => Err("FILE write NAME COUNT | read BASE STOP | checkpoint STOP".into()),
    }
}

fn open(file: &str) -> Result<Database, Failure> {
    Ok(Database::open_path(Path::new(file), Options::default())?)
}

/// Transactions on keys of its own; prints what should be there in the end.
fn write(database: &mut Database, name: &str, count: u32) -> Result<(), Failure> {
    let mut own = BTreeMap::new();
    for number in 0..count {
        let key = format!("user.{:03}.{name}", rand::random::<u8>());
        let before = own.clone();
        let mut transaction = database.write()?;
        if rand::random_ratio(1, 4) {
            let there = own.remove(&key).is_some();
            if transaction.delete(key.as_bytes())? != there {
                return Err(format!("{key} was lost or came back").into());
            }
        } else {
            let value = format!("{number} {}", "x".repeat(rand::random::<u8>().into()));
            transaction.put(key.as_bytes(), value.as_bytes())?;
            own.insert(key, value);
        }
        if rand::random_ratio(1, 50) {
            transaction.abort();
            own = before;
        } else {
            transaction.commit()?;
        }
    }
    let mut out = stdout().lock();
    for (key, value) in own {
        writeln!(out, "{key}\t{value}")?;
    }
    Ok(())
}

/// Lists everything again and again, in pages and at once.
fn read(database: &mut Database, base: usize, stop: &Path) -> Result<(), Failure> {
    let mut listings = 0;
    while !stop.exists() {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        if listings % 2 == 0 {
            while let page = database.page(keys.last().map(Vec::as_slice), 500)?
                && !page.is_empty()
            {
                keys.extend(page.iter().map(|pair| pair.key().to_vec()));
            }
        } else {
            database.read()?.walk(None, |key, _| {
                keys.push(key.to_vec());
                true
            })?;
        }
        let bases = keys.iter().filter(|key| key.ends_with(b".base")).count();
        if bases != base || !keys.is_sorted_by(|one, other| one < other) {
            return Err(format!("bad listing of {} keys, {bases} of {base}", keys.len()).into());
        }
        listings += 1;
    }
    writeln!(stdout(), "{listings}")?;
    Ok(())
}

fn checkpoint(database: &mut Database, stop: &Path) -> Result<(), Failure> {
    let (mut done, mut replayed) = (0, 0);
    while !stop.exists() {
        match database.checkpoint(|_| ControlFlow::Continue(())) {
            Ok(report) => {
                done += 1;
                replayed += report.replayed;
            }
            // The other repacking was faster.
            Err(cyrusdb::Error::Replaced) => {}
            Err(error) => return Err(error.into()),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    writeln!(stdout(), "{done} {replayed}")?;
    Ok(())
}

//! Any octets as a twoskip file: opened, read, checked, recovered, written to and checkpointed, never
//! with a panic, and never with a listing out of order. Some inputs get right checksums first, so that
//! what is behind them is reached.

#![no_main]

use std::cell::RefCell;
use std::io;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use cyrusdb::Error;
use cyrusdb::dlist;
use cyrusdb::file::{Disk, File, FileId};
use cyrusdb::lock::LockKind;
use cyrusdb::mailboxes::{KeyStyle, Naming, Record};
use cyrusdb::twoskip::{Database, Options};
use libfuzzer_sys::fuzz_target;

type Bytes = Rc<RefCell<Vec<u8>>>;

/// A file in memory, and a checkpoint's temporary one.
#[derive(Debug, Clone)]
struct Memory {
    file: Rc<RefCell<Held>>,
    temporary: Rc<RefCell<Option<Held>>>,
}

#[derive(Debug, Clone)]
struct Held {
    bytes: Bytes,
    inode: u64,
}

impl File for Held {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.borrow().len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.bytes.borrow();
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let count = into.len().min(bytes.len() - start);
        into[..count].copy_from_slice(&bytes[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, new: &[u8]) -> io::Result<()> {
        let mut bytes = self.bytes.borrow_mut();
        let start = usize::try_from(offset).unwrap();
        let end = start + new.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(new);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes
            .borrow_mut()
            .resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Disk for Memory {
    type File = Held;

    fn open(&self) -> io::Result<Held> {
        Ok(self.file.borrow().clone())
    }

    fn id(&self, file: &Held) -> io::Result<FileId> {
        let inode = file.inode;
        Ok(FileId { device: 0, inode })
    }

    fn id_in_place(&self) -> io::Result<FileId> {
        self.id(&self.file.borrow())
    }

    fn lock(&self, _: &Held, _: LockKind, _: Duration) -> io::Result<bool> {
        Ok(true)
    }

    fn unlock(&self, _: &Held) -> io::Result<()> {
        Ok(())
    }

    fn temporary(&self, like: &Held) -> io::Result<Option<Held>> {
        let inode = like.inode + 1;
        let bytes = Bytes::default();
        let held = Held { bytes, inode };
        *self.temporary.borrow_mut() = Some(held.clone());
        Ok(Some(held))
    }

    fn replace(&self) -> io::Result<()> {
        *self.file.borrow_mut() = self.temporary.borrow_mut().take().unwrap();
        Ok(())
    }

    fn remove_temporary(&self, _: &Held) -> io::Result<()> {
        Ok(())
    }
}

/// The listing, which must be in order.
fn list(database: &mut Database<Memory>) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    database.read()?.walk(None, |key, value| {
        assert!(pairs.last().is_none_or(|(last, _)| last.as_slice() < key));
        pairs.push((key.to_vec(), value.to_vec()));
        true
    })?;
    Ok(pairs)
}

fn open(input: &[u8], options: Options) -> Result<Database<Memory>, Error> {
    let bytes = Rc::new(RefCell::new(input.to_vec()));
    let file = Rc::new(RefCell::new(Held { bytes, inode: 1 }));
    let temporary = Rc::default();
    Database::open(Memory { file, temporary }, options)
}

fn exercise(input: &[u8]) -> Result<(), Error> {
    let mut database = open(input, Options::read_only())?;
    let before = list(&mut database);
    let check = database.check(|_, _| {});
    let mut database = open(input, Options::default())?;
    if let (Ok(before), Ok(after)) = (before, list(&mut database)) {
        assert_eq!(before, after, "recovery changes nothing that was committed");
        if check.is_ok_and(|check| check.faults.is_empty()) {
            for (key, value) in &before {
                assert_eq!(database.get(key)?.as_ref(), Some(value));
            }
            database.checkpoint(|_| ControlFlow::Continue(()))?;
            assert_eq!(list(&mut database)?, before, "a checkpoint keeps all");
        }
    }
    let mut transaction = database.write()?;
    transaction.put(b"Nuser\x1fx", b"y")?;
    transaction.delete(b"Nuser\x1fuser001")?;
    transaction.commit()?;
    list(&mut database)?;
    Ok(())
}

/// Right checksums for the header and for what looks like a record on the way through the file.
fn repair(input: &[u8]) -> Vec<u8> {
    let mut file = input.to_vec();
    let seal = |file: &mut Vec<u8>, from: usize, to: usize, at: usize| {
        if at + 4 <= file.len() && from <= to && to <= file.len() {
            let crc = crc32fast::hash(&file[from..to]).to_be_bytes();
            file[at..at + 4].copy_from_slice(&crc);
        }
    };
    let magic = b"\xa1\x02\x8b\x0dtwoskip file\0\0\0\0\0\0\0\x01";
    if file.len() >= magic.len() {
        file[..magic.len()].copy_from_slice(magic);
    }
    let mut at = 64;
    while at + 24 <= file.len() {
        if &file[at..at + 8] == b" BLANK\x07\xa0" {
            at += 8;
            continue;
        }
        let level = usize::from(file[at + 1] % 32);
        let key = usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
        let value =
            usize::try_from(u32::from_be_bytes(file[at + 4..at + 8].try_into().unwrap())).unwrap();
        let head = 8 + 8 * (level + 1);
        let body = at + head + 8;
        let end = body.saturating_add((key.saturating_add(value)).next_multiple_of(8));
        seal(&mut file, body, end, at + head + 4);
        seal(&mut file, at, at + head, at + head);
        at = end;
    }
    seal(&mut file, 0, 60, 60);
    file
}

fuzz_target!(|input: &[u8]| {
    // Errors are answers; only panics and wrong answers are findings.
    exercise(input).ok();
    exercise(&repair(input)).ok();
    if let Ok(pairs) = dlist::parse(input) {
        assert!(input.starts_with(b"%("), "{pairs:?}");
    }
    for style in [KeyStyle::Plain, KeyStyle::ByName] {
        Naming::new(style).meaning(input);
        if let Ok(entry) = Record::parse(input).and_then(|record| record.entry()) {
            let value = Record::encode(style, &entry, 1);
            assert!(Record::parse(&value).unwrap().says(&entry));
        }
    }
});

//! Reading a committed state without a lock, and the batches that a checkpoint reads so (format
//! document, section 6).

use std::collections::BTreeSet;
use std::time::Duration;

use super::cursor::{Log, Order, Records, advance, seek};
use super::database::Database;
use super::header::{DUMMY_AT, Header};
use super::read::Pair;
use super::record::{Kind, LISTS, Record};
use crate::Error;
use crate::file::{Disk, File, FileId};

/// How often a batch is tried without a lock before it is read under one.
const TRIES_WITHOUT_LOCK: u32 = 7;
/// Pause before such a try, times the number of those before.
const PAUSE: Duration = Duration::from_micros(200);
/// Bounds of a batch, so that under writers some batches find a gap between commits.
const BATCH_PAIRS_MAX: usize = 1000;
const BATCH_BYTES_MAX: usize = 256 << 10;
/// How many changed keys are looked up at a time.
const KEYS_MAX: usize = 200;

impl<D: Disk> Database<D> {
    /// Reads what is consistent: nothing may be committed while `read` runs. Tried without a lock
    /// first, and if commits follow each other too fast, under a shared one. `id` is the file meant:
    /// places in one that was replaced say nothing about the other.
    ///
    /// A transaction that is under way does not matter: until it is committed, what was committed
    /// before stays readable (format document, section 2). `read` is told which attempt it is, to be
    /// content with less each time.
    pub(super) fn peek<T>(
        &mut self,
        id: FileId,
        mut read: impl FnMut(&mut Log<'_, D::File>, &Header, u32) -> Result<T, Error>,
    ) -> Result<(Header, T), Error> {
        for attempt in 0..TRIES_WITHOUT_LOCK {
            std::thread::sleep(PAUSE * attempt);
            self.pages.forget();
            let Ok(Some(before)) = Header::read(&self.file) else {
                continue;
            };
            let mut log = Log::new(&self.file, &mut self.pages, &before);
            let found = read(&mut log, &before, attempt);
            let Ok(Some(after)) = Header::read(&self.file) else {
                continue;
            };
            if (after.generation, after.committed) == (before.generation, before.committed) {
                match found {
                    Ok(found) => return Ok((before, found)),
                    // Damage, or a head caught while it was written: under the lock it shows.
                    Err(_) => break,
                }
            }
        }
        let (header, _) = self.lock_to_read()?;
        let same = self.file_id()? == id;
        let found = header
            .filter(|_| same)
            .ok_or(Error::Replaced)
            .and_then(|header| {
                let mut log = Log::new(&self.file, &mut self.pages, &header);
                let found = read(&mut log, &header, 0)?;
                Ok((header, found))
            });
        self.unlock();
        found
    }
}

/// Where a walk in batches is.
pub(super) struct Cursor {
    committed: u64,
    offset: u64,
    key: Vec<u8>,
}

/// The next pairs behind `cursor`, and where to go on; no cursor at the end.
pub(super) fn read_batch<F: File>(
    log: &mut Log<'_, F>,
    header: &Header,
    order: Order,
    cursor: Option<&Cursor>,
    attempt: u32,
) -> Result<(Vec<Pair>, Option<Cursor>), Error> {
    let mut record = Record::empty();
    match cursor {
        None => log.read(DUMMY_AT, &mut record)?,
        Some(cursor) if cursor.committed == header.committed => {
            log.read(cursor.offset, &mut record)?;
        }
        Some(cursor) => {
            let place = seek(log, order, Some(&cursor.key), LISTS)?;
            record = place.found.unwrap_or(place.last);
        }
    }
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while advance(log, order, &mut record)? {
        bytes += record.body.len();
        batch.push(Pair::of(&record));
        if batch.len() >= BATCH_PAIRS_MAX >> attempt || bytes >= BATCH_BYTES_MAX {
            let cursor = Cursor {
                committed: header.committed,
                offset: record.head.offset,
                key: record.key().to_vec(),
            };
            return Ok((batch, Some(cursor)));
        }
    }
    Ok((batch, None))
}

/// How a stretch of the key order looks now: what lies at and before a key that a commit has touched.
pub(super) struct State {
    /// The key; `None` for the end of all keys.
    pub(super) key: Option<Vec<u8>>,
    /// Its value, if it is there.
    pub(super) value: Option<Vec<u8>>,
    /// The key before it.
    pub(super) before: Option<Vec<u8>>,
}

/// Looks up what the log from `from` on has touched. Returns how far that went.
pub(super) fn read_changes<F: File>(
    log: &mut Log<'_, F>,
    order: Order,
    from: u64,
    attempt: u32,
) -> Result<(Vec<State>, u64), Error> {
    let mut touched = BTreeSet::new();
    let mut record = Record::empty();
    let mut at = from;
    while at < log.end && touched.len() < KEYS_MAX >> attempt {
        if log.is_filler(at)? {
            at += 8;
            continue;
        }
        let head = log.read_head(at)?;
        match (head.kind, head.only_link()) {
            (Kind::Record, _) => {
                log.read(at, &mut record)?;
                touched.insert(Some(record.key().to_vec()));
            }
            (Kind::Delete, 0) => {
                touched.insert(None);
            }
            (Kind::Delete, next) => {
                log.read(next, &mut record)?;
                touched.insert(Some(record.key().to_vec()));
            }
            (Kind::Commit, _) => {}
            (Kind::Dummy, _) => return Err(Error::corrupt(at, "DUMMY behind the start")),
        }
        at = head.end();
    }
    let states = touched.into_iter().map(|key| read_state(log, order, key));
    Ok((states.collect::<Result<_, _>>()?, at))
}

fn read_state<F: File>(
    log: &mut Log<'_, F>,
    order: Order,
    key: Option<Vec<u8>>,
) -> Result<State, Error> {
    let place = seek(log, order, key.as_deref(), LISTS)?;
    let first = place.last.head.kind == Kind::Dummy;
    Ok(State {
        key,
        value: place.found.map(|found| found.value().to_vec()),
        before: (!first).then(|| place.last.key().to_vec()),
    })
}

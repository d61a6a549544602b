//! Integrity check: every byte up to the committed size, every list.

use super::cursor::{Log, Order, Records, advance, seek};
use super::database::{Database, Identity};
use super::header::{DUMMY_AT, Header};
use super::record::{Kind, LISTS, Record};
use crate::Error;
use crate::file::{Disk, File};

/// How much is checked under one lock.
const PORTION_BYTES: u64 = 4 << 20;
const PORTION_RECORDS: u64 = 10_000;
/// More faults than this are not collected.
const FAULTS_MAX: usize = 100;

/// Something wrong, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Offset in bytes from the start of the file.
    pub offset: u64,
    /// What is wrong there.
    pub what: &'static str,
}

/// What the log consists of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records, live or replaced or deleted.
    pub records: u64,
    /// Keys found by walking the lists.
    pub live: u64,
    /// Deletions.
    pub deletions: u64,
    /// Transactions.
    pub commits: u64,
    /// Fillers.
    pub fillers: u64,
}

/// Result of [`Database::check`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The header when the check began; `None` for a file without a byte.
    pub header: Option<Header>,
    /// Whether the last writer finished.
    pub clean: bool,
    /// What is wrong, at most 100 of it. After damage to a head nothing more can be said about what
    /// follows.
    pub faults: Vec<Fault>,
    /// What was counted.
    pub totals: Totals,
}

impl Check {
    fn fault(&mut self, error: Error) -> Result<(), Error> {
        let Error::Corrupt { offset, what } = error else {
            return Err(error);
        };
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(Fault { offset, what });
        }
        Ok(())
    }
}

/// The log from its start, record by record.
struct Linear {
    at: u64,
    /// Where the transaction that `at` is in begins.
    transaction_at: Option<u64>,
}

/// The lists from their start, key by key.
struct Walk {
    after: Option<Vec<u8>>,
    done: bool,
}

impl<D: Disk> Database<D> {
    /// Checks the whole file, in portions with a shared lock each, so that others go on. `progress`
    /// is told how many bytes of how many were looked at.
    pub fn check(&mut self, mut progress: impl FnMut(u64, u64)) -> Result<Check, Error> {
        let order = self.options.order;
        // What the file has now is to be checked, not what was read from it before.
        self.pages.forget();
        let mut reading = self.read()?;
        let start = reading.identity()?;
        let mut check = Check {
            header: reading.header().copied(),
            clean: reading.is_clean(),
            faults: Vec::new(),
            totals: Totals::default(),
        };
        let Some(header) = check.header else {
            return Ok(check);
        };
        let mut linear = Linear {
            at: DUMMY_AT,
            transaction_at: None,
        };
        while linear.at < header.committed {
            let log = reading.log_of(start)?;
            if let Err(error) = linear.portion(log, header.committed, &mut check) {
                check.fault(error)?;
                break;
            }
            progress(linear.at, header.committed);
            reading.again()?;
        }
        let mut walk = Walk {
            after: None,
            done: false,
        };
        let mut now = header;
        while !walk.done {
            let lists = if reading.is_clean() { LISTS } else { 1 };
            now = reading.header().copied().unwrap_or(header);
            if let Err(error) = walk.portion(reading.log_of(start)?, order, lists, &mut check) {
                check.fault(error)?;
                return Ok(check);
            }
            reading.again()?;
        }
        let counts = check.clean && now == header;
        if counts && check.totals.live != header.records {
            check.fault(Error::corrupt(
                32,
                "header counts other records than there are",
            ))?;
        }
        Ok(check)
    }
}

impl<D: Disk> super::read::Reading<'_, D> {
    /// The log, if the file is still the one that the check began with.
    fn log_of(&mut self, start: Identity) -> Result<Log<'_, D::File>, Error> {
        let now = self.identity()?;
        if (now.file, now.generation) != (start.file, start.generation) {
            return Err(Error::Replaced);
        }
        self.log().ok_or(Error::Replaced)
    }
}

impl Linear {
    fn portion<F: File>(
        &mut self,
        mut log: Log<'_, F>,
        end: u64,
        check: &mut Check,
    ) -> Result<(), Error> {
        let portion_end = self.at.saturating_add(PORTION_BYTES).min(end);
        let mut record = Record::empty();
        while self.at < portion_end {
            let at = self.at;
            if log.is_filler(at)? {
                check.totals.fillers += 1;
                self.transaction_at.get_or_insert(at);
                self.at += 8;
                continue;
            }
            let head = log.read_head(at)?;
            if let Err(error) = log.read(at, &mut record) {
                check.fault(error)?;
            }
            self.at = head.end();
            match head.kind {
                Kind::Dummy if at == DUMMY_AT => continue,
                Kind::Dummy => return Err(Error::corrupt(at, "DUMMY behind the start")),
                Kind::Record => check.totals.records += 1,
                Kind::Delete => check.totals.deletions += 1,
                Kind::Commit => check.totals.commits += 1,
            }
            let transaction_at = *self.transaction_at.get_or_insert(at);
            if head.kind == Kind::Commit {
                if head.only_link() != transaction_at {
                    check.fault(Error::corrupt(at, "COMMIT of another transaction"))?;
                }
                self.transaction_at = None;
            }
        }
        match self.transaction_at {
            Some(at) if self.at >= end => Err(Error::corrupt(at, "no COMMIT behind this")),
            _ => Ok(()),
        }
    }
}

impl Walk {
    /// Walks on along list 0, comparing what the other lists say with it.
    fn portion<F: File>(
        &mut self,
        mut log: Log<'_, F>,
        order: Order,
        lists: usize,
        check: &mut Check,
    ) -> Result<(), Error> {
        let mut record = Record::empty();
        let mut expected = [0; LISTS];
        match self.after.take() {
            None => {
                log.read(DUMMY_AT, &mut record)?;
                fill_expected(&record, &mut expected);
            }
            Some(key) => {
                let place = seek(&mut log, order, Some(&key), lists)?;
                let mut before = Record::empty();
                for (list, (slot, &offset)) in expected.iter_mut().zip(&place.before).enumerate() {
                    log.read(offset, &mut before)?;
                    *slot = before.head.link(list, log.end)?;
                }
                record = place.found.unwrap_or(place.last);
                if record.head.kind == Kind::Record {
                    fill_expected(&record, &mut expected);
                }
            }
        }
        for _ in 0..PORTION_RECORDS {
            if !advance(&mut log, order, &mut record)? {
                self.done = true;
                let beyond = expected.iter().skip(1).find(|&&at| at != 0 && lists > 1);
                return beyond.map_or(Ok(()), |&at| {
                    Err(Error::corrupt(at, "only in a list above list 0"))
                });
            }
            check.totals.live += 1;
            let level = usize::from(record.head.level).min(lists);
            let missing = expected.iter().take(level).skip(1);
            if missing.into_iter().any(|&at| at != record.head.offset) {
                return Err(Error::corrupt(
                    record.head.offset,
                    "missing in a list above list 0",
                ));
            }
            fill_expected(&record, &mut expected);
        }
        self.after = Some(record.key().to_vec());
        Ok(())
    }
}

/// Where the lists that a record is in go on.
fn fill_expected(record: &Record, expected: &mut [u64; LISTS]) {
    let upper = record.head.links().iter().skip(2);
    for (slot, link) in expected.iter_mut().skip(1).zip(upper) {
        *slot = *link;
    }
}

//! Reading: single keys, and walks in order.

use super::cursor::{Log, Records, advance, seek};
use super::database::{Database, Identity};
use super::header::Header;
use super::record::{LISTS, Record};
use crate::Error;
use crate::file::Disk;

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    body: Vec<u8>,
    key_len: usize,
    value_len: usize,
}

impl Pair {
    /// The key.
    pub fn key(&self) -> &[u8] {
        self.body.get(..self.key_len).unwrap_or_default()
    }

    /// The value.
    pub fn value(&self) -> &[u8] {
        let rest = self.body.get(self.key_len..).unwrap_or_default();
        rest.get(..self.value_len).unwrap_or_default()
    }

    pub(super) fn of(record: &Record) -> Self {
        Self {
            body: record.body.clone(),
            key_len: record.key().len(),
            value_len: record.value().len(),
        }
    }
}

/// A shared lock, and what can be read under it. Writers wait for as long as it lives, so keep it
/// short: for a whole file, use [`Database::page`] again and again.
#[derive(Debug)]
pub struct Reading<'d, D: Disk> {
    database: &'d mut Database<D>,
    header: Option<Header>,
    clean: bool,
}

impl<D: Disk> Database<D> {
    /// Takes the shared lock.
    pub fn read(&mut self) -> Result<Reading<'_, D>, Error> {
        let (header, clean) = self.lock_to_read()?;
        Ok(Reading {
            database: self,
            header,
            clean,
        })
    }

    /// The next pairs in order, at most `pairs_max`, behind `after` or from the start, under a shared
    /// lock of their own. Nothing left is an empty page.
    pub fn page(&mut self, after: Option<&[u8]>, pairs_max: usize) -> Result<Vec<Pair>, Error> {
        let mut page = Vec::new();
        self.read()?.walk(after, |key, value| {
            page.push(Pair {
                body: [key, value].concat(),
                key_len: key.len(),
                value_len: value.len(),
            });
            page.len() < pairs_max
        })?;
        Ok(page)
    }
}

impl<D: Disk> Reading<'_, D> {
    /// The header; `None` for a file without a byte.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Whether the last writer finished. Can only be `false` where the database was opened for
    /// reading only; else it was recovered first.
    pub fn is_clean(&self) -> bool {
        self.clean
    }

    /// The state of the file.
    pub fn identity(&self) -> Result<Identity, Error> {
        Ok(Identity {
            file: self.database.file_id()?,
            generation: self.header.map_or(0, |header| header.generation),
            committed: self.header.map_or(0, |header| header.committed),
        })
    }

    /// The value of a key.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let order = self.database.options.order;
        let lists = self.lists();
        let Some(mut log) = self.log() else {
            return Ok(None);
        };
        let place = seek(&mut log, order, Some(key), lists)?;
        Ok(place.found.map(|found| found.value().to_vec()))
    }

    /// Calls `each` with keys and values in order, behind `after` or from the start, until it says
    /// `false` or there are no more. Returns how many it was called with.
    pub fn walk(
        &mut self,
        after: Option<&[u8]>,
        mut each: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<u64, Error> {
        let order = self.database.options.order;
        let lists = self.lists();
        let Some(mut log) = self.log() else {
            return Ok(0);
        };
        let mut record = Record::empty();
        match after {
            Some(key) => {
                let place = seek(&mut log, order, Some(key), lists)?;
                record = place.found.unwrap_or(place.last);
            }
            None => log.read(super::header::DUMMY_AT, &mut record)?,
        }
        let mut count = 0;
        while advance(&mut log, order, &mut record)? {
            count += 1;
            if !each(record.key(), record.value()) {
                break;
            }
        }
        Ok(count)
    }

    /// Lets go of the lock and takes it again, so that writers get a turn.
    pub(super) fn again(&mut self) -> Result<(), Error> {
        self.database.unlock();
        (self.header, self.clean) = self.database.lock_to_read()?;
        Ok(())
    }

    /// In an unclean file only list 0 has a copy that counts.
    fn lists(&self) -> usize {
        if self.clean { LISTS } else { 1 }
    }

    pub(super) fn log(&mut self) -> Option<Log<'_, D::File>> {
        let header = self.header.as_ref()?;
        Some(Log::new(
            &self.database.file,
            &mut self.database.pages,
            header,
        ))
    }
}

impl<D: Disk> Drop for Reading<'_, D> {
    fn drop(&mut self) {
        self.database.unlock();
    }
}

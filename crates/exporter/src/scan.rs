//! The comparison of the whole file with the whole list, as sets.
//!
//! Neither's order matters: the list is indexed by key, each record of the file takes its entry out
//! of the index, and what is left is missing from the file. The result is a queue of names to look
//! at again in transactions, so nothing that happens meanwhile can make it wrong, only longer.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cyrusdb::mailboxes::{KeyMeaning, KeyStyle, Record};
use proto::MailboxName;
use store::{Feed, Sequence, Store, Version};

use crate::ExportError;
use crate::apply::{difference, yields};
use crate::differences::Differences;
use crate::place::of_database;
use crate::table::Table;
use crate::track::{Seen, Track};

/// Records read under one shared lock: less than a millisecond.
const PAGE_RECORDS: usize = 1000;

/// A comparison under way.
pub(crate) struct Scan {
    version: Arc<Version>,
    /// Keeps the changes since then in the history.
    pin: Feed,
    /// By key, what no record of the file was found for yet.
    index: HashMap<Vec<u8>, MailboxName>,
    /// Read so far.
    cursor: Option<Vec<u8>>,
    names: VecDeque<MailboxName>,
    records: u64,
    /// Time spent, without waiting for locks.
    busy: Duration,
}

/// How far a comparison is after one more page.
pub(crate) enum Page {
    /// There is more.
    More,
    /// All is read.
    Last,
    /// The file is not the one that was expected.
    Replaced,
}

/// What a comparison has found.
pub(crate) struct Compared {
    /// Names whose records need a look.
    pub(crate) names: VecDeque<MailboxName>,
    /// What the file was compared with,
    pub(crate) sequence: Sequence,
    /// and the hold on the history behind that.
    pub(crate) pin: Feed,
    /// Records in the file.
    pub(crate) records: u64,
    /// Time spent, without waiting for locks.
    pub(crate) busy: Duration,
}

impl Scan {
    /// Begins one, with the list as it is now.
    pub(crate) fn start(store: &Store, table: &mut Table) -> Self {
        let started = Instant::now();
        let version = store.current();
        let pin = store.feed(version.sequence());
        let mut index = HashMap::with_capacity(version.len());
        for listed in version.walk() {
            let name = listed.mailbox.to_name();
            let (key, holder) = table.holders.holder(&name, &version);
            index.insert(key, holder);
        }
        // All but mailboxes lies before their first key, or behind their last.
        let cursor = (table.style() == KeyStyle::ByName).then(|| b"N".to_vec());
        Self {
            version,
            pin,
            index,
            cursor,
            names: VecDeque::new(),
            records: 0,
            busy: started.elapsed(),
        }
    }

    /// Reads and compares one more page.
    pub(crate) fn page(
        &mut self,
        table: &mut Table,
        track: &mut Track,
        differences: &mut Differences,
    ) -> Result<Page, ExportError> {
        let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = Vec::with_capacity(PAGE_RECORDS);
        let cursor = self.cursor.as_deref();
        let mut locked = Instant::now();
        let mut read = || {
            let mut reading = table.database.read()?;
            locked = Instant::now();
            let seen = track.observe(reading.identity()?);
            if seen != Seen::Other {
                reading.walk(cursor, |key, value| {
                    pairs.push((key.to_vec(), value.to_vec()));
                    pairs.len() < PAGE_RECORDS
                })?;
            }
            Ok(seen)
        };
        if read().map_err(of_database(&table.path))? == Seen::Other {
            return Ok(Page::Replaced);
        }
        let by_name = table.style() == KeyStyle::ByName;
        for (key, value) in &pairs {
            if by_name && key.first() != Some(&b'N') {
                return Ok(Page::Last);
            }
            self.records += 1;
            self.compare(key, value, table, differences);
        }
        self.busy += locked.elapsed();
        if pairs.len() < PAGE_RECORDS {
            return Ok(Page::Last);
        }
        self.cursor = pairs.pop().map(|(key, _)| key);
        Ok(Page::More)
    }

    fn compare(&mut self, key: &[u8], value: &[u8], table: &mut Table, tell: &mut Differences) {
        let (name, entry) = match self.index.remove(key) {
            Some(name) => {
                let listed = self.version.find(&name);
                (name, listed.map(|listed| listed.entry))
            }
            None => match table.mailboxes.naming.meaning(key) {
                KeyMeaning::Mailbox(name) if table.mailboxes.naming.key(&name) == key => {
                    (name, None)
                }
                KeyMeaning::Mailbox(_) => return tell.tell_key(key, "not a key that Cyrus uses"),
                KeyMeaning::Unusable(_) => return tell.tell_key(key, "name can't be used"),
                KeyMeaning::Other => return,
            },
        };
        let own_server = table.mailboxes.own_server.as_deref();
        let Ok(record) = Record::parse(value) else {
            return tell.tell(&name, "record can't be read");
        };
        if let Some(local) = record.local(own_server) {
            if yields(local, entry, own_server) {
                self.names.push_back(name);
            } else if let Some(what) = difference(local, entry, own_server) {
                tell.tell(&name, what);
            }
            return;
        }
        let same = entry.is_some_and(|entry| record.says(entry));
        if !same && !table.holders.prefer(key, &record, &self.version) {
            self.names.push_back(name);
        }
    }

    /// What was found, once all is read. In key order, which makes writing quick.
    pub(crate) fn finish(mut self, table: &Table, differences: &mut Differences) -> Compared {
        let mut missing: Vec<(Vec<u8>, MailboxName)> = self.index.into_iter().collect();
        missing.sort_unstable();
        let own_server = table.mailboxes.own_server.as_deref();
        for (_, name) in missing {
            let listed = self.version.find(&name);
            let server = listed.map(|listed| listed.entry.location().server());
            if own_server.is_some() && server == own_server {
                differences.tell(
                    &name,
                    "on this server in the directory, but not in the file",
                );
            } else {
                self.names.push_back(name);
            }
        }
        Compared {
            names: self.names,
            sequence: self.version.sequence(),
            pin: self.pin,
            records: self.records,
            busy: self.busy,
        }
    }
}

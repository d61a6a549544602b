//! Changes collected in memory, and how they get into the file (format document, section 4).

use std::collections::HashMap;

use super::cursor::{Log, Order, Place, Records, seek};
use super::header::Header;
use super::pages::Pages;
use super::record::{FILLER, Head, Kind, LEVEL_MAX, LISTS, Record, filler_len};
use crate::file::File;
use crate::{Error, wide};

/// Most bytes that one transaction may append.
pub const TRANSACTION_BYTES_MAX: usize = 256 << 20;
/// What failed, if the last sync of a commit did.
pub(super) const SYNC_COMMIT: &str = "sync the header that commits a transaction";

/// How much of a commit is on disk when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Durability {
    /// Perhaps nothing, perhaps half of it: for a file that nobody else knows of.
    None,
    /// All but the header that makes it count: a crash may undo it, whole.
    Atomic,
    /// All.
    Full,
}

/// What one transaction has changed so far.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The header as the transaction found it, with the number of records kept up to date.
    header: Header,
    /// What goes behind the committed size.
    tail: Vec<u8>,
    /// Heads of committed records with new links.
    heads: HashMap<u64, Head>,
    fillers: bool,
}

impl Pending {
    /// Nothing yet.
    pub(crate) fn new(header: Header, fillers: bool) -> Self {
        Self {
            header,
            tail: Vec::new(),
            heads: HashMap::new(),
            fillers,
        }
    }

    /// Whether nothing would be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.tail.is_empty()
    }

    /// How many bytes would be appended.
    pub(crate) fn len(&self) -> usize {
        self.tail.len()
    }

    fn end(&self) -> u64 {
        self.header.committed + wide(self.tail.len())
    }

    /// Offset within the tail, for what lies there.
    fn in_tail(&self, offset: u64) -> Option<usize> {
        usize::try_from(offset.checked_sub(self.header.committed)?).ok()
    }

    fn append(&mut self, mut head: Head, key: &[u8], value: &[u8]) -> Result<u64, Error> {
        let filler_len = if self.fillers {
            filler_len(self.end(), head.head_len())
        } else {
            0
        };
        let fillers = usize::try_from(filler_len).unwrap_or(0) / FILLER.len();
        let body_len = usize::try_from(head.body_len()).unwrap_or(usize::MAX);
        if body_len.saturating_add(self.tail.len()) > TRANSACTION_BYTES_MAX {
            return Err(Error::TransactionTooLarge {
                max: TRANSACTION_BYTES_MAX,
            });
        }
        for _ in 0..fillers {
            self.tail.extend_from_slice(FILLER);
        }
        head.offset = self.end();
        let mut body = crc32fast::Hasher::new();
        let padding = [0; 8];
        let padding = padding
            .get(..body_len - key.len() - value.len())
            .unwrap_or_default();
        for part in [key, value, padding] {
            body.update(part);
        }
        head.tail_crc = body.finalize();
        self.tail.extend_from_slice(&head.encode());
        for part in [key, value, padding] {
            self.tail.extend_from_slice(part);
        }
        Ok(head.offset)
    }

    fn update(&mut self, head: Head) {
        match self.in_tail(head.offset) {
            Some(at) => {
                let raw = head.encode();
                if let Some(old) = self.tail.get_mut(at..at + raw.len()) {
                    old.copy_from_slice(&raw);
                }
            }
            None => {
                self.heads.insert(head.offset, head);
            }
        }
    }

    /// Puts the changes into the file, which must have been marked DIRTY, unless nobody else knows of it.
    pub(crate) fn write(
        mut self,
        file: &impl File,
        pages: &mut Pages,
        durability: Durability,
    ) -> Result<Header, Error> {
        let committed = self.header.committed;
        if self.is_empty() {
            return Ok(self.header);
        }
        self.append(Head::single(Kind::Commit, committed), &[], &[])?;
        let sync_for = |wanted: Durability, what| {
            let done = if durability >= wanted {
                file.sync()
            } else {
                Ok(())
            };
            done.map_err(Error::io(what))
        };
        pages
            .write(file, committed, &self.tail)
            .map_err(Error::io("append to the file"))?;
        let mut heads: Vec<&Head> = self.heads.values().collect();
        heads.sort_unstable_by_key(|head| head.offset);
        for head in heads {
            pages
                .write(file, head.offset, &head.encode())
                .map_err(Error::io("rewrite a record's head"))?;
        }
        sync_for(Durability::Atomic, "sync a transaction")?;
        let mut header = self.header;
        header.committed = self.end();
        header.write(file)?;
        sync_for(Durability::Full, SYNC_COMMIT)?;
        Ok(header)
    }
}

/// A file as a transaction has changed it.
pub(crate) struct Working<'a, F> {
    file: &'a F,
    pages: &'a mut Pages,
    pending: &'a mut Pending,
    order: Order,
}

impl<F: File> Records for Working<'_, F> {
    fn end(&self) -> u64 {
        self.pending.end()
    }

    fn read(&mut self, offset: u64, into: &mut Record) -> Result<(), Error> {
        if let Some(at) = self.pending.in_tail(offset) {
            return read_tail(offset, self.pending.tail.get(at..), into);
        }
        Log::new(self.file, self.pages, &self.pending.header).read(offset, into)?;
        if let Some(head) = self.pending.heads.get(&offset) {
            into.head = head.clone();
        }
        Ok(())
    }
}

fn read_tail(offset: u64, raw: Option<&[u8]>, into: &mut Record) -> Result<(), Error> {
    let nowhere = || Error::corrupt(offset, "a link leads beyond the transaction");
    let raw = raw.ok_or_else(nowhere)?;
    let start = raw.first_chunk().ok_or_else(nowhere)?;
    let (head, rest) = raw
        .split_at_checked(Head::len_of(*start))
        .ok_or_else(nowhere)?;
    into.head = Head::parse(offset, head)?;
    let body_len = usize::try_from(into.head.body_len()).unwrap_or(usize::MAX);
    into.body.clear();
    into.body
        .extend_from_slice(rest.get(..body_len).ok_or_else(nowhere)?);
    into.check_body()
}

impl<'a, F: File> Working<'a, F> {
    /// `pending` on top of what the file holds.
    pub(crate) fn new(
        file: &'a F,
        pages: &'a mut Pages,
        pending: &'a mut Pending,
        order: Order,
    ) -> Self {
        Self {
            file,
            pages,
            pending,
            order,
        }
    }

    /// The place of a key, or of the end.
    pub(crate) fn seek(&mut self, key: Option<&[u8]>) -> Result<Place, Error> {
        let order = self.order;
        seek(self, order, key, LISTS)
    }

    /// Stores a value; `false` if it was there already.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<bool, Error> {
        if key.is_empty() {
            return Err(Error::EmptyKey);
        }
        let place = self.seek(Some(key))?;
        let old = place.found.as_ref();
        if old.is_some_and(|old| old.value() == value) {
            return Ok(false);
        }
        let level = random_level();
        let old_level = old.map_or(0, |old| old.head.level);
        let after = self.successors(&place, usize::from(level.max(old_level)))?;
        let mut head = Head::new(Kind::Record, level, key.len(), value.len());
        if let [_, links @ ..] = head.links_mut() {
            for (link, after) in links.iter_mut().zip(&after) {
                *link = *after;
            }
        }
        let at = self.pending.append(head, key, value)?;
        let targets = after
            .iter()
            .enumerate()
            .map(|(list, &after)| if list < usize::from(level) { at } else { after });
        self.relink(&place, targets)?;
        self.pending.header.records += u64::from(old.is_none());
        Ok(true)
    }

    /// Deletes a key; `false` if there is none.
    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<bool, Error> {
        let place = self.seek(Some(key))?;
        let Some(old) = &place.found else {
            return Ok(false);
        };
        let after = self.successors(&place, usize::from(old.head.level))?;
        let mut next = Record::empty();
        let live = super::cursor::step(self, &old.head, 0, &mut next)?;
        let link = if live { next.head.offset } else { 0 };
        let at = self
            .pending
            .append(Head::single(Kind::Delete, link), &[], &[])?;
        let targets = std::iter::once(at).chain(after.into_iter().skip(1));
        self.relink(&place, targets)?;
        self.pending.header.records = self.pending.header.records.saturating_sub(1);
        Ok(true)
    }

    /// For lists 0 to `lists - 1`, where they go on behind the key.
    fn successors(&mut self, place: &Place, lists: usize) -> Result<Vec<u64>, Error> {
        let end = self.end();
        let mut before = Record::empty();
        let mut after = Vec::with_capacity(lists);
        for (list, &offset) in place.before.iter().enumerate().take(lists) {
            let old = place.found.as_ref().map(|found| &found.head);
            if let Some(old) = old.filter(|old| list < usize::from(old.level)) {
                after.push(old.link(list, end)?);
                continue;
            }
            if before.head.offset != offset {
                self.read(offset, &mut before)?;
            }
            after.push(before.head.link(list, end)?);
        }
        Ok(after)
    }

    /// Makes the predecessors go on at the targets, list by list from 0.
    fn relink(&mut self, place: &Place, targets: impl Iterator<Item = u64>) -> Result<(), Error> {
        let committed = self.pending.header.committed;
        let mut open: Option<Record> = None;
        for (list, (&offset, target)) in place.before.iter().zip(targets).enumerate() {
            // Neighbouring lists mostly share their predecessor.
            let mut record = match open.take() {
                Some(record) if record.head.offset == offset => record,
                other => {
                    if let Some(done) = other {
                        self.pending.update(done.head);
                    }
                    let mut record = Record::empty();
                    self.read(offset, &mut record)?;
                    record
                }
            };
            record.head.set_link(list, target, committed);
            open = Some(record);
        }
        if let Some(done) = open {
            self.pending.update(done.head);
        }
        Ok(())
    }
}

/// 1, and one more for each toss that shows heads.
pub(crate) fn random_level() -> u8 {
    let tosses = rand::random::<u32>().trailing_ones();
    u8::try_from(tosses + 1).unwrap_or(LEVEL_MAX).min(LEVEL_MAX)
}

//! Finding places in the lists (format document, section 2).

use std::cmp::Ordering;

use super::header::{DUMMY_AT, Header};
use super::pages::Pages;
use super::record::{
    FILLER, HEAD_BYTES_MAX, Head, Kind, LEVEL_MAX, LISTS, RECORD_BYTES_MIN, Record,
};
use crate::file::File;
use crate::{Error, wide};

/// The order of keys in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Octet by octet.
    #[default]
    Bytes,
    /// `mailboxes.db` of series 2.3 to 3.4 with `improved_mboxlist_sort: yes`.
    Mailbox,
}

impl Order {
    /// How two keys stand.
    pub fn compare(self, left: &[u8], right: &[u8]) -> Ordering {
        match self {
            Self::Bytes => left.cmp(right),
            Self::Mailbox => {
                let ranks = |key: &[u8]| key.iter().map(|&octet| mailbox_rank(octet)).collect();
                let (left, right): (Vec<u8>, Vec<u8>) = (ranks(left), ranks(right));
                left.cmp(&right)
            }
        }
    }
}

fn mailbox_rank(octet: u8) -> u8 {
    match octet {
        b'\t' | b'\n' => 1,
        b'.' => 2,
        1..=8 => octet + 2,
        other => other,
    }
}

/// Records by their offset.
pub(crate) trait Records {
    /// The end that counts: nothing at or beyond it is there.
    fn end(&self) -> u64;
    /// Reads the record at `offset`, checking it.
    fn read(&mut self, offset: u64, into: &mut Record) -> Result<(), Error>;
}

/// What was committed, read under a lock, or checked afterwards not to have changed.
pub(crate) struct Log<'a, F> {
    pub(crate) file: &'a F,
    pub(crate) pages: &'a mut Pages,
    pub(crate) end: u64,
}

impl<'a, F: File> Log<'a, F> {
    /// The committed part of a file with this header.
    pub(crate) fn new(file: &'a F, pages: &'a mut Pages, header: &Header) -> Self {
        Self {
            file,
            pages,
            end: header.committed,
        }
    }

    /// Whether there is a filler and no record at `offset`.
    pub(crate) fn is_filler(&mut self, offset: u64) -> Result<bool, Error> {
        let mut start = [0; FILLER.len()];
        if self.end.saturating_sub(offset) < wide(start.len()) {
            return Err(Error::corrupt(offset, "the log ends inside a record"));
        }
        self.pages.read(self.file, offset, &mut start)?;
        Ok(start == *FILLER)
    }

    /// Reads the head of the record at `offset`.
    pub(crate) fn read_head(&mut self, offset: u64) -> Result<Head, Error> {
        let left = self.end.saturating_sub(offset);
        if !offset.is_multiple_of(8) || offset < DUMMY_AT || left < RECORD_BYTES_MIN {
            return Err(Error::corrupt(
                offset,
                "a link leads where no record can be",
            ));
        }
        let mut raw = [0; HEAD_BYTES_MAX];
        let (start, rest) = raw.split_at_mut(8);
        self.pages.read(self.file, offset, start)?;
        let start = start.first_chunk().copied().unwrap_or_default();
        if start[1] > LEVEL_MAX {
            return Err(Error::corrupt(offset, "level above 31"));
        }
        let len = Head::len_of(start);
        if wide(len) > left {
            return Err(Error::corrupt(offset, "record head goes beyond the end"));
        }
        let rest = rest.get_mut(..len - 8).unwrap_or_default();
        self.pages.read(self.file, offset + 8, rest)?;
        let head = Head::parse(offset, raw.get(..len).unwrap_or_default())?;
        if head.end() > self.end {
            return Err(Error::corrupt(offset, "record goes beyond the end"));
        }
        Ok(head)
    }
}

impl<F: File> Records for Log<'_, F> {
    fn end(&self) -> u64 {
        self.end
    }

    fn read(&mut self, offset: u64, into: &mut Record) -> Result<(), Error> {
        let head = self.read_head(offset)?;
        // The lengths were checked against the end of the file.
        let body_len = usize::try_from(head.body_len()).unwrap_or(usize::MAX);
        into.body.resize(body_len, 0);
        self.pages.read(self.file, head.body_at(), &mut into.body)?;
        into.head = head;
        into.check_body()
    }
}

/// Follows `list` from `from` to the next RECORD, past a DELETE; `false` at the end of the list.
pub(crate) fn step(
    records: &mut impl Records,
    from: &Head,
    list: usize,
    into: &mut Record,
) -> Result<bool, Error> {
    let mut at = from.link(list, records.end())?;
    for allowed in [Kind::Delete, Kind::Record] {
        if at == 0 {
            return Ok(false);
        }
        records.read(at, into)?;
        match into.head.kind {
            Kind::Record => return Ok(true),
            Kind::Delete if allowed == Kind::Delete && list == 0 => at = into.head.only_link(),
            _ => break,
        }
    }
    Err(Error::corrupt(at, "a link leads to no RECORD"))
}

/// As [`step`], on list 0, checking that the key is behind the one before. `into` holds the record
/// to go on from, and afterwards the next.
pub(crate) fn advance(
    records: &mut impl Records,
    order: Order,
    into: &mut Record,
) -> Result<bool, Error> {
    let head = into.head.clone();
    let key = std::mem::take(&mut into.body);
    let key_len = usize::try_from(head.key_len).unwrap_or(usize::MAX);
    let found = step(records, &head, 0, into)?;
    let before = key.get(..key_len).unwrap_or_default();
    if found && head.kind == Kind::Record && order.compare(before, into.key()).is_ge() {
        return Err(Error::corrupt(into.head.offset, "key out of order"));
    }
    Ok(found)
}

/// Where a key is, or would be.
pub(crate) struct Place {
    /// For every list, the last record before the key, or the DUMMY.
    pub(crate) before: [u64; LISTS],
    /// The last record before the key on list 0, or the DUMMY.
    pub(crate) last: Record,
    /// The record of the key.
    pub(crate) found: Option<Record>,
}

/// Finds the place of `key`, or with `None` the end of all lists. `lists` is 1 in an unclean file,
/// where only list 0 can be relied on.
pub(crate) fn seek(
    records: &mut impl Records,
    order: Order,
    key: Option<&[u8]>,
    lists: usize,
) -> Result<Place, Error> {
    let mut place = Place {
        before: [DUMMY_AT; LISTS],
        last: Record::empty(),
        found: None,
    };
    records.read(DUMMY_AT, &mut place.last)?;
    if place.last.head.kind != Kind::Dummy {
        return Err(Error::corrupt(DUMMY_AT, "no DUMMY record"));
    }
    let mut next = Record::empty();
    // The record that the list above ended at: what lies behind it is not read again.
    let mut behind = 0;
    for list in (0..lists.min(LISTS)).rev() {
        loop {
            let link = place.last.head.link(list, records.end())?;
            if link == 0 || link == behind {
                break;
            }
            if !step(records, &place.last.head, list, &mut next)? {
                break;
            }
            if place.last.head.kind == Kind::Record
                && order.compare(place.last.key(), next.key()).is_ge()
            {
                return Err(Error::corrupt(next.head.offset, "key out of order"));
            }
            match key.map_or(Ordering::Less, |key| order.compare(next.key(), key)) {
                Ordering::Less => {
                    check_level(&next.head, list)?;
                    std::mem::swap(&mut place.last, &mut next);
                }
                Ordering::Equal => {
                    behind = next.head.offset;
                    if place.found.is_none() {
                        place.found = Some(next.clone());
                    }
                    break;
                }
                Ordering::Greater => {
                    behind = next.head.offset;
                    break;
                }
            }
        }
        if let Some(before) = place.before.get_mut(list) {
            *before = place.last.head.offset;
        }
    }
    Ok(place)
}

/// A record in a list above its level would send us through links that it does not have.
fn check_level(head: &Head, list: usize) -> Result<(), Error> {
    if usize::from(head.level) > list {
        Ok(())
    } else {
        Err(Error::corrupt(
            head.offset,
            "record in a list above its level",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mailbox_order_puts_the_hierarchy_first() {
        let mut keys: Vec<&[u8]> =
            vec![b"user.a-b", b"user.a b", b"user.a.b", b"user.a", b"user.ab"];
        keys.sort_by(|left, right| Order::Mailbox.compare(left, right));
        assert_eq!(
            keys,
            [
                b"user.a".as_slice(),
                b"user.a.b",
                b"user.a b",
                b"user.a-b",
                b"user.ab"
            ]
        );
    }
}

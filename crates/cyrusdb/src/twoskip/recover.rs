//! What the next locker does with an unclean file (format document, section 5).

use super::cursor::{Log, Order, Records, advance};
use super::header::{DUMMY_AT, Header};
use super::pages::Pages;
use super::record::{FIRST_RECORD_AT, Head, Kind, LISTS, Record};
use crate::Error;
use crate::file::File;

/// Makes a new database of a file without a byte.
pub(crate) fn create(file: &impl File) -> Result<Header, Error> {
    let header = Header {
        generation: 1,
        records: 0,
        repack_size: FIRST_RECORD_AT,
        committed: FIRST_RECORD_AT,
        dirty: false,
    };
    file.write_at(DUMMY_AT, &Head::dummy().encode())
        .map_err(Error::io("write a new file"))?;
    header.write(file)?;
    file.sync().map_err(Error::io("sync a new file"))?;
    Ok(header)
}

/// Whether a file with this header needs recovery.
pub(crate) fn is_clean(file: &impl File, header: &Header) -> Result<bool, Error> {
    let len = file.len().map_err(Error::io("find the file's length"))?;
    if len < header.committed {
        return Err(Error::corrupt(len, "file ends before what was committed"));
    }
    Ok(!header.dirty && len == header.committed)
}

/// Brings the file back to its last commit. Under the exclusive lock.
pub(crate) fn recover(
    file: &impl File,
    pages: &mut Pages,
    header: &Header,
    order: Order,
) -> Result<Header, Error> {
    pages.forget();
    let mut log = Log::new(file, pages, header);
    let chain = read_chain(&mut log, order)?;
    let mut header = *header;
    if !header.dirty {
        header.dirty = true;
        header.write(file)?;
        file.sync()
            .map_err(Error::io("sync the header before recovery"))?;
    }
    relink(&mut log, &chain)?;
    pages.forget();
    file.set_len(header.committed)
        .map_err(Error::io("cut the file to what was committed"))?;
    file.sync().map_err(Error::io("sync a recovery"))?;
    header.dirty = false;
    header.records = crate::wide(chain.len().saturating_sub(1));
    header.write(file)?;
    file.sync()
        .map_err(Error::io("sync the header after recovery"))?;
    Ok(header)
}

/// Offsets of the DUMMY and all records, in order. Writes nothing.
fn read_chain(records: &mut impl Records, order: Order) -> Result<Vec<u64>, Error> {
    let mut record = Record::empty();
    records.read(DUMMY_AT, &mut record)?;
    if record.head.kind != Kind::Dummy {
        return Err(Error::corrupt(DUMMY_AT, "no DUMMY record"));
    }
    let mut chain = vec![DUMMY_AT];
    while advance(records, order, &mut record)? {
        chain.push(record.head.offset);
    }
    Ok(chain)
}

/// Rewrites every head that leads elsewhere than the chain says, the last record first.
fn relink<F: File>(log: &mut Log<'_, F>, chain: &[u64]) -> Result<(), Error> {
    let mut after = [0; LISTS];
    for &offset in chain.iter().rev() {
        let found = log.read_head(offset)?;
        let mut head = found.clone();
        let end = log.end;
        let (bottom, upper) = head
            .links_mut()
            .split_at_mut_checked(2)
            .ok_or_else(|| Error::corrupt(offset, "a link leads to no RECORD"))?;
        for link in bottom.iter_mut().filter(|link| **link >= end) {
            *link = 0;
        }
        // Record of level L: lists 1 to L-1 have a link each. The DUMMY is in no list itself.
        for (link, next) in upper.iter_mut().zip(after.iter().skip(1)) {
            *link = *next;
        }
        if head != found {
            log.file
                .write_at(offset, &head.encode())
                .map_err(Error::io("rewrite a record's head"))?;
        }
        for next in after.iter_mut().take(usize::from(head.level)) {
            *next = offset;
        }
    }
    Ok(())
}

//! A cache of file pages, kept for as long as nobody else commits.

use super::database::Identity;
use crate::file::File;
use crate::{Error, wide};

const PAGE_BYTES: usize = 4096;
/// Pages in the cache: 16 MiB, allocated as they are used.
const PAGES: u64 = 4096;
/// Pages read at once where the reading goes on in order.
const READ_AHEAD: u64 = 16;

/// Pages of one file, each in the one slot that its number allows.
///
/// Whoever has locked the file says with [`belong_to`](Self::belong_to) which state it is in. That is enough: others
/// change committed bytes only in a transaction, which leaves another state. Where one was begun and undone, heads may
/// have lost links to what it appended, which no reader of this state follows (format document, section 2).
#[derive(Debug, Default)]
pub(crate) struct Pages {
    slots: Vec<Slot>,
    /// What the file was when they were read; `None`: read at different times.
    state: Option<Identity>,
    /// Pages of earlier epochs are not valid any more.
    epoch: u64,
    /// The page behind the last one read from the file.
    next: u64,
    buffer: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
struct Slot {
    epoch: u64,
    number: u64,
    bytes: Vec<u8>,
}

impl Pages {
    /// Drops all content, in no time: others may have written.
    pub(crate) fn forget(&mut self) {
        self.epoch += 1;
        self.next = u64::MAX;
        self.state = None;
    }

    /// Drops all content that is not of this state.
    pub(crate) fn belong_to(&mut self, state: Identity) {
        if self.state != Some(state) {
            self.forget();
            self.state = Some(state);
        }
    }

    /// What has been written has led to this state.
    pub(crate) fn lead_to(&mut self, state: Identity) {
        self.state = Some(state);
    }

    /// Writes to the file, and to what is cached of it.
    pub(crate) fn write(
        &mut self,
        file: &impl File,
        offset: u64,
        bytes: &[u8],
    ) -> std::io::Result<()> {
        file.write_at(offset, bytes)?;
        let page_bytes = wide(PAGE_BYTES);
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = usize::try_from(at % page_bytes).unwrap_or(0);
            let (now, later) = rest.split_at(rest.len().min(PAGE_BYTES - within));
            self.overwrite(at / page_bytes, within, now);
            rest = later;
            at += wide(now.len());
        }
        Ok(())
    }

    fn overwrite(&mut self, number: u64, within: usize, bytes: &[u8]) {
        let index = usize::try_from(number % PAGES).unwrap_or(0);
        let epoch = self.epoch;
        let slot = self.slots.get_mut(index);
        let Some(slot) = slot.filter(|slot| slot.epoch == epoch && slot.number == number) else {
            return;
        };
        let end = within + bytes.len();
        if slot.bytes.len() < end {
            slot.bytes.resize(end, 0);
        }
        if let Some(old) = slot.bytes.get_mut(within..end) {
            old.copy_from_slice(bytes);
        }
    }

    /// Reads `into.len()` bytes at `offset`; a file that ends before that is damaged.
    pub(crate) fn read(
        &mut self,
        file: &impl File,
        offset: u64,
        into: &mut [u8],
    ) -> Result<(), Error> {
        let page_bytes = wide(PAGE_BYTES);
        let mut at = offset;
        let mut rest = into;
        while !rest.is_empty() {
            let within = usize::try_from(at % page_bytes).unwrap_or(0);
            let page = self.page(file, at / page_bytes)?;
            let found = page.get(within..).filter(|found| !found.is_empty());
            let found = found.ok_or_else(|| Error::corrupt(at, "file ends inside a record"))?;
            let count = found.len().min(rest.len());
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(found.get(..count).unwrap_or_default());
            rest = later;
            at += wide(count);
        }
        Ok(())
    }

    fn page(&mut self, file: &impl File, number: u64) -> Result<&[u8], Error> {
        let index = usize::try_from(number % PAGES).unwrap_or(0);
        let hit = self
            .slots
            .get(index)
            .is_some_and(|slot| slot.epoch == self.epoch && slot.number == number);
        if !hit {
            self.load(file, number)?;
        }
        let slot = self.slots.get(index);
        Ok(slot.map_or(&[], |slot| slot.bytes.as_slice()))
    }

    fn load(&mut self, file: &impl File, number: u64) -> Result<(), Error> {
        if self.slots.is_empty() {
            self.slots
                .resize(usize::try_from(PAGES).unwrap_or(1), Slot::default());
            self.epoch += 1;
        }
        let count = if number == self.next { READ_AHEAD } else { 1 };
        let wanted = usize::try_from(count).unwrap_or(1) * PAGE_BYTES;
        self.buffer.resize(wanted, 0);
        let found = file
            .read_at(number.saturating_mul(wide(PAGE_BYTES)), &mut self.buffer)
            .map_err(Error::io("read the file"))?;
        let read = self.buffer.get(..found).unwrap_or_default();
        for (number, bytes) in
            (number..number + count).zip(read.chunks(PAGE_BYTES).chain([&[][..]]))
        {
            let index = usize::try_from(number % PAGES).unwrap_or(0);
            if let Some(slot) = self.slots.get_mut(index) {
                slot.epoch = self.epoch;
                slot.number = number;
                slot.bytes.clear();
                slot.bytes.extend_from_slice(bytes);
            }
        }
        self.next = number + count;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs::{self, File as Disk};

    use crate::file::FileId;

    fn state(committed: u64) -> Identity {
        Identity {
            file: FileId {
                device: 1,
                inode: 2,
            },
            generation: 1,
            committed,
        }
    }

    fn read(pages: &mut Pages, file: &Disk, offset: u64, len: usize) -> Vec<u8> {
        let mut found = vec![0; len];
        pages.read(file, offset, &mut found).unwrap();
        found
    }

    /// Three pages of `a` and a half.
    fn opened() -> (tempfile::NamedTempFile, Disk) {
        let path = tempfile::NamedTempFile::new().unwrap();
        fs::write(&path, vec![b'a'; 3 * PAGE_BYTES + PAGE_BYTES / 2]).unwrap();
        let options = Disk::options().read(true).write(true).open(&path).unwrap();
        (path, options)
    }

    #[test]
    fn pages_are_kept_for_one_state_only() {
        let (_path, file) = opened();
        let mut pages = Pages::default();
        pages.belong_to(state(100));
        assert_eq!(read(&mut pages, &file, 10, 2), b"aa");
        File::write_at(&file, 10, b"bb").unwrap();
        pages.belong_to(state(100));
        assert_eq!(read(&mut pages, &file, 10, 2), b"aa");
        pages.belong_to(state(200));
        assert_eq!(read(&mut pages, &file, 10, 2), b"bb");
        pages.forget();
        pages.belong_to(state(200));
        File::write_at(&file, 10, b"cc").unwrap();
        assert_eq!(read(&mut pages, &file, 10, 2), b"cc");
    }

    #[test]
    fn what_is_written_is_read_with_what_was_cached_and_without() {
        let (path, file) = opened();
        let mut pages = Pages::default();
        pages.belong_to(state(100));
        // Cached: the first page, and the last, which is not full.
        let end = wide(3 * PAGE_BYTES + PAGE_BYTES / 2);
        read(&mut pages, &file, 0, 1);
        read(&mut pages, &file, end - 1, 1);
        let long = vec![b'b'; 2 * PAGE_BYTES];
        pages.write(&file, end, &long).unwrap();
        pages.write(&file, wide(PAGE_BYTES) - 2, b"cccc").unwrap();
        pages.lead_to(state(300));
        pages.belong_to(state(300));
        let content = fs::read(&path).unwrap();
        assert_eq!(read(&mut pages, &file, 0, content.len()), content);
        assert_eq!(&content[PAGE_BYTES - 2..PAGE_BYTES + 2], b"cccc");
    }
}

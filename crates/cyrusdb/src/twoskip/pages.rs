//! A cache of file pages for the time of one lock.

use crate::file::File;
use crate::{Error, wide};

const PAGE_BYTES: usize = 4096;
/// Pages in the cache: 16 MiB, allocated as they are used.
const PAGES: u64 = 4096;
/// Pages read at once where the reading goes on in order.
const READ_AHEAD: u64 = 16;

/// Pages of one file, each in the one slot that its number allows. [`forget`](Self::forget) must be
/// called whenever others may have written.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    slots: Vec<Slot>,
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
    /// Drops all content, in no time.
    pub(crate) fn forget(&mut self) {
        self.epoch += 1;
        self.next = u64::MAX;
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

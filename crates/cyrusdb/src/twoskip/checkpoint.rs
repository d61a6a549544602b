//! The checkpoint that nobody waits for (format document, section 6).

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::cursor::{Log, Order};
use super::database::{Database, Identity, RETIREMENT};
use super::header::Header;
use super::load::Loader;
use super::pages::Pages;
use super::peek::{State, read_batch, read_changes};
use super::record::Kind;
use super::txn::{Durability, Pending, Working};
use crate::file::{Access, Disk, File, FileId};
use crate::lock::LockKind;
use crate::{Error, wide};

/// Less log than this is replayed under the lock: some milliseconds.
const TAIL_BYTES: u64 = 16 << 10;
/// More than this is not replayed under the lock even at last: readers would notice.
const TAIL_BYTES_MAX: u64 = 1 << 20;
/// How often the replay without a lock follows what was written meanwhile.
const ROUNDS_MAX: u32 = 8;

/// How far a checkpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Copying, without a lock.
    Copying {
        /// Pairs copied so far.
        copied: u64,
        /// Pairs that there were at the start.
        of: u64,
    },
    /// Taking over what was committed meanwhile, without a lock.
    Replaying {
        /// Counted from 1.
        round: u32,
        /// Bytes of log to replay.
        bytes: u64,
    },
    /// About to lock, replay the last changes, and swap the files.
    Swapping,
}

/// What a checkpoint did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpointed {
    /// Size before, in bytes.
    pub bytes_before: u64,
    /// Size after, in bytes.
    pub bytes_after: u64,
    /// Keys in the new file.
    pub records: u64,
    /// Its generation.
    pub generation: u64,
    /// Changes taken over after the copy.
    pub replayed: u64,
    /// For how long readers and writers had to wait, at most.
    pub locked_for: Duration,
    /// The state that was copied, of the file that is no longer in place.
    pub replaced: Identity,
    /// The state of the new file.
    pub identity: Identity,
}

/// A callback told of progress; it may end the checkpoint as long as nothing was swapped.
type Tell<'t> = &'t mut dyn FnMut(Progress) -> ControlFlow<()>;

impl<D: Disk> Database<D> {
    /// Whether a checkpoint would change nothing: all records are in order and none is dead.
    pub fn is_in_order(&mut self) -> Result<bool, Error> {
        let reading = self.read()?;
        // Behind the last record in order there is at most the COMMIT, with its fillers.
        Ok(reading.header().is_none_or(|header| {
            reading.is_clean() && header.committed.abs_diff(header.repack_size) < 64
        }))
    }

    /// Waits until the file that the last checkpoint replaced can be closed without making a reader
    /// pay for it. For programs that end after a checkpoint; others just go on.
    pub fn retire(&mut self) {
        if let Some((_, since)) = &self.retired {
            std::thread::sleep(RETIREMENT.saturating_sub(since.elapsed()));
        }
        self.retired = None;
    }

    /// Writes all records in order into a new file and puts it in place of this one. Others read and
    /// write meanwhile; only for the swap they wait. `progress` is told now and then, and may end it.
    pub fn checkpoint(
        &mut self,
        mut progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Checkpointed, Error> {
        if self.options.access == Access::Read {
            return Err(Error::ReadOnly);
        }
        let (start, id) = self.committed_state()?;
        // Held open until the end: else, once the file is replaced and closed, a later one may get its
        // inode number, and pass for it.
        let pin = self.disk.open().map_err(Error::io("open the file"))?;
        if self.disk.id(&pin).map_err(Error::io("look at the file"))? != id {
            return Err(Error::Replaced);
        }
        let temporary = self.disk.temporary(&self.file);
        let file = temporary
            .map_err(Error::io("create the temporary file"))?
            .ok_or(Error::CheckpointRunning)?;
        let done = self.checkpoint_into(&file, &start, id, &mut progress);
        match done {
            Ok(_) => {
                self.disk
                    .unlock(&file)
                    .map_err(Error::io("unlock the new file"))?;
                let old = std::mem::replace(&mut self.file, file);
                self.retired = Some((old, Instant::now()));
            }
            // What can't be removed now is taken over by the next checkpoint.
            Err(_) => self.disk.remove_temporary(&file).unwrap_or_default(),
        }
        done
    }

    /// A committed header, and the file that it is in.
    fn committed_state(&mut self) -> Result<(Header, FileId), Error> {
        let reading = self.read()?;
        if let Some(&header) = reading.header() {
            return Ok((header, reading.identity()?.file));
        }
        drop(reading);
        let header = self.lock_to_write()?;
        let id = self.file_id();
        self.unlock();
        Ok((header, id?))
    }

    fn checkpoint_into(
        &mut self,
        file: &D::File,
        start: &Header,
        id: FileId,
        tell: Tell<'_>,
    ) -> Result<Checkpointed, Error> {
        let mut copy = self.copy(file, start, id, tell)?;
        copy.sync()?;
        for round in 1..=ROUNDS_MAX {
            self.follow(&mut copy, id, round, tell)?;
            tell_or_end(tell, Progress::Swapping)?;
            let allowed = if round == ROUNDS_MAX {
                TAIL_BYTES_MAX
            } else {
                TAIL_BYTES
            };
            if let Some(done) = self.swap(&mut copy, id, allowed)? {
                return Ok(done);
            }
        }
        Err(Error::TooBusy)
    }

    /// Step 2: all pairs, each as it is at some moment from now on.
    fn copy<'f>(
        &mut self,
        file: &'f D::File,
        start: &Header,
        id: FileId,
        tell: Tell<'_>,
    ) -> Result<Copy<'f, D::File>, Error> {
        let (order, fillers) = (self.options.order, self.options.fillers);
        let mut loader = Loader::new(file, fillers);
        let (mut cursor, mut copied) = (None, 0);
        loop {
            let (_, (batch, next)) = self.peek(id, |log, header, attempt| {
                read_batch(log, header, order, cursor.as_ref(), attempt)
            })?;
            self.check_in_place(id)?;
            for pair in &batch {
                loader.push(pair.key(), pair.value())?;
            }
            copied += wide(batch.len());
            let of = start.records;
            tell_or_end(tell, Progress::Copying { copied, of })?;
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        Ok(Copy {
            file,
            pages: Pages::default(),
            header: loader.finish(start.generation.wrapping_add(1))?,
            order,
            fillers,
            replayed_to: start.committed,
            replayed: 0,
        })
    }

    /// Step 3: what was committed meanwhile, as of now.
    fn follow(
        &mut self,
        copy: &mut Copy<'_, D::File>,
        id: FileId,
        round: u32,
        tell: Tell<'_>,
    ) -> Result<(), Error> {
        let (now, ()) = self.peek(id, |_, _, _| Ok(()))?;
        let bytes = now.committed.saturating_sub(copy.replayed_to);
        if bytes <= TAIL_BYTES {
            return Ok(());
        }
        while copy.replayed_to < now.committed {
            let bytes = now.committed.saturating_sub(copy.replayed_to);
            tell_or_end(tell, Progress::Replaying { round, bytes })?;
            let (order, from) = (copy.order, copy.replayed_to);
            let (_, (changes, to)) = self.peek(id, |log, _, attempt| {
                read_changes(log, order, from, attempt)
            })?;
            self.check_in_place(id)?;
            copy.take_over(&changes, to)?;
        }
        copy.sync()
    }

    /// Step 4. `None` if more than `allowed` bytes were committed meanwhile.
    fn swap(
        &mut self,
        copy: &mut Copy<'_, D::File>,
        id: FileId,
        allowed: u64,
    ) -> Result<Option<Checkpointed>, Error> {
        self.lock_in_place(LockKind::Exclusive)?;
        let locked = Instant::now();
        let swapped = self.swap_locked(copy, id, allowed);
        self.unlock();
        let new = self
            .disk
            .id(copy.file)
            .map_err(Error::io("look at the new file"))?;
        let done = swapped?.map(|old| Checkpointed {
            replaced: Identity::of(id, &old),
            identity: Identity::of(new, &copy.header),
            bytes_before: old.committed,
            bytes_after: copy.header.committed,
            records: copy.header.records,
            generation: copy.header.generation,
            replayed: copy.replayed,
            locked_for: locked.elapsed(),
        });
        Ok(done)
    }

    fn swap_locked(
        &mut self,
        copy: &mut Copy<'_, D::File>,
        id: FileId,
        allowed: u64,
    ) -> Result<Option<Header>, Error> {
        if self.file_id()? != id {
            return Err(Error::Replaced);
        }
        let header = self.prepare()?;
        if header.committed.saturating_sub(copy.replayed_to) > allowed {
            return Ok(None);
        }
        while copy.replayed_to < header.committed {
            let mut log = Log::new(&self.file, &mut self.pages, &header);
            let (changes, to) = read_changes(&mut log, copy.order, copy.replayed_to, 0)?;
            copy.take_over(&changes, to)?;
        }
        if copy.header.records != header.records {
            return Err(Error::corrupt(
                32,
                "header counts other records than there are",
            ));
        }
        copy.sync()?;
        self.disk
            .replace()
            .map_err(Error::io("put the new file in place"))?;
        Ok(Some(header))
    }

    /// A file that others have replaced is not worth going on with.
    fn check_in_place(&self, id: FileId) -> Result<(), Error> {
        let in_place = self.disk.id_in_place();
        let in_place = in_place.map_err(Error::io("look at the path"))?;
        if in_place == id {
            Ok(())
        } else {
            Err(Error::Replaced)
        }
    }
}

fn tell_or_end(tell: Tell<'_>, progress: Progress) -> Result<(), Error> {
    match tell(progress) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::GivenUp),
    }
}

/// The new file, which nobody else knows of yet.
struct Copy<'f, F> {
    file: &'f F,
    pages: Pages,
    header: Header,
    order: Order,
    fillers: bool,
    /// Up to where the old file's log has been replayed.
    replayed_to: u64,
    replayed: u64,
}

impl<F: File> Copy<'_, F> {
    fn sync(&self) -> Result<(), Error> {
        self.file.sync().map_err(Error::io("sync the new file"))
    }

    /// Makes the touched stretches of the key order look as they do in the old file.
    fn take_over(&mut self, changes: &[State], to: u64) -> Result<(), Error> {
        self.pages.forget();
        let mut pending = Pending::new(self.header, self.fillers);
        let mut working = Working::new(self.file, &mut self.pages, &mut pending, self.order);
        for State { key, value, before } in changes {
            match (key, value) {
                (Some(key), Some(value)) => working.put(key, value)?,
                (Some(key), None) => working.delete(key)?,
                (None, _) => false,
            };
            self.replayed += 1;
            loop {
                let last = working.seek(key.as_deref())?.last;
                let before = before.as_deref().unwrap_or_default();
                if last.head.kind == Kind::Dummy || self.order.compare(last.key(), before).is_le() {
                    break;
                }
                working.delete(last.key())?;
            }
        }
        self.header = pending.write(self.file, &mut self.pages, Durability::None)?;
        self.replayed_to = to;
        Ok(())
    }
}

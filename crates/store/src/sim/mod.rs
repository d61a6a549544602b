//! A disk in memory whose power can be cut, for tests.
//!
//! It keeps what `docs/store-format.md` assumes of a disk, and nothing more: what was not synced is
//! lost, torn or reordered when the power goes.

mod inode;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::file::{File, FileSystem, Identity, Open};
use inode::{Dice, Inode, Op};

pub use inode::Tear;

/// The disk. Clones are handles to the same one.
#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Clone, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// The names after each operation since the last sync of the directory.
    pending_names: Vec<BTreeMap<PathBuf, usize>>,
    locks: BTreeSet<PathBuf>,
    boots: u64,
    calls: u64,
    power_cut_after: Option<u64>,
    faults: BTreeMap<u64, ErrorKind>,
    capacity: Option<usize>,
    machine: String,
}

impl SimDisk {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk with the same content, and no fault to come.
    #[must_use]
    pub fn copy(&self) -> Self {
        let mut state = self.state().clone();
        state.faults.clear();
        state.power_cut_after = None;
        state.locks.clear();
        Self(Arc::new(Mutex::new(state)))
    }

    /// Calls made so far.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Cuts the power after the call of this number, counted from the first of all: every later one
    /// fails.
    pub fn cut_power_after(&self, call: u64) {
        self.state().power_cut_after = Some(call);
    }

    /// Whether the power is cut.
    pub fn is_dark(&self) -> bool {
        self.state().is_dark()
    }

    /// Makes the call of this number fail. A write is done half before; a sync leaves the page cache
    /// clean and the disk as it was.
    pub fn fail_call(&self, call: u64, kind: ErrorKind) {
        self.state().faults.insert(call, kind);
    }

    /// Says which machine the disk is in.
    pub fn set_machine(&self, name: &str) {
        name.clone_into(&mut self.state().machine);
    }

    /// Bounds the octets that all files together may have.
    pub fn set_capacity(&self, octets: Option<usize>) {
        self.state().capacity = octets;
    }

    /// Brings the power back, with what the disk has kept.
    pub fn reboot(&self, tear: Tear, seed: u64) {
        let mut state = self.state();
        let mut dice = Dice::new(seed);
        let kept = match tear {
            Tear::Lose => 0,
            Tear::Keep => state.pending_names.len(),
            Tear::Mix => dice.below(state.pending_names.len() + 1),
        };
        let last = kept.checked_sub(1);
        let names = last.and_then(|last| state.pending_names.get(last).cloned());
        let names = names.unwrap_or_else(|| state.durable_names.clone());
        for inode in &mut state.inodes {
            inode.lose_power(tear, &mut dice);
        }
        state.names.clone_from(&names);
        state.durable_names = names;
        state.pending_names.clear();
        state.locks.clear();
        state.boots += 1;
        state.power_cut_after = None;
        state.faults.clear();
    }

    /// All files.
    pub fn files(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }

    /// Content of a file, empty if there is none.
    pub fn content(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        let inode = state
            .names
            .get(path)
            .and_then(|&number| state.inodes.get(number));
        inode.map(|inode| inode.live.clone()).unwrap_or_default()
    }

    /// Puts a file there, durably, without a call.
    pub fn put(&self, path: &Path, content: Vec<u8>) {
        let mut state = self.state();
        let number = state.inodes.len();
        state.inodes.push(Inode::durable(content));
        state.names.insert(path.to_owned(), number);
        state.durable_names.insert(path.to_owned(), number);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_dark(&self) -> bool {
        self.power_cut_after.is_some_and(|last| self.calls > last)
    }

    /// Counts a call; `Ok` with the error that it shall end with.
    fn call(&mut self) -> io::Result<Option<io::Error>> {
        self.calls += 1;
        if self.is_dark() {
            return Err(io::Error::other("no power"));
        }
        Ok(self.faults.get(&self.calls).map(|&kind| kind.into()))
    }

    fn names_changed(&mut self) {
        self.pending_names.push(self.names.clone());
    }

    fn used(&self) -> usize {
        let live = self
            .names
            .values()
            .filter_map(|&number| self.inodes.get(number));
        live.map(|inode| inode.live.len()).sum()
    }

    /// How many octets of a write fit on the disk.
    fn fitting(&self, number: usize, offset: usize, len: usize) -> usize {
        let Some(capacity) = self.capacity else {
            return len;
        };
        let size = self.inodes.get(number).map_or(0, |inode| inode.live.len());
        let growth = (offset + len).saturating_sub(size);
        let excess = (self.used() + growth).saturating_sub(capacity);
        len.saturating_sub(excess)
    }

    fn inode(&mut self, number: usize) -> io::Result<&mut Inode> {
        let gone = || io::Error::from(ErrorKind::NotFound);
        self.inodes.get_mut(number).ok_or_else(gone)
    }
}

fn fail(fault: Option<io::Error>) -> io::Result<()> {
    fault.map_or(Ok(()), Err)
}

impl FileSystem for SimDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        fail(self.state().call()?)
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        fail(state.call()?)?;
        let known = state.names.get(path).copied();
        let inode = match (how, known) {
            (Open::Read | Open::Write, None) => return Err(ErrorKind::NotFound.into()),
            (Open::Read | Open::Write, Some(number)) => number,
            (Open::Create, Some(number)) => {
                state.inode(number)?.apply(Op::SetLen(0));
                number
            }
            (Open::Create, None) => {
                let number = state.inodes.len();
                state.inodes.push(Inode::default());
                state.names.insert(path.to_owned(), number);
                state.names_changed();
                number
            }
        };
        Ok(Box::new(SimFile {
            disk: self.clone(),
            inode,
            boot: state.boots,
        }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state();
        fail(state.call()?)?;
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        let names = inside.filter_map(|path| path.file_name()?.to_str());
        Ok(names.map(str::to_owned).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        fail(state.call()?)?;
        let inode = state.names.remove(from).ok_or(ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), inode);
        state.names_changed();
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        fail(state.call()?)?;
        state.names.remove(path).ok_or(ErrorKind::NotFound)?;
        state.names_changed();
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let mut state = self.state();
        fail(state.call()?)?;
        state.durable_names = state.names.clone();
        state.pending_names.clear();
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>> {
        let mut state = self.state();
        fail(state.call()?)?;
        if !state.locks.insert(path.to_owned()) {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock {
            disk: self.clone(),
            path: path.to_owned(),
            boot: state.boots,
        }))
    }

    fn identity(&self, path: &Path) -> io::Result<Identity> {
        let mut state = self.state();
        fail(state.call()?)?;
        let inode = state.names.get(path).ok_or(ErrorKind::NotFound)?;
        Ok(Identity {
            device: 1,
            born: 0,
            inode: u64::try_from(*inode).map_err(io::Error::other)?,
            machine: state.machine.clone(),
            boot: state.boots.to_string(),
        })
    }
}

struct SimLock {
    disk: SimDisk,
    path: PathBuf,
    boot: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.boots == self.boot {
            state.locks.remove(&self.path);
        }
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
    boot: u64,
}

impl SimFile {
    /// The disk, after a call was counted. A file that was opened before the power went is gone.
    fn call(&self) -> io::Result<(MutexGuard<'_, State>, Option<io::Error>)> {
        let mut state = self.disk.state();
        if state.boots != self.boot {
            return Err(io::Error::other("no power"));
        }
        let fault = state.call()?;
        Ok((state, fault))
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        let (mut state, fault) = self.call()?;
        fail(fault)?;
        let len = state.inode(self.inode)?.live.len();
        u64::try_from(len).map_err(io::Error::other)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let (mut state, fault) = self.call()?;
        fail(fault)?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let rest = state
            .inode(self.inode)?
            .live
            .get(offset..)
            .unwrap_or_default();
        let len = rest.len().min(buffer.len());
        let (head, _) = buffer.split_at_mut(len);
        head.copy_from_slice(rest.get(..len).unwrap_or_default());
        Ok(len)
    }

    fn write_at(&mut self, octets: &[u8], offset: u64) -> io::Result<()> {
        let (mut state, fault) = self.call()?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let fitting = state.fitting(self.inode, offset, octets.len());
        let len = if fault.is_some() {
            fitting / 2
        } else {
            fitting
        };
        let written = octets.get(..len).unwrap_or_default().to_vec();
        state.inode(self.inode)?.apply(Op::Write(offset, written));
        fail(fault)?;
        if len < octets.len() {
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let (mut state, fault) = self.call()?;
        fail(fault)?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        state.inode(self.inode)?.apply(Op::SetLen(len));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let (mut state, fault) = self.call()?;
        state.inode(self.inode)?.sync(fault.is_none());
        fail(fault)
    }
}

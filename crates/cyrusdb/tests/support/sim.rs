//! A disk in memory that writes down every call, so that a test can look at what a power cut after
//! any of them would have left.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use cyrusdb::file::{Disk, File, FileId};
use cyrusdb::lock::LockKind;
use rand::RngExt;
use rand::rngs::StdRng;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

#[derive(Debug, Clone)]
enum Call {
    Write {
        inode: usize,
        offset: u64,
        bytes: Vec<u8>,
    },
    SetLen {
        inode: usize,
        len: u64,
    },
    Sync {
        inode: usize,
    },
    /// The temporary file takes the database's name.
    Rename {
        inode: usize,
    },
    SyncDirectory,
}

#[derive(Debug, Default)]
struct State {
    /// Contents as a process sees them.
    files: Vec<Vec<u8>>,
    in_place: usize,
    temporary: Option<usize>,
    calls: Vec<Call>,
    /// The call with this number fails, and has no effect.
    failing: Option<usize>,
}

impl State {
    /// Writes a call down, unless it is to fail.
    fn note(&mut self, call: Call) -> io::Result<()> {
        if self.failing == Some(self.calls.len()) {
            self.failing = None;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.calls.push(call);
        Ok(())
    }
}

/// One database, and the temporary file of a checkpoint.
#[derive(Debug, Clone)]
pub struct SimDisk(Rc<RefCell<State>>);

#[derive(Debug)]
pub struct SimFile {
    state: Rc<RefCell<State>>,
    inode: usize,
}

impl SimDisk {
    /// A disk on which the database has this content, safely.
    pub fn new(content: Vec<u8>) -> Self {
        let state = State {
            files: vec![content],
            ..State::default()
        };
        Self(Rc::new(RefCell::new(state)))
    }

    /// How many calls there were so far.
    pub fn calls(&self) -> usize {
        self.0.borrow().calls.len()
    }

    /// Makes the call with this number fail, once.
    pub fn fail_at(&self, call: usize) {
        self.0.borrow_mut().failing = Some(call);
    }

    /// What is under the database's name after the first `calls` calls since `start`, if the process
    /// is killed then: everything done is there.
    pub fn killed_after(&self, start: Vec<u8>, calls: usize) -> Vec<u8> {
        replay(start, &self.0.borrow().calls[..calls], None)
    }

    /// The same if the power fails: of what was not synced, any part may be missing, sector by
    /// sector, and so may a rename.
    pub fn power_cut_after(&self, start: Vec<u8>, calls: usize, rng: &mut StdRng) -> Vec<u8> {
        replay(start, &self.0.borrow().calls[..calls], Some(rng))
    }
}

/// Applies calls; with `rng`, loses some of what no later sync covers.
fn replay(start: Vec<u8>, calls: &[Call], mut rng: Option<&mut StdRng>) -> Vec<u8> {
    let mut files = vec![start];
    let mut in_place = 0;
    for (at, call) in calls.iter().enumerate() {
        let later = &calls[at + 1..];
        match call {
            Call::Write {
                inode,
                offset,
                bytes,
            } => {
                let safe = synced(later, *inode);
                let file = file(&mut files, *inode);
                write(
                    file,
                    *offset,
                    bytes,
                    if safe { None } else { rng.as_deref_mut() },
                );
            }
            Call::SetLen { inode, len } => {
                let lost = !synced(later, *inode) && lost(&mut rng);
                if !lost {
                    file(&mut files, *inode).resize(usize::try_from(*len).unwrap(), 0);
                }
            }
            Call::Rename { inode } => {
                let safe = later.iter().any(|call| matches!(call, Call::SyncDirectory));
                if safe || !lost(&mut rng) {
                    in_place = *inode;
                }
            }
            Call::Sync { .. } | Call::SyncDirectory => {}
        }
    }
    files.swap_remove(in_place)
}

fn synced(later: &[Call], wanted: usize) -> bool {
    later
        .iter()
        .any(|call| matches!(call, Call::Sync { inode } if *inode == wanted))
}

fn lost(rng: &mut Option<&mut StdRng>) -> bool {
    rng.as_deref_mut().is_some_and(RngExt::random)
}

fn file(files: &mut Vec<Vec<u8>>, inode: usize) -> &mut Vec<u8> {
    files.resize(files.len().max(inode + 1), Vec::new());
    &mut files[inode]
}

/// Writes all of it, or with `rng` only some of the sectors.
fn write(file: &mut Vec<u8>, offset: u64, bytes: &[u8], mut rng: Option<&mut StdRng>) {
    let mut at = usize::try_from(offset).unwrap();
    let mut rest = bytes;
    while !rest.is_empty() {
        let count = rest.len().min(SECTOR - at % SECTOR);
        let (now, later) = rest.split_at(count);
        if !lost(&mut rng) {
            file.resize(file.len().max(at + count), 0);
            file[at..at + count].copy_from_slice(now);
        }
        at += count;
        rest = later;
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.state.borrow().files[self.inode].len()).unwrap())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let state = self.state.borrow();
        let file = &state.files[self.inode];
        let start = file
            .len()
            .min(usize::try_from(offset).unwrap_or(usize::MAX));
        let count = into.len().min(file.len() - start);
        into[..count].copy_from_slice(&file[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.note(Call::Write {
            inode: self.inode,
            offset,
            bytes: bytes.to_vec(),
        })?;
        write(&mut state.files[self.inode], offset, bytes, None);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let inode = self.inode;
        state.note(Call::SetLen { inode, len })?;
        state.files[inode].resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let inode = self.inode;
        self.state.borrow_mut().note(Call::Sync { inode })
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn open(&self) -> io::Result<SimFile> {
        let inode = self.0.borrow().in_place;
        Ok(SimFile {
            state: Rc::clone(&self.0),
            inode,
        })
    }

    fn id(&self, file: &SimFile) -> io::Result<FileId> {
        Ok(FileId {
            device: 0,
            inode: u64::try_from(file.inode).unwrap(),
        })
    }

    fn id_in_place(&self) -> io::Result<FileId> {
        Ok(FileId {
            device: 0,
            inode: u64::try_from(self.0.borrow().in_place).unwrap(),
        })
    }

    fn lock(&self, _: &SimFile, _: LockKind, _: Duration) -> io::Result<bool> {
        Ok(true)
    }

    fn unlock(&self, _: &SimFile) -> io::Result<()> {
        Ok(())
    }

    fn temporary(&self, _: &SimFile) -> io::Result<Option<SimFile>> {
        let mut state = self.0.borrow_mut();
        state.files.push(Vec::new());
        let inode = state.files.len() - 1;
        state.temporary = Some(inode);
        Ok(Some(SimFile {
            state: Rc::clone(&self.0),
            inode,
        }))
    }

    fn replace(&self) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let inode = state.temporary.unwrap();
        state.note(Call::Rename { inode })?;
        state.temporary = None;
        state.in_place = inode;
        state.note(Call::SyncDirectory)
    }

    fn remove_temporary(&self, _: &SimFile) -> io::Result<()> {
        self.0.borrow_mut().temporary = None;
        Ok(())
    }
}

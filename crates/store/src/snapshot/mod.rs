//! Snapshots: what shortens the next start.

pub(crate) mod blocks;
pub(crate) mod format;
mod parallel;
pub(crate) mod read;
mod sums;
mod write;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use tracing::{debug, warn};

use crate::file::FileSystem;
use crate::log::LogPosition;
use crate::log::segment;
use crate::store::Shared;
use crate::{Sequence, StoreConfig};

const PREFIX: &str = "snapshot.";

/// Snapshots that are kept.
const KEPT: usize = 2;

/// Name of a snapshot's file.
pub(crate) fn file_name(number: u64) -> String {
    format!("{PREFIX}{number:010}")
}

/// Number of the snapshot that a file name stands for.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_prefix(PREFIX)?.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

/// The snapshots that a start may rely on.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Number and place in the log of each, oldest first.
    pub(crate) usable: Vec<(u64, LogPosition)>,
    /// Numbers of those that are damaged; removed when there is a new one.
    pub(crate) damaged: Vec<u64>,
}

impl Kept {
    fn next_number(&self) -> u64 {
        let numbers = self.usable.iter().map(|(number, _)| number);
        numbers
            .chain(&self.damaged)
            .max()
            .map_or(1, |last| last + 1)
    }
}

/// Writes snapshots and removes the segments that nobody needs any more. The writer never waits
/// for it.
pub struct Snapshotter {
    shared: Arc<Shared>,
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    config: StoreConfig,
    kept: Kept,
}

impl Snapshotter {
    pub(crate) fn new(
        shared: Arc<Shared>,
        fs: Arc<dyn FileSystem>,
        dir: PathBuf,
        config: StoreConfig,
        kept: Kept,
    ) -> Self {
        Self {
            shared,
            fs,
            dir,
            config,
            kept,
        }
    }

    /// Works until the writer has ended.
    pub(crate) fn run(mut self, wakes: &Receiver<()>) {
        while wakes.recv().is_ok() {
            if self.shared.snapshot_due(&self.config) {
                self.try_step();
            }
        }
        if self.shared.final_snapshot_due(&self.config) {
            self.try_step();
        }
    }

    fn try_step(&mut self) {
        if let Err(cause) = self.step() {
            warn!(%cause, "snapshot can't be written, the next start will replay more of the log");
        }
    }

    /// Writes a snapshot of the list as it is now, then removes what it makes superfluous.
    pub fn step(&mut self) -> io::Result<()> {
        let log_bytes = self.shared.log_bytes.load(Ordering::Relaxed);
        let version = self.shared.current.load_full();
        // A failed attempt counts too: the next one has to wait for as much log again.
        self.shared.snapshot_at.store(log_bytes, Ordering::Relaxed);
        let number = self.kept.next_number();
        let len = write::write(&*self.fs, &self.dir, number, &version)?;
        self.shared.snapshot_len.store(len, Ordering::Relaxed);
        self.kept.usable.push((number, version.log));
        debug!(
            number,
            sequence = version.sequence.0,
            len,
            "snapshot written"
        );
        drop(version);
        self.remove_snapshots()?;
        self.remove_segments()
    }

    fn remove_snapshots(&mut self) -> io::Result<()> {
        for number in std::mem::take(&mut self.kept.damaged) {
            self.fs.remove(&self.dir.join(file_name(number)))?;
        }
        while self.kept.usable.len() > KEPT {
            let (number, _) = self.kept.usable.remove(0);
            self.fs.remove(&self.dir.join(file_name(number)))?;
        }
        Ok(())
    }

    /// A segment goes when all of it is older than both snapshots and than the history.
    fn remove_segments(&self) -> io::Result<()> {
        let [(_, oldest), _] = self.kept.usable.as_slice() else {
            return Ok(());
        };
        if !self.shared.backlog.is_read() {
            // How far the history reaches back is not known yet.
            return Ok(());
        }
        let history = self.shared.current.load().history().start();
        let names = self.fs.list(&self.dir)?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|n| segment::number_of(n)).collect();
        numbers.sort_unstable();
        for pair in numbers.windows(2) {
            let &[number, next] = pair else { break };
            if number >= oldest.segment || base_of(&*self.fs, &self.dir, next)? > history {
                break;
            }
            self.fs.remove(&self.dir.join(segment::file_name(number)))?;
        }
        self.fs.sync_dir(&self.dir)
    }
}

/// The sequence that a segment continues from.
fn base_of(fs: &dyn FileSystem, dir: &Path, number: u64) -> io::Result<Sequence> {
    let path = dir.join(segment::file_name(number));
    Ok(segment::read_header(fs, &path)?.sequence)
}

impl std::fmt::Debug for Snapshotter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshotter")
            .field("kept", &self.kept)
            .finish_non_exhaustive()
    }
}

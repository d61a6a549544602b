//! Looking through everything again, slowly, for what has gone bad since it was written
//! (`docs/store-format.md`, "Scrubbing").

mod files;
mod list;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use thiserror::Error;
use tracing::{debug, error};

use crate::file::{FileSystem, Open};
use crate::log::{LogPosition, segment};
use crate::store::Shared;
use crate::{Sequence, StoreConfig, Sum, snapshot};

use files::{Progress, SegmentFile, SnapshotFile};
use list::List;

/// Findings that are remembered.
const FINDINGS_MAX: usize = 100;

/// The list is looked at so soon after the start: its digests were taken from the snapshot.
const LIST_AFTER: Duration = Duration::from_secs(10);

/// The first pass begins this long after the start, unless passes are more frequent.
const FIRST_PASS_AFTER: Duration = Duration::from_mins(10);

/// What the passes so far have come to.
#[derive(Debug, Clone, Default)]
pub struct ScrubReport {
    /// Passes that were finished.
    pub passes: u64,
    /// When the last one was finished.
    pub last: Option<SystemTime>,
    /// Octets of files that were read.
    pub bytes: u64,
    /// What was found, each once, the first hundred. It stays until a restart.
    pub findings: Vec<ScrubFinding>,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ScrubFinding {
    /// A file is damaged.
    #[error("{}: damaged at offset {offset}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage is, in octets.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A file can't be read.
    #[error("{}: can't be read: {what}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// The list in memory does not add up to what it is said to.
    #[error(
        "list in memory at {sequence} adds up to {} entries and root {}, not {} and {}",
        found.count, found.root, expected.count, expected.root
    )]
    List {
        /// The list's.
        sequence: Sequence,
        /// What the version says.
        expected: Sum,
        /// What its entries add up to.
        found: Sum,
    },
}

/// What a step has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scrubbed {
    /// So many octets were looked at.
    Octets(u64),
    /// The pass is finished.
    Done,
}

/// What is looked at next.
enum Task {
    Snapshot(u64),
    Segment(u64),
    List,
}

/// What is being looked at.
enum Under {
    Snapshot(SnapshotFile),
    Segment(SegmentFile),
    List(Box<List>),
}

/// Looks through snapshots, log and list, bit by bit.
pub struct Scrubber {
    shared: Arc<Shared>,
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    config: StoreConfig,
    tasks: VecDeque<Task>,
    under: Option<Under>,
    /// The end of the log when the pass began.
    end: LogPosition,
    begun: bool,
    /// Whether it looks at everything.
    whole: bool,
}

impl Scrubber {
    pub(crate) fn new(
        shared: Arc<Shared>,
        fs: Arc<dyn FileSystem>,
        dir: &Path,
        config: StoreConfig,
    ) -> Self {
        Self {
            shared,
            fs,
            dir: dir.to_owned(),
            config,
            tasks: VecDeque::new(),
            under: None,
            end: LogPosition::default(),
            begun: false,
            whole: true,
        }
    }

    /// Works until the other end of `stop` is gone. Nothing to do where no rate is allowed.
    pub(crate) fn run(mut self, stop: &Receiver<()>) {
        let rate = self.config.scrub_bytes_per_second;
        let pause = self.config.scrub_interval;
        if rate == 0 {
            return;
        }
        let mut wait = pause.min(LIST_AFTER);
        let mut next = pause.min(FIRST_PASS_AFTER).saturating_sub(wait);
        self.begun = true;
        self.whole = false;
        self.tasks.push_back(Task::List);
        while stop.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
            let began = Instant::now();
            while let Scrubbed::Octets(octets) = self.step() {
                let micros = u128::from(octets) * 1_000_000 / u128::from(rate);
                let pace = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
                if stop.recv_timeout(pace) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
            wait = std::mem::replace(&mut next, pause).saturating_sub(began.elapsed());
        }
    }

    /// Looks at a little more; begins a pass when none is under way.
    pub fn step(&mut self) -> Scrubbed {
        if !self.begun {
            self.begin();
        }
        loop {
            let Some(mut under) = self.under.take() else {
                let Some(task) = self.tasks.pop_front() else {
                    self.finish();
                    return Scrubbed::Done;
                };
                self.under = self.open(&task);
                continue;
            };
            let progress = match &mut under {
                Under::Snapshot(file) => file.step(),
                Under::Segment(file) => file.step(),
                Under::List(list) => list.step(),
            };
            match progress {
                Progress::More(octets) => {
                    if !matches!(under, Under::List(_)) {
                        self.report().bytes += octets;
                    }
                    self.under = Some(under);
                    return Scrubbed::Octets(octets);
                }
                Progress::End => {}
                Progress::Bad(finding) => self.note(finding),
            }
        }
    }

    fn begin(&mut self) {
        self.begun = true;
        self.end = self.shared.current.load().log;
        let names = match self.fs.list(&self.dir) {
            Ok(names) => names,
            Err(error) => {
                let path = self.dir.clone();
                let what = error.to_string();
                self.note(ScrubFinding::Unreadable { path, what });
                Vec::new()
            }
        };
        let numbers = |number_of: fn(&str) -> Option<u64>| {
            let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
            numbers.sort_unstable();
            numbers
        };
        let snapshots = numbers(snapshot::number_of);
        let mut segments = numbers(segment::number_of);
        segments.retain(|&number| number <= self.end.segment);
        self.tasks = snapshots.into_iter().map(Task::Snapshot).collect();
        self.tasks.extend(segments.into_iter().map(Task::Segment));
        self.tasks.push_back(Task::List);
    }

    /// A file that is gone was superfluous.
    fn open(&mut self, task: &Task) -> Option<Under> {
        let path = match task {
            Task::Snapshot(number) => self.dir.join(snapshot::file_name(*number)),
            Task::Segment(number) => self.dir.join(segment::file_name(*number)),
            Task::List => {
                let version = self.shared.current.load_full();
                return Some(Under::List(Box::new(List::new(version))));
            }
        };
        let file = match self.fs.open(&path, Open::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                let what = error.to_string();
                self.note(ScrubFinding::Unreadable { path, what });
                return None;
            }
        };
        file.forget();
        Some(match task {
            Task::Segment(number) => {
                let end = (*number == self.end.segment).then_some(self.end.offset);
                Under::Segment(SegmentFile::new(path, file, end))
            }
            Task::Snapshot(_) | Task::List => Under::Snapshot(SnapshotFile::new(path, file)),
        })
    }

    fn finish(&mut self) {
        self.begun = false;
        if !std::mem::replace(&mut self.whole, true) {
            return;
        }
        let now = (self.config.clock)();
        let mut report = self.report();
        report.passes += 1;
        report.last = Some(now);
        debug!(
            bytes = report.bytes,
            findings = report.findings.len(),
            "store scrubbed"
        );
    }

    fn note(&self, finding: ScrubFinding) {
        error!(%finding, "store has gone bad");
        let mut report = self.report();
        if report.findings.len() < FINDINGS_MAX && !report.findings.contains(&finding) {
            report.findings.push(finding);
        }
    }

    fn report(&self) -> std::sync::MutexGuard<'_, ScrubReport> {
        lock(&self.shared.scrub)
    }
}

pub(crate) fn lock(report: &Mutex<ScrubReport>) -> std::sync::MutexGuard<'_, ScrubReport> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scrubber")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

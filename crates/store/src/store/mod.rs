//! The handle that everybody holds.

mod following;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use arc_swap::ArcSwap;
use proto::Refusal;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, error, warn};

use crate::draft::Judge;
use crate::error::{EditError, OpenError};
use crate::feed::{Feed, Feeds};
use crate::file::FileSystem;
use crate::recover::{self, Backlog, Finding, OpenReport, Recovered};
use crate::rules::{Answer, Batch, Rules};
use crate::scrub::{self, ScrubReport, Scrubber};
use crate::snapshot::Snapshotter;
use crate::writer::{Alone, Command, Job, Parts, Writer};
use crate::{History, Origin, Sequence, StoreConfig, Version};

/// What can be done with the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It can be written.
    Writable,
    /// The last group could not be written (a full disk): edits get NO, each group tries again.
    Full,
    /// A group could not be made durable: edits get NO until a restart.
    Failed,
}

/// Which part of a snapshot's length the log behind it must have for another one at the end.
const FINAL_SNAPSHOT_SHARE: u64 = 16;

/// What the writer shares with everybody.
pub(crate) struct Shared {
    pub(crate) current: ArcSwap<Version>,
    watch: watch::Receiver<Sequence>,
    pub(crate) announced: watch::Sender<Sequence>,
    ended: watch::Sender<bool>,
    pub(crate) feeds: Arc<Feeds>,
    health: AtomicU8,
    /// Octets of log since the start.
    pub(crate) log_bytes: AtomicU64,
    /// The same at the last snapshot.
    pub(crate) snapshot_at: AtomicU64,
    /// Length of the last snapshot.
    pub(crate) snapshot_len: AtomicU64,
    pub(crate) backlog: Progress,
    pub(crate) scrub: Mutex<ScrubReport>,
}

/// How far the history from before the start has been read.
pub(crate) struct Progress {
    read: watch::Sender<bool>,
    given_up: AtomicBool,
    findings: Mutex<Vec<Finding>>,
}

impl Progress {
    fn new(nothing_to_read: bool) -> Self {
        Self {
            read: watch::Sender::new(nothing_to_read),
            given_up: AtomicBool::new(false),
            findings: Mutex::default(),
        }
    }

    pub(crate) fn is_read(&self) -> bool {
        *self.read.borrow()
    }

    pub(crate) fn end(&self, findings: Vec<Finding>) {
        *self.findings.lock().unwrap_or_else(PoisonError::into_inner) = findings;
        self.read.send_replace(true);
    }
}

impl Shared {
    fn new(
        version: Version,
        watch: watch::Receiver<Sequence>,
        report: &OpenReport,
        backlog: bool,
    ) -> Self {
        Self {
            backlog: Progress::new(!backlog),
            scrub: Mutex::default(),
            watch,
            announced: watch::Sender::new(version.sequence),
            ended: watch::Sender::new(false),
            current: ArcSwap::from_pointee(version),
            feeds: Arc::default(),
            health: AtomicU8::new(0),
            log_bytes: AtomicU64::new(report.replayed_bytes),
            snapshot_at: AtomicU64::new(0),
            snapshot_len: AtomicU64::new(report.snapshot_bytes),
        }
    }

    pub(crate) fn health(&self) -> Health {
        health_from(self.health.load(Ordering::Acquire))
    }

    /// Returns the health before.
    pub(crate) fn set_health(&self, health: Health) -> Health {
        let number = match health {
            Health::Writable => 0,
            Health::Full => 1,
            Health::Failed => 2,
        };
        health_from(self.health.swap(number, Ordering::AcqRel))
    }

    /// Octets of log that no snapshot covers.
    pub(crate) fn uncovered_bytes(&self) -> u64 {
        let written = self.log_bytes.load(Ordering::Relaxed);
        written.saturating_sub(self.snapshot_at.load(Ordering::Relaxed))
    }

    pub(crate) fn final_snapshot_due(&self, config: &StoreConfig) -> bool {
        let worth_it = self.snapshot_len.load(Ordering::Relaxed) / FINAL_SNAPSHOT_SHARE;
        self.uncovered_bytes() >= config.final_snapshot_bytes.max(worth_it).max(1)
    }

    pub(crate) fn snapshot_due(&self, config: &StoreConfig) -> bool {
        let len = self.snapshot_len.load(Ordering::Relaxed);
        self.uncovered_bytes() >= config.snapshot_every_bytes.max(len)
    }
}

fn health_from(number: u8) -> Health {
    match number {
        0 => Health::Writable,
        1 => Health::Full,
        _ => Health::Failed,
    }
}

/// A store in use. Clones are handles to the same one; when the last is gone it stops.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Command>,
}

/// Sees the versions, without holding the store.
pub(crate) struct Watcher(Arc<Shared>);

impl Watcher {
    pub(crate) fn current(&self) -> Arc<Version> {
        self.0.current.load_full()
    }
}

/// A store whose threads the caller plays, step by step.
#[derive(Debug)]
pub struct Stepped {
    /// The handle.
    pub store: Store,
    /// Makes groups of what is queued.
    pub writer: Writer,
    /// Writes snapshots.
    pub snapshotter: Snapshotter,
    /// Looks for what has gone bad.
    pub scrubber: Scrubber,
    /// What was found at the start.
    pub report: OpenReport,
    backlog: Option<Backlog>,
}

impl Stepped {
    /// Reads the history from before the start, and has the writer take it. What it finds is added to
    /// the report. A second time does nothing.
    pub fn read_history(&mut self) {
        let read = self.backlog.take().and_then(|b| b.read(|| false));
        if let Some(older) = read {
            self.report.findings.extend(older.findings.iter().cloned());
            self.writer.take_history(older);
        }
    }
}

impl Store {
    /// Opens the store in a directory, or creates one there: takes its lock, recovers the list and
    /// starts a thread for the writer and one for snapshots. The list is complete then; the history
    /// from before is still being read ([`Store::history_complete`]).
    pub fn open(
        fs: impl FileSystem,
        dir: &Path,
        config: StoreConfig,
        rules: Box<dyn Rules>,
    ) -> Result<(Self, OpenReport), OpenError> {
        let (parts, wakes) = prepare(Arc::new(fs), dir, config, rules)?;
        let Stepped {
            store,
            writer,
            snapshotter,
            scrubber,
            report,
            backlog,
        } = parts;
        let io = |source| OpenError::Io {
            what: "can't start threads for",
            path: dir.to_owned(),
            source,
        };
        let snapshots = thread::Builder::new().name("store-snapshot".into());
        let snapshots = snapshots
            .spawn(move || snapshotter.run(&wakes))
            .map_err(io)?;
        let history = backlog.map(|backlog| {
            let queue = store.queue.downgrade();
            let shared = Arc::clone(&store.shared);
            let thread = thread::Builder::new().name("store-history".into());
            thread.spawn(move || read_history(&backlog, &shared, &queue))
        });
        let history = history.transpose().map_err(io)?;
        let (scrub, stop_scrub) = sync_channel(0);
        let scrubs = thread::Builder::new().name("store-scrub".into());
        let scrubs = scrubs
            .spawn(move || scrubber.run(&stop_scrub))
            .map_err(io)?;
        let helpers = Helpers {
            threads: [Some(snapshots), history, Some(scrubs)],
            scrub,
        };
        let thread = thread::Builder::new().name("store-writer".into());
        let shared = Arc::clone(&store.shared);
        thread
            .spawn(move || run(writer, helpers, &shared))
            .map_err(io)?;
        Ok((store, report))
    }

    /// As [`Store::open`], without threads.
    pub fn open_stepped(
        fs: Arc<dyn FileSystem>,
        dir: &Path,
        config: StoreConfig,
        rules: Box<dyn Rules>,
    ) -> Result<Stepped, OpenError> {
        Ok(prepare(fs, dir, config, rules)?.0)
    }

    /// The list as it is now.
    pub fn current(&self) -> Arc<Version> {
        self.shared.current.load_full()
    }

    /// Tells the sequence of each version as it is published.
    pub fn watch(&self) -> watch::Receiver<Sequence> {
        self.shared.watch.clone()
    }

    /// Tells where a group of changes will lead to that is being made durable: whoever has to prepare for changes has
    /// the time of a sync for it. A group that can't be made durable has been announced all the same.
    pub fn announcements(&self) -> watch::Receiver<Sequence> {
        self.shared.announced.subscribe()
    }

    /// Becomes true once the versions hold the history from before the start, as far as it is kept
    /// and can be read. Until then it begins at the start: feeds that need more find that they fell
    /// behind, so who resumes from somewhere may wait here for a while.
    pub fn history_complete(&self) -> watch::Receiver<bool> {
        self.shared.backlog.read.subscribe()
    }

    /// What was not as it should be in the history from before the start.
    pub fn history_findings(&self) -> Vec<Finding> {
        let findings = self.shared.backlog.findings.lock();
        findings.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What looking through everything again has come to so far.
    pub fn scrub_report(&self) -> ScrubReport {
        scrub::lock(&self.shared.scrub).clone()
    }

    /// Whether the log can be written.
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// Has edits decided and made durable, in order; one answer for each. Waits while the writer's
    /// queue is full. Once the edits are queued they are carried out even if this future is dropped.
    pub async fn edit(&self, batch: Batch) -> Result<Vec<Answer>, EditError> {
        self.ask(|reply| Command::Edit(Job::new(batch, reply)))
            .await
    }

    /// Declares all conflicts settled: the end of a recovery.
    pub async fn forget_conflicts(&self, origin: Origin) -> Result<Answer, EditError> {
        self.ask(|reply| Command::ForgetConflicts { origin, reply })
            .await
    }

    /// Leaves the history for a new epoch, because others may have continued the old one. Returns
    /// the first version of the new epoch, or the disk's NO.
    pub async fn new_epoch(&self) -> Result<Result<Arc<Version>, Refusal>, EditError> {
        self.ask_alone(|reply| Alone::NewEpoch { reply }).await
    }

    /// A handle that does not keep the store from ending.
    pub(crate) fn watcher(&self) -> Watcher {
        Watcher(Arc::clone(&self.shared))
    }

    /// A cursor behind `from`. With a version's own sequence it also holds the history that a dump
    /// of this version must be followed by.
    pub fn feed(&self, from: Sequence) -> Feed {
        Feed::new(Arc::clone(&self.shared), self.watch(), from, None)
    }

    /// A cursor for a subscriber that came with a place, and stands at `from` by
    /// [`Version::local_position`] of `version`. Where a master is followed, its list need not be ours
    /// at that place, only as near to the master's; see [`Feed::keeps_up`].
    pub fn resume(&self, from: Sequence, version: &Version) -> Feed {
        let follows = version.follows.is_some();
        let awaits = follows.then(|| version.history().gaps());
        Feed::new(Arc::clone(&self.shared), self.watch(), from, awaits)
    }

    /// Carries out what is queued, writes a snapshot if much would have to be replayed, and gives
    /// the lock back. Waits for the threads; other
    /// and later requests get [`EditError::Stopped`].
    pub async fn shutdown(self) {
        drop(self.queue.send(Command::Stop).await);
        let mut ended = self.shared.ended.subscribe();
        // The sender is part of what this handle holds, so there is no other way to end.
        drop(ended.wait_for(|&ended| ended).await);
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, EditError>>) -> Command,
    ) -> Result<T, EditError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.queue.send(command(reply)).await;
        sent.map_err(|_| EditError::Stopped)?;
        answer.await.unwrap_or(Err(EditError::Stopped))
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("current", &self.current())
            .finish_non_exhaustive()
    }
}

fn prepare(
    fs: Arc<dyn FileSystem>,
    dir: &Path,
    config: StoreConfig,
    rules: Box<dyn Rules>,
) -> Result<(Stepped, Receiver<()>), OpenError> {
    let Recovered {
        version,
        log,
        lock,
        digester,
        snapshots,
        backlog,
        report,
    } = recover::open(&fs, dir, &config)?;
    let sequences = watch::Sender::new(version.sequence);
    let watch = sequences.subscribe();
    let shared = Arc::new(Shared::new(version, watch, &report, backlog.is_some()));
    let (sender, queue) = mpsc::channel(config.queue_batches_max.max(1));
    let (wake, wakes) = sync_channel(1);
    let snapshotter = Snapshotter::new(
        Arc::clone(&shared),
        Arc::clone(&fs),
        PathBuf::from(dir),
        config.clone(),
        snapshots,
    );
    let scrubber = Scrubber::new(Arc::clone(&shared), fs, dir, config.clone());
    let writer = Writer::new(Parts {
        shared: Arc::clone(&shared),
        queue,
        sequences,
        judge: Judge { rules, digester },
        log,
        lock,
        config,
        snapshots: wake,
    });
    let store = Store {
        shared,
        queue: sender,
    };
    let stepped = Stepped {
        store,
        writer,
        snapshotter,
        scrubber,
        report,
        backlog,
    };
    Ok((stepped, wakes))
}

/// The thread that reads what only feeds need.
fn read_history(backlog: &Backlog, shared: &Shared, queue: &mpsc::WeakSender<Command>) {
    let read = backlog.read(|| shared.backlog.given_up.load(Ordering::Relaxed));
    let (Some(older), Some(queue)) = (read, queue.upgrade()) else {
        return;
    };
    for finding in &older.findings {
        warn!(%finding, "store's history is not as it should be");
    }
    let changes = older.history.as_ref().map_or(0, History::len);
    debug!(changes, "history from before the start has been read");
    // A writer that has ended needs no history.
    drop(queue.blocking_send(Command::History(older)));
}

/// The threads that end with the writer.
struct Helpers {
    threads: [Option<thread::JoinHandle<()>>; 3],
    /// Dropped, it ends the scrubber.
    scrub: SyncSender<()>,
}

/// The writer's thread. A writer that fails in a way nobody foresaw must not leave a process behind
/// that looks alive: its panic ends the process.
fn run(mut writer: Writer, helpers: Helpers, shared: &Shared) {
    let guard = AbortOnPanic;
    writer.run();
    shared.backlog.given_up.store(true, Ordering::Relaxed);
    let lock = writer.into_lock();
    let Helpers { threads, scrub } = helpers;
    drop(scrub);
    for helper in threads.into_iter().flatten() {
        let name = helper.thread().name().unwrap_or_default().to_owned();
        if helper.join().is_err() {
            error!(name, "a thread of the store has panicked");
        }
    }
    drop(lock);
    std::mem::forget(guard);
    shared.ended.send_replace(true);
}

struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        error!("the store's writer has panicked");
        std::process::abort();
    }
}

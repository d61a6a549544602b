//! The one who changes the list.

mod alone;
mod look_out;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use proto::Refusal;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::draft::{Draft, Judge};
use crate::error::EditError;
use crate::log::append::{Appender, Written};
use crate::log::record::Stamp;
use crate::recover::Older;
use crate::rules::{Answer, Batch};
use crate::store::{Health, Shared};
use crate::{Origin, Sequence, StoreConfig, Version};
use look_out::LookOut;

pub(crate) use alone::Alone;

/// What the writer is asked for.
pub(crate) enum Command {
    /// Edits.
    Edit(Job),
    /// The end of a recovery.
    ForgetConflicts {
        origin: Origin,
        reply: oneshot::Sender<Result<Answer, EditError>>,
    },
    /// The history from before the start has been read.
    History(Older),
    /// What makes a group, or a segment, of its own.
    Alone(Alone),
    /// The end.
    Stop,
}

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, EditError>>;

/// A batch on its way through one or more groups.
pub(crate) struct Job {
    stamp: Stamp,
    edits: std::vec::IntoIter<proto::Edit>,
    answers: Vec<Answer>,
    reply: oneshot::Sender<Result<Vec<Answer>, EditError>>,
}

impl Job {
    pub(crate) fn new(
        batch: Batch,
        reply: oneshot::Sender<Result<Vec<Answer>, EditError>>,
    ) -> Self {
        Self {
            stamp: Stamp {
                time: std::time::SystemTime::UNIX_EPOCH,
                origin: batch.origin,
            },
            answers: Vec::with_capacity(batch.edits.len()),
            edits: batch.edits.into_iter(),
            reply,
        }
    }
}

/// Whether the writer goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// There was something to do.
    Worked,
    /// There was nothing to do.
    Idle,
    /// It was told to stop, or nobody can ask it for anything any more.
    Stopped,
}

/// An answer that waits for the group to be durable.
enum Waiting {
    Edits {
        job: Job,
        /// Answers that earlier groups have made good.
        settled: usize,
    },
    Forgotten {
        answer: Answer,
        reply: oneshot::Sender<Result<Answer, EditError>>,
    },
}

/// Decides edits, writes them, and publishes the versions they lead to.
pub struct Writer {
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Command>,
    judge: Judge,
    log: Appender,
    lock: Box<dyn Send>,
    config: StoreConfig,
    sequences: watch::Sender<Sequence>,
    version: Arc<Version>,
    /// What is left of a batch that was longer than a group.
    rest: Option<Job>,
    snapshots: SyncSender<()>,
    look_out: LookOut,
}

/// What a writer is made of.
pub(crate) struct Parts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) queue: mpsc::Receiver<Command>,
    pub(crate) judge: Judge,
    pub(crate) sequences: watch::Sender<Sequence>,
    pub(crate) log: Appender,
    /// Held as long as the log may be written.
    pub(crate) lock: Box<dyn Send>,
    pub(crate) config: StoreConfig,
    pub(crate) snapshots: SyncSender<()>,
}

impl Writer {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            shared,
            queue,
            judge,
            sequences,
            log,
            lock,
            config,
            snapshots,
        } = parts;
        Self {
            version: shared.current.load_full(),
            rest: None,
            shared,
            queue,
            judge,
            sequences,
            log,
            lock,
            config,
            snapshots,
            look_out: LookOut::default(),
        }
    }

    /// Lets go of everything but the lock.
    pub(crate) fn into_lock(self) -> Box<dyn Send> {
        self.lock
    }

    /// Works until it is told to stop, then through what is queued.
    pub(crate) fn run(&mut self) {
        loop {
            let command = match self.rest.take() {
                Some(job) => Some(Command::Edit(job)),
                None => self.next_command(),
            };
            match command {
                Some(Command::Stop) | None => break,
                Some(command) => self.work(command),
            }
        }
        self.queue.close();
        while self.step() != Flow::Stopped {}
    }

    /// Waits for a command; `None`: none will come.
    fn next_command(&mut self) -> Option<Command> {
        if self.look_out.is_worth_while() {
            let began = Instant::now();
            while began.elapsed() < look_out::TIME {
                match self.queue.try_recv() {
                    Ok(command) => {
                        self.look_out.saw_something();
                        return Some(command);
                    }
                    Err(mpsc::error::TryRecvError::Empty) => std::hint::spin_loop(),
                    Err(mpsc::error::TryRecvError::Disconnected) => return None,
                }
            }
            self.look_out.saw_nothing();
        }
        self.queue.blocking_recv()
    }

    /// Makes one group of what is queued, without waiting.
    pub fn step(&mut self) -> Flow {
        let command = match self.rest.take() {
            Some(job) => Ok(Command::Edit(job)),
            None => self.queue.try_recv(),
        };
        match command {
            Ok(Command::Stop) => {
                self.queue.close();
                Flow::Worked
            }
            Ok(command) => {
                self.work(command);
                Flow::Worked
            }
            Err(mpsc::error::TryRecvError::Empty) => Flow::Idle,
            Err(mpsc::error::TryRecvError::Disconnected) => Flow::Stopped,
        }
    }

    fn work(&mut self, first: Command) {
        let began = Instant::now();
        let mut draft = Draft::new(&self.version);
        let mut waiting = Vec::new();
        let mut last = None;
        let mut older = None;
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Edit(job) => self.decide(&mut draft, job, began, &mut waiting),
                Command::ForgetConflicts { origin, reply } => {
                    let answer = self.forget_conflicts(&mut draft, origin);
                    waiting.push(Waiting::Forgotten { answer, reply });
                }
                Command::History(read) => older = Some(read),
                Command::Alone(alone) => last = Some(alone),
                Command::Stop => self.queue.close(),
            }
            let open = last.is_none() && self.rest.is_none() && !self.is_full(&draft, began);
            next = open.then(|| self.queue.try_recv().ok()).flatten();
        }
        self.finish(draft, waiting);
        if let Some(older) = older {
            self.take_history(older);
        }
        if let Some(alone) = last {
            self.carry_out(alone);
        }
    }

    fn is_full(&self, draft: &Draft, began: Instant) -> bool {
        draft.builder.len() >= self.config.group_bytes || began.elapsed() >= self.config.group_time
    }

    fn decide(
        &mut self,
        draft: &mut Draft,
        mut job: Job,
        began: Instant,
        waiting: &mut Vec<Waiting>,
    ) {
        let settled = job.answers.len();
        job.stamp.time = (self.config.clock)();
        for edit in job.edits.by_ref() {
            let answer = if self.shared.health() == Health::Failed {
                Err(Refusal::Storage)
            } else {
                draft.edit(&mut self.judge, &job.stamp, edit)
            };
            job.answers.push(answer);
            if self.is_full(draft, began) {
                break;
            }
        }
        waiting.push(Waiting::Edits { job, settled });
    }

    fn forget_conflicts(&self, draft: &mut Draft, origin: Origin) -> Answer {
        if self.shared.health() == Health::Failed {
            return Err(Refusal::Storage);
        }
        let time = (self.config.clock)();
        Ok(draft.forget_conflicts(&Stamp { time, origin }))
    }
}

/// Making a group durable, and what follows.
impl Writer {
    fn finish(&mut self, draft: Draft, waiting: Vec<Waiting>) {
        match self.commit(draft) {
            Ok(len) => {
                self.answer(waiting);
                self.after_group(len);
            }
            Err(EditError::OutcomeUnknown) => outcome_unknown(waiting),
            Err(_) => self.refuse(waiting),
        }
    }

    /// Makes what was decided durable and publishes it; returns its length in octets.
    fn commit(&mut self, draft: Draft) -> Result<usize, EditError> {
        if draft.is_empty() {
            return Ok(0);
        }
        let (mut version, groups, notes) = draft.finish(&mut self.judge);
        self.shared.announced.send_replace(version.sequence);
        match self.log.append(&groups) {
            Written::Synced(end) => {
                version.log = end;
                version.history.push(&notes);
                let bounds = self.config.history_bounds();
                version
                    .history
                    .cut(&bounds, || self.shared.feeds.hindmost());
                self.publish(version);
                Ok(groups.iter().map(Vec::len).sum())
            }
            Written::CutBack(cause) => {
                if self.shared.set_health(Health::Full) != Health::Full {
                    warn!(%cause, "log can't be written, edits are refused until it can");
                }
                Err(EditError::Refused)
            }
            Written::Unknown(cause) => {
                error!(%cause, "log can't be made durable, edits are refused until a restart");
                self.shared.set_health(Health::Failed);
                Err(EditError::OutcomeUnknown)
            }
        }
    }

    /// Puts the history from before the start in front of that since.
    pub(crate) fn take_history(&mut self, older: Older) {
        if let Some(history) = older.history {
            let mut version = Version::clone(&self.version);
            version.history = version.history.behind(&history);
            let bounds = self.config.history_bounds();
            version
                .history
                .cut(&bounds, || self.shared.feeds.hindmost());
            self.show(version);
        }
        self.shared.backlog.end(older.findings);
    }

    fn show(&mut self, version: Version) {
        self.version = Arc::new(version);
        self.shared.current.store(Arc::clone(&self.version));
        self.sequences.send_replace(self.version.sequence);
    }

    fn publish(&mut self, version: Version) {
        self.show(version);
        if self.shared.set_health(Health::Writable) != Health::Writable {
            info!("log can be written again");
        }
    }

    fn answer(&mut self, waiting: Vec<Waiting>) {
        for one in waiting {
            match one {
                Waiting::Edits { job, .. } if job.edits.len() > 0 => self.rest = Some(job),
                // Nobody waits any more when a session has ended; the edits stand.
                Waiting::Edits { job, .. } => drop(job.reply.send(Ok(job.answers))),
                Waiting::Forgotten { answer, reply } => drop(reply.send(Ok(answer))),
            }
        }
    }

    /// Nothing of the group has happened; even its NOs may rest on edits that did not.
    fn refuse(&mut self, mut waiting: Vec<Waiting>) {
        for one in &mut waiting {
            match one {
                Waiting::Edits { job, settled } => {
                    for answer in job.answers.iter_mut().skip(*settled) {
                        *answer = Err(Refusal::Storage);
                    }
                }
                Waiting::Forgotten { answer, .. } => *answer = Err(Refusal::Storage),
            }
        }
        self.answer(waiting);
    }

    fn after_group(&mut self, len: usize) {
        if len == 0 {
            return;
        }
        let len = u64::try_from(len).unwrap_or_default();
        self.shared.log_bytes.fetch_add(len, Ordering::Relaxed);
        if self.log.end().offset >= self.config.segment_bytes {
            self.roll();
        }
        let due = self.shared.snapshot_due(&self.config);
        if due
            && let Err(std::sync::mpsc::TrySendError::Disconnected(())) =
                self.snapshots.try_send(())
        {
            error!("nobody writes snapshots any more");
        }
    }

    fn roll(&mut self) {
        let mut version = Version::clone(&self.version);
        match self.log.roll(&version) {
            Ok(end) => {
                version.log = end;
                self.publish(version);
            }
            Err(cause) => warn!(%cause, "next log segment can't be created, this one goes on"),
        }
    }
}

fn outcome_unknown(waiting: Vec<Waiting>) {
    let unknown = EditError::OutcomeUnknown;
    for one in waiting {
        match one {
            Waiting::Edits { job, .. } => drop(job.reply.send(Err(unknown))),
            Waiting::Forgotten { reply, .. } => drop(reply.send(Err(unknown))),
        }
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

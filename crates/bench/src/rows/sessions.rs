//! Streaming sessions by the thousand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use memchr::memmem::Finder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::background::DUMP_END;
use crate::error::{Error, chain};
use crate::limits::dump_bytes;
use crate::names::{Mark, Scratch, push_activate_scratch};
use crate::number::{count, figure};
use crate::raw::Raw;
use crate::result::{Figure, Unit};
use crate::rows::scratch;
use crate::rows::stream::NOOP_END;
use crate::run::Run;
use crate::stats::Latencies;
use crate::target::Target;
use crate::worker::Worker;

/// More and more streaming sessions, each of them sent every edit and asking NOOP now and then.
///
/// They ask for the whole list while that is bearable, else for that of one host, on which the edits are. At each step a
/// newcomer must be served too: Cyrus answers neither log-ins nor bystanders from 50 on, for want of threads.
pub async fn sessions(run: &Run) -> Result<Vec<Figure>, Error> {
    let before = run.look();
    let edits = edit(run)?;
    let (target, plan) = (run.target.clone(), run.plan.clone());
    let (stop, row_time) = (run.cancel.child_token(), run.plan.row_time);
    let cancel = stop.clone();
    let worker = Worker::start("sessions", &stop, move || async move {
        let mut crowd = Crowd::new(target, plan.mailboxes, plan.sessions, &cancel)?;
        for step in steps(plan.sessions) {
            let samples = if step == plan.sessions {
                plan.samples
            } else {
                plan.samples / 10
            };
            if !crowd.grow(step, samples, row_time).await {
                break;
            }
        }
        Ok(crowd.found)
    })?;
    let found = worker.done().await;
    let after = run.look();
    stop.cancel();
    edits.stop.cancel();
    edits.worker.ended().await?;
    scratch::remove(run, ROW, edits.names.load(Ordering::Relaxed)).await?;
    let mut found = found?;
    if let Some((before, after)) = before.zip(after) {
        let grown = figure(after.anonymous_bytes.saturating_sub(before.anonymous_bytes));
        let each = grown / figure(count(found.reached.max(1)));
        found.figures.push(Figure::one(
            "memory_each",
            "RssAnon more, for each session",
            Unit::Bytes,
            each,
        ));
    }
    Ok(found.into_figures())
}

/// What has been found so far.
#[derive(Default)]
struct Found {
    reached: usize,
    whole_list: bool,
    why_no_more: Option<String>,
    figures: Vec<Figure>,
}

impl Found {
    fn into_figures(self) -> Vec<Figure> {
        let of = if self.whole_list {
            "the whole list"
        } else {
            "one host"
        };
        let label = format!("streaming sessions at once, of {of}");
        let reached = Figure::one(
            "reached",
            &label,
            Unit::Reached,
            figure(count(self.reached)),
        );
        let why = self
            .why_no_more
            .map(|why| Figure::absent("no_more", "… no more", why));
        std::iter::once(reached)
            .chain(why)
            .chain(self.figures)
            .collect()
    }
}

/// All sessions. The first ones are asked and answer on this thread; the others only take what they are
/// sent, on a thread of their own, so that an answer does not wait for the bench to read their lines.
struct Crowd {
    target: Arc<Target>,
    asked: Sessions,
    others: Others,
    found: Found,
}

/// Sessions of one thread.
struct Sessions {
    target: Arc<Target>,
    question: Arc<[u8]>,
    asks: Vec<mpsc::Sender<Instant>>,
    tasks: JoinSet<()>,
    shared: Arc<Shared>,
}

/// How many there are to be, and where to say that there are.
type Order = (usize, oneshot::Sender<Result<(), Error>>);

/// The sessions of the other thread.
struct Others {
    orders: mpsc::Sender<Order>,
    stop: CancellationToken,
}

/// What all sessions write to.
#[derive(Default)]
struct Shared {
    latencies: std::sync::Mutex<Latencies>,
    ended: AtomicU64,
}

impl Sessions {
    fn new(target: &Arc<Target>, question: &Arc<[u8]>, shared: &Arc<Shared>) -> Self {
        Self {
            target: target.clone(),
            question: question.clone(),
            asks: Vec::new(),
            tasks: JoinSet::new(),
            shared: shared.clone(),
        }
    }

    async fn open(&mut self, upto: usize) -> Result<(), Error> {
        while self.asks.len() < upto {
            let mut opening = JoinSet::new();
            for _ in self.asks.len()..upto.min(self.asks.len() + OPENING_AT_ONCE) {
                opening.spawn(begin(self.target.clone(), self.question.clone()));
            }
            while let Some(one) = opening.join_next().await {
                let raw = one.map_err(|_| Error::Thread { name: "sessions" })??;
                let (asks, asked) = mpsc::channel(1);
                self.asks.push(asks);
                self.tasks.spawn(session(raw, asked, self.shared.clone()));
            }
        }
        Ok(())
    }
}

impl Others {
    fn start(
        cancel: &CancellationToken,
        sessions: impl FnOnce() -> Sessions + Send + 'static,
    ) -> Result<Self, Error> {
        let stop = cancel.child_token();
        let (orders, mut ordered) = mpsc::channel::<Order>(1);
        Worker::start("listeners", &stop, move || async move {
            let mut sessions = sessions();
            while let Some((upto, done)) = ordered.recv().await {
                // Nobody may want to know any more.
                done.send(sessions.open(upto).await).unwrap_or_default();
            }
            Ok(())
        })?;
        Ok(Self { orders, stop })
    }

    async fn open(&self, upto: usize) -> Result<(), Error> {
        let gone = Error::Thread { name: "listeners" };
        let (done, opened) = oneshot::channel();
        match self.orders.send((upto, done)).await {
            Ok(()) => opened.await.unwrap_or(Err(gone)),
            Err(_) => Err(gone),
        }
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Crowd {
    fn new(
        target: Arc<Target>,
        mailboxes: u64,
        sessions: usize,
        cancel: &CancellationToken,
    ) -> Result<Self, Error> {
        let octets = dump_bytes(mailboxes).saturating_mul(count(sessions));
        let whole_list = octets <= WHOLE_LISTS_BYTES_MAX;
        let question = if whole_list {
            b"U01 UPDATE\r\n".to_vec()
        } else {
            format!("U01 UPDATE {{{}+}}\r\n{HOST}\r\n", HOST.len()).into_bytes()
        };
        let (question, shared): (Arc<[u8]>, _) = (question.into(), Arc::default());
        let asked = Sessions::new(&target, &question, &shared);
        let for_others = target.clone();
        let others = move || Sessions::new(&for_others, &question, &shared);
        Ok(Self {
            target,
            asked,
            others: Others::start(cancel, others)?,
            found: Found {
                whole_list,
                ..Found::default()
            },
        })
    }

    /// Up to `step` sessions; whether it goes on.
    async fn grow(&mut self, step: usize, samples: u64, row_time: Duration) -> bool {
        let began = Instant::now();
        // What has been found with fewer must not be lost to a server that takes too long for more.
        let (name, wait) = (self.target.name.clone(), row_time * 2);
        let grown = timeout(wait, self.open(step))
            .await
            .unwrap_or(Err(Error::Silent {
                server: name,
                doing: "UPDATE of so many",
                wait,
            }));
        let opened = began.elapsed();
        if step >= MANY {
            // Cyrus takes a thread for each at its first timer, after 5 s.
            sleep(SETTLE_TIME).await;
        }
        let served = match grown {
            Ok(()) => self.newcomer().await,
            Err(error) => Err(error),
        };
        let unanswered = match served {
            Ok(()) => self.ask(samples, Instant::now() + row_time).await,
            Err(error) => {
                self.found.why_no_more = Some(chain(&error));
                return false;
            }
        };
        let ended = self.asked.shared.ended.load(Ordering::Relaxed);
        let latencies = self
            .asked
            .shared
            .latencies
            .lock()
            .map(|mut all| std::mem::take(&mut *all));
        if let Ok(latencies) = latencies {
            let (key, label) = (format!("noop_{step}"), format!("NOOP with {step} sessions"));
            self.found
                .figures
                .extend(Figure::latency(&key, &label, &latencies));
        }
        let (key, label) = (
            format!("opened_{step}"),
            format!("… until there were {step}"),
        );
        self.found.figures.push(Figure::one(
            &key,
            &label,
            Unit::Seconds,
            opened.as_secs_f64(),
        ));
        if unanswered + ended > 0 {
            let why =
                format!("with {step}, {unanswered} NOOPs had no answer and {ended} sessions ended");
            self.found.why_no_more = Some(why);
            return false;
        }
        self.found.reached = step;
        true
    }

    async fn open(&mut self, step: usize) -> Result<(), Error> {
        self.asked.open(step.min(ASKED_MAX)).await?;
        match step.checked_sub(ASKED_MAX) {
            Some(others) => self.others.open(others).await,
            None => Ok(()),
        }
    }

    async fn newcomer(&self) -> Result<(), Error> {
        let server = self.target.name.clone();
        let silent = |_| Error::Silent {
            server,
            doing: "log-in and NOOP of a newcomer",
            wait: PATIENCE,
        };
        let asking = async {
            let mut raw = self.target.connect_lean().await?;
            raw.command(b"N NOOP\r\n", "N", "NOOP").await
        };
        timeout(PATIENCE, asking).await.map_err(silent)?
    }

    /// NOOPs of one session after another, of those that are asked, at a rate; how many had no answer.
    async fn ask(&self, samples: u64, deadline: Instant) -> u64 {
        let mut clock = interval(ASK_INTERVAL);
        clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (mut asked, mut skipped) = (0, 0);
        for session in self.asked.asks.iter().cycle() {
            if asked >= samples || skipped >= samples || Instant::now() > deadline {
                break;
            }
            clock.tick().await;
            // A session that has not answered the one before is passed over: that answer is late already.
            match session.try_send(Instant::now()) {
                Ok(()) => asked += 1,
                Err(_) => skipped += 1,
            }
        }
        let answered = || {
            self.asked
                .shared
                .latencies
                .lock()
                .map_or(asked, |all| all.samples())
        };
        let until = Instant::now() + PATIENCE;
        while answered() < asked && Instant::now() < until {
            sleep(Duration::from_millis(10)).await;
        }
        asked.saturating_sub(answered())
    }
}

async fn begin(target: Arc<Target>, question: Arc<[u8]>) -> Result<Raw, Error> {
    let (server, wait) = (target.name.clone(), DUMP_TIME_MAX);
    let begun = async {
        let mut raw = target.connect_lean().await?;
        raw.send(&question, "UPDATE").await?;
        raw.seek(&Finder::new(DUMP_END), "UPDATE").await?;
        Ok(raw)
    };
    timeout(wait, begun).await.map_err(|_| Error::Silent {
        server,
        doing: "UPDATE",
        wait,
    })?
}

/// Takes everything it is sent, and asks NOOP when told.
async fn session(mut raw: Raw, mut asked: mpsc::Receiver<Instant>, shared: Arc<Shared>) {
    let end = Finder::new(NOOP_END);
    let mut pending: Option<Instant> = None;
    loop {
        let moved = tokio::select! {
            due = asked.recv(), if pending.is_none() => match due {
                None => return,
                due => {
                    pending = due;
                    raw.send(b"N01 NOOP\r\n", "NOOP").await
                }
            },
            filled = raw.fill("changes") => filled,
        };
        if moved.is_err() {
            shared.ended.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if raw.passed(&end)
            && let Some(due) = pending.take()
            && let Ok(mut all) = shared.latencies.lock()
        {
            all.record(due.elapsed());
        }
    }
}

/// Edits at the plan's rate, on the host of the sessions.
struct Edits {
    worker: Worker<()>,
    names: Arc<AtomicU64>,
    stop: CancellationToken,
}

fn edit(run: &Run) -> Result<Edits, Error> {
    let stop = run.cancel.child_token();
    let names = Arc::new(AtomicU64::new(0));
    let (target, made) = (run.target.clone(), names.clone());
    let each = Duration::from_secs(1) / run.plan.session_edits_per_second.max(1);
    let worker = Worker::start("edits", &stop, move || async move {
        let (mut raw, mut clock) = (target.connect_lean().await?, interval(each));
        let mut octets = Vec::new();
        for number in 0_u64.. {
            clock.tick().await;
            octets.clear();
            let scratch = Scratch {
                row: ROW,
                number: number % NAMES,
            };
            push_activate_scratch(&mut octets, "A", scratch, LOCATION, &Mark::new(number));
            made.fetch_max((number + 1).min(NAMES), Ordering::Relaxed);
            raw.command(&octets, "A", "ACTIVATE").await?;
        }
        Ok(())
    })?;
    Ok(Edits {
        worker,
        names,
        stop,
    })
}

/// 49 and 50 stand on both sides of Cyrus's `mupdate_workers_max`.
fn steps(most: usize) -> Vec<usize> {
    let mut steps: Vec<usize> = [1, 10, 49, 50, 100, 1000]
        .into_iter()
        .filter(|step| *step < most)
        .collect();
    steps.push(most);
    steps
}

const ROW: &str = "sessions";
const HOST: &str = "sessions.test";
const LOCATION: &str = "sessions.test!default";
const NAMES: u64 = 50;
const OPENING_AT_ONCE: usize = 8;
/// As many as Cyrus can have.
const ASKED_MAX: usize = 50;
/// So many may be too many for a server.
const MANY: usize = 49;
const SETTLE_TIME: Duration = Duration::from_secs(6);
const PATIENCE: Duration = Duration::from_secs(20);
const DUMP_TIME_MAX: Duration = Duration::from_mins(2);
const ASK_INTERVAL: Duration = Duration::from_millis(2);
const WHOLE_LISTS_BYTES_MAX: u64 = 20_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_end_at_the_most() {
        assert_eq!(steps(5), [1, 5]);
        assert_eq!(steps(50), [1, 10, 49, 50]);
        assert_eq!(steps(5000), [1, 10, 49, 50, 100, 1000, 5000]);
    }
}

//! What goes on beside the probes: slaves that dump again and again, and edits at a rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use memchr::memmem::Finder;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, chain};
use crate::limits::dump_bytes;
use crate::names::{self, Lap};
use crate::number::{count, length, rate};
use crate::pipeline::Script;
use crate::result::{Figure, Unit};
use crate::run::Run;
use crate::target::Target;
use crate::worker::Worker;

/// What has been done so far.
#[derive(Debug, Default)]
pub struct Tally {
    dumps: AtomicU64,
    failed: AtomicU64,
    edits: AtomicU64,
    failure: std::sync::Mutex<Option<String>>,
}

/// Load beside the probes. Ends with this value.
pub struct Background {
    tally: Arc<Tally>,
    cancel: CancellationToken,
    began: Instant,
    workers: Vec<Worker<()>>,
}

impl Background {
    /// Nothing yet.
    pub fn new(run: &Run) -> Self {
        Self {
            tally: Arc::default(),
            cancel: run.cancel.child_token(),
            began: Instant::now(),
            workers: Vec::new(),
        }
    }

    /// Slaves that connect, dump and begin anew, without a pause.
    pub fn dumps(&mut self, run: &Run, slaves: usize) -> Result<(), Error> {
        let (target, tally) = (run.target.clone(), self.tally.clone());
        let worker = Worker::start("dumps", &self.cancel, move || async move {
            let mut tasks = JoinSet::new();
            for _ in 0..slaves {
                tasks.spawn(dump_for_ever(target.clone(), tally.clone()));
            }
            while tasks.join_next().await.is_some() {}
            Ok(())
        })?;
        self.workers.push(worker);
        Ok(())
    }

    /// Slaves that connect, read a part of their dump, break off and begin anew.
    pub fn broken_dumps(&mut self, run: &Run, slaves: usize) -> Result<(), Error> {
        let (target, tally) = (run.target.clone(), self.tally.clone());
        let octets = dump_bytes(run.plan.mailboxes);
        let worker = Worker::start("storm", &self.cancel, move || async move {
            let mut tasks = JoinSet::new();
            for slave in 0..count(slaves) {
                tasks.spawn(break_off_for_ever(
                    target.clone(),
                    tally.clone(),
                    slave,
                    octets,
                ));
            }
            while tasks.join_next().await.is_some() {}
            Ok(())
        })?;
        self.workers.push(worker);
        Ok(())
    }

    /// So many edits a second of random mailboxes of the list, all of them changes, over the plan's connections.
    pub fn edits(&mut self, run: &Run, each_second: u32) -> Result<(), Error> {
        let (target, tally, plan) = (run.target.clone(), self.tally.clone(), run.plan.clone());
        let connections = u32::try_from(plan.connections).unwrap_or(1).max(1);
        let worker = Worker::start("edits", &self.cancel, move || async move {
            let mut tasks = JoinSet::new();
            for first in 0..connections {
                let script = changes(plan.mailboxes, u64::from(first), u64::from(connections));
                let editor = Editor {
                    script,
                    window: plan.window,
                    each_second: each_second.div_ceil(connections),
                    tally: tally.clone(),
                };
                tasks.spawn(editor.run(target.clone()));
            }
            while let Some(ended) = tasks.join_next().await {
                ended.map_err(|_| Error::Thread { name: "edits" })??;
            }
            Ok(())
        })?;
        self.workers.push(worker);
        Ok(())
    }

    /// Until so many dumps have ended, or `wait` is over: what is measured next is measured under load.
    pub async fn warm(&self, dumps: u64, wait: Duration) {
        let until = Instant::now() + wait;
        while self.tally.dumps.load(Ordering::Relaxed) < dumps && Instant::now() < until {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends it; what it was. An error of the edits is one of the row.
    pub async fn end(mut self) -> Result<Vec<Figure>, Error> {
        let took = self.began.elapsed();
        self.cancel.cancel();
        for worker in std::mem::take(&mut self.workers) {
            worker.ended().await?;
        }
        let counted = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (dumps, failed, edits) = (
            counted(&self.tally.dumps),
            counted(&self.tally.failed),
            counted(&self.tally.edits),
        );
        let mut figures = Vec::new();
        if dumps + failed > 0 {
            figures.push(Figure::one(
                "dumps_per_s",
                "dumps meanwhile",
                Unit::PerSecond,
                rate(dumps, took),
            ));
        }
        if edits > 0 {
            figures.push(Figure::one(
                "edits_per_s",
                "edits meanwhile",
                Unit::PerSecond,
                rate(edits, took),
            ));
        }
        if failed > 0 {
            let why = self
                .tally
                .failure
                .lock()
                .map(|why| why.clone().unwrap_or_default())
                .unwrap_or_default();
            let label = format!("dumps that failed ({why})");
            figures.push(Figure::one(
                "dumps_failed",
                &label,
                Unit::Count,
                crate::number::figure(failed),
            ));
        }
        Ok(figures)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Tally {
    /// Counts a dump; a failure is followed by a pause, so that a server that is down is not beaten.
    async fn dumped(&self, ended: Result<(), Error>) {
        match ended {
            Ok(()) => {
                self.dumps.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                if let Ok(mut failure) = self.failure.lock() {
                    *failure = Some(chain(&error));
                }
                sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
    }
}

async fn dump_for_ever(target: Arc<Target>, tally: Arc<Tally>) {
    let end = Finder::new(DUMP_END);
    loop {
        let dumped = async {
            let mut raw = target.connect().await?;
            raw.send(DUMP, "UPDATE").await?;
            raw.seek(&end, "UPDATE").await
        };
        tally.dumped(dumped.await).await;
    }
}

async fn break_off_for_ever(target: Arc<Target>, tally: Arc<Tally>, slave: u64, octets: u64) {
    for round in slave.. {
        let enough = scatter(round, octets);
        let broken = async {
            let mut raw = target.connect().await?;
            raw.send(DUMP, "UPDATE").await?;
            let before = raw.octets();
            while raw.octets() - before < enough {
                raw.fill("UPDATE").await?;
                raw.input().clear();
            }
            Ok(())
        };
        tally.dumped(broken.await).await;
    }
}

/// One connection that edits at a rate.
struct Editor {
    script: Script,
    window: u64,
    each_second: u32,
    tally: Arc<Tally>,
}

impl Editor {
    /// For ever. What would be beyond the window is left out.
    async fn run(self, target: Arc<Target>) -> Result<(), Error> {
        let mut raw = target.connect().await?;
        let mut clock = interval(TICK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let began = Instant::now();
        let (mut sent, mut at, mut in_flight, mut due) = (0_u64, 0_u64, 0_u64, 0_u64);
        loop {
            tokio::select! {
                _ = clock.tick() => {
                    let elapsed = began.elapsed();
                    let until_now = u64::try_from(elapsed.as_millis() * u128::from(self.each_second) / 1000)
                        .unwrap_or(u64::MAX);
                    let more = until_now.saturating_sub(due).min(self.window.saturating_sub(in_flight));
                    due = until_now;
                    let upto = (at + more).min(self.script.len());
                    raw.send(self.script.slice(at, upto), "ACTIVATE").await?;
                    sent += upto - at;
                    in_flight += upto - at;
                    at = if upto == self.script.len() { 0 } else { upto };
                }
                filled = raw.fill("ACTIVATE") => filled?,
            }
            let done = raw.answers("E", sent, "ACTIVATE")?;
            in_flight = in_flight.saturating_sub(done);
            self.tally.edits.fetch_add(done, Ordering::Relaxed);
        }
    }
}

/// Edits in an order that is not that of names, each a change: all to the second ACL, then all back.
fn changes(mailboxes: u64, first: u64, connections: u64) -> Script {
    let mine = (mailboxes / connections).clamp(1, count(SCRIPT_COMMANDS_MAX / 2));
    let scattered = move |i: u64| scatter(i * connections + first, mailboxes);
    let laps = [Lap::Second, Lap::First];
    let mut commands = Vec::with_capacity(length(2 * mine));
    for lap in laps {
        commands.extend((0..mine).map(|i| (scattered(i), lap)));
    }
    let at = |index: u64| commands.get(length(index)).copied();
    Script::of(0..count(commands.len()), |out, index| {
        if let Some((number, lap)) = at(index) {
            names::push_activate(out, "E", number, lap);
        }
    })
}

/// Number `i` of an order in which neighbours are far apart, and each comes once where `all` is no multiple of the prime.
pub fn scatter(i: u64, all: u64) -> u64 {
    let all = all.max(1);
    u64::try_from(u128::from(i) * u128::from(SCATTER) % u128::from(all)).unwrap_or_default()
}

/// What a stock slave sends.
pub const DUMP: &[u8] = b"U01 UPDATE\r\n";
/// How the end of what it gets begins.
pub const DUMP_END: &[u8] = b"\nU01 OK ";

const TICK: Duration = Duration::from_millis(1);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);
const SCRIPT_COMMANDS_MAX: usize = 100_000;
/// A prime.
const SCATTER: u64 = 2_654_435_761;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_mailbox_comes_once() {
        for all in [1, 10, 1000, 500_000] {
            let seen: HashSet<u64> = (0..all).map(|i| scatter(i, all)).collect();
            assert_eq!(count(seen.len()), all);
        }
    }

    #[test]
    fn every_edit_is_a_change() {
        let script = changes(10, 1, 2);
        assert_eq!(script.len(), 10);
        let (away, back) = (script.slice(0, 5), script.slice(5, 10));
        assert_eq!(away.len(), back.len());
        assert_ne!(away, back);
    }
}

//! Slaves that start together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use memchr::memmem::Finder;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::background::{DUMP, DUMP_END};
use crate::error::Error;
use crate::number::{count, figure};
use crate::result::{Figure, Unit};
use crate::rows::{scratch, stream};
use crate::run::Run;
use crate::stats::Latencies;
use crate::worker::Worker;

/// Slaves that connect, dump and ask NOOP all at once, as after a restart of the master, while a synced one asks NOOP with a
/// change waiting and a backend edits.
pub async fn thrash(run: &Run) -> Result<Vec<Figure>, Error> {
    let (mut noops, mut edits) = (Latencies::at_rate(INTERVAL), Latencies::at_rate(INTERVAL));
    let (mut seconds, mut cpu) = (Vec::new(), Vec::new());
    loop {
        let stop = CancellationToken::new();
        let (noop, edit) = (noop_until(run, &stop)?, edit_until(run, &stop)?);
        sleep(LEAD).await;
        let before = run.look();
        let took = start(run).await?;
        if let Some((before, after)) = before.zip(run.look()) {
            let each = after.cpu.saturating_sub(before.cpu).as_secs_f64();
            cpu.push(each / figure(count(run.plan.slaves.max(1))));
        }
        stop.cancel();
        noops.add(&noop.done().await?);
        edits.add(&edit.done().await?);
        seconds.push(took.as_secs_f64());
        if seconds.len() >= run.plan.rounds || !run.has_time_for(took) {
            break;
        }
    }
    scratch::remove(run, ROW, 1).await?;
    let slaves = run.plan.slaves;
    let mut figures = Vec::new();
    figures.extend(Figure::latency(
        "noop",
        "NOOP of a synced slave with a change waiting",
        &noops,
    ));
    figures.extend(Figure::latency("activate", "ACTIVATE", &edits));
    let label = format!("{slaves} slaves start, the last has its list");
    figures.extend(Figure::rounds("last", &label, Unit::Seconds, seconds));
    let label = "… processor time of the master, for each";
    figures.extend(Figure::rounds("cpu_each", label, Unit::Seconds, cpu));
    Ok(figures)
}

fn noop_until(run: &Run, stop: &CancellationToken) -> Result<Worker<Latencies>, Error> {
    let (target, stop) = (run.target.clone(), stop.clone());
    Worker::start("noop", &run.cancel, move || async move {
        let mut slave = stream::synced(&target).await?;
        let end = Finder::new(stream::NOOP_END);
        until(&stop, async |_| stream::noop(&mut slave, &end).await).await
    })
}

fn edit_until(run: &Run, stop: &CancellationToken) -> Result<Worker<Latencies>, Error> {
    let (target, stop) = (run.target.clone(), stop.clone());
    Worker::start("activate", &run.cancel, move || async move {
        let (mut raw, mut octets) = (target.connect().await?, Vec::new());
        until(&stop, async |number| {
            scratch::edit(&mut raw, &mut octets, ROW, number, 1).await
        })
        .await
    })
}

/// One request each interval; the last one is waited for.
async fn until(
    stop: &CancellationToken,
    mut ask: impl AsyncFnMut(u64) -> Result<(), Error>,
) -> Result<Latencies, Error> {
    let mut latencies = Latencies::at_rate(INTERVAL);
    let mut due = Instant::now();
    while latencies.samples() == 0 || !stop.is_cancelled() {
        tokio::time::sleep_until(due.into()).await;
        let began = Instant::now();
        ask(latencies.samples()).await?;
        latencies.record(began.elapsed());
        due = (due + INTERVAL).max(Instant::now());
    }
    Ok(latencies)
}

/// How long until all slaves have their list and the answer to a NOOP.
async fn start(run: &Run) -> Result<Duration, Error> {
    let (target, slaves) = (run.target.clone(), run.plan.slaves);
    let worker = Worker::start("slaves", &run.cancel, move || async move {
        let (barrier, mut tasks) = (Arc::new(Barrier::new(slaves)), JoinSet::new());
        let began = Instant::now();
        for _ in 0..slaves {
            let (target, barrier) = (target.clone(), barrier.clone());
            tasks.spawn(async move {
                let raw = target.connect().await;
                barrier.wait().await;
                let mut raw = raw?;
                raw.send(DUMP, "UPDATE").await?;
                raw.seek(&Finder::new(DUMP_END), "UPDATE").await?;
                stream::noop(&mut raw, &Finder::new(stream::NOOP_END)).await
            });
        }
        while let Some(one) = tasks.join_next().await {
            one.map_err(|_| Error::Thread { name: "slaves" })??;
        }
        Ok(began.elapsed())
    })?;
    worker.done().await
}

const ROW: &str = "thrash";
const INTERVAL: Duration = Duration::from_millis(5);
/// For which the two probes are alone.
const LEAD: Duration = Duration::from_millis(300);

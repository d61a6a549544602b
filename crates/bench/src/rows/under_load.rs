//! Who waits for dumps and edits of others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use memchr::memmem::Finder;
use tokio::sync::Barrier;

use crate::background::Background;
use crate::error::Error;
use crate::probe::at_rate;
use crate::result::Figure;
use crate::rows::find::questions;
use crate::rows::propagation::Course;
use crate::rows::{scratch, stream};
use crate::run::Run;
use crate::stats::Latencies;
use crate::worker::Worker;

/// NOOP of a synced slave, ACTIVATE, FIND and the way of a change, all at once, beside slaves that dump and edits.
pub async fn under_load(run: &Run) -> Result<Vec<Figure>, Error> {
    let probes = Probes::new(run, 4);
    let (noop, activate) = (probes.noop()?, probes.activate()?);
    let (find, way) = (probes.find()?, probes.propagation()?);
    let mut background = Background::new(run);
    background.edits(run, run.plan.edits_per_second)?;
    background.dumps(run, run.plan.slaves)?;
    background.warm(1, WARM_TIME).await;
    probes.go.wait().await;
    let (noop, activate) = (noop.done().await?, activate.done().await?);
    let (find, way) = (find.done().await?, way.done().await?);
    let meanwhile = background.end().await?;
    probes.tidy(run, &activate, Some(&way)).await?;
    let mut figures = Vec::new();
    for (key, label, latencies) in [
        ("noop", "NOOP of a synced slave with changes waiting", &noop),
        ("activate", "ACTIVATE", &activate),
        ("find", "FIND", &find),
        (
            "propagation",
            "from sending ACTIVATE to its line at a streaming slave",
            &way,
        ),
    ] {
        figures.extend(Figure::latency(key, label, latencies));
    }
    figures.extend(meanwhile);
    Ok(figures)
}

/// Probes that begin when all of them and whoever waits at `go` are ready.
pub struct Probes {
    run: Run,
    /// To be waited for once.
    pub go: Arc<Barrier>,
    samples: u64,
}

impl Probes {
    /// For so many of them.
    pub fn new(run: &Run, probes: usize) -> Self {
        let go = Arc::new(Barrier::new(probes + 1));
        Self {
            run: run.clone(),
            go,
            samples: run.plan.samples,
        }
    }

    /// NOOPs of a synced slave.
    pub fn noop(&self) -> Result<Worker<Latencies>, Error> {
        let (run, go, samples) = (self.run.clone(), self.go.clone(), self.samples);
        Worker::start("noop", &self.run.cancel, move || async move {
            let slave = stream::synced(&run.target).await;
            go.wait().await;
            let (mut slave, end) = (slave?, Finder::new(stream::NOOP_END));
            let (interval, deadline) = times(&run);
            at_rate(interval, samples, deadline, async |_| {
                stream::noop(&mut slave, &end).await
            })
            .await
        })
    }

    /// ACTIVATEs.
    pub fn activate(&self) -> Result<Worker<Latencies>, Error> {
        let (run, go, samples) = (self.run.clone(), self.go.clone(), self.samples);
        Worker::start("activate", &self.run.cancel, move || async move {
            let raw = run.target.connect().await;
            go.wait().await;
            let (mut raw, mut octets) = (raw?, Vec::new());
            let (interval, deadline) = times(&run);
            at_rate(interval, samples, deadline, async |number| {
                scratch::edit(&mut raw, &mut octets, ACTIVATE, number, NAMES).await
            })
            .await
        })
    }

    /// FINDs.
    pub fn find(&self) -> Result<Worker<Latencies>, Error> {
        let (run, go, samples) = (self.run.clone(), self.go.clone(), self.samples);
        Worker::start("find", &self.run.cancel, move || async move {
            let (raw, script) = (run.target.connect().await, questions(run.plan.mailboxes));
            go.wait().await;
            let mut raw = raw?;
            let (interval, deadline) = times(&run);
            at_rate(interval, samples, deadline, async |number| {
                let at = number % script.len().max(1);
                raw.command(script.slice(at, at + 1), "F", "FIND").await
            })
            .await
        })
    }

    /// Ways of changes.
    pub fn propagation(&self) -> Result<Worker<Latencies>, Error> {
        let (run, go, samples) = (self.run.clone(), self.go.clone(), self.samples);
        Worker::start("propagation", &self.run.cancel, move || async move {
            let course = Course::begin(&run.target, WAY).await;
            go.wait().await;
            let mut course = course?;
            let (interval, deadline) = times(&run);
            at_rate(interval, samples, deadline, async |_| course.step().await).await
        })
    }

    /// Removes what they have made.
    pub async fn tidy(
        &self,
        run: &Run,
        activate: &Latencies,
        way: Option<&Latencies>,
    ) -> Result<(), Error> {
        scratch::remove(run, ACTIVATE, activate.samples().min(NAMES)).await?;
        scratch::remove(run, WAY, way.map_or(0, Latencies::samples).min(1)).await
    }
}

fn times(run: &Run) -> (Duration, Instant) {
    (run.plan.probe_interval, run.deadline)
}

const ACTIVATE: &str = "beside";
const WAY: &str = "way";
const NAMES: u64 = 50;
/// Until the first dump has ended, or at least the lock of a server with one lock is taken.
const WARM_TIME: Duration = Duration::from_secs(3);

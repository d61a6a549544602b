//! The way of a change from whoever made it to a streaming slave.

use memchr::memmem::Finder;

use crate::error::Error;
use crate::names::{LOCATION, Mark, Scratch, push_activate_scratch};
use crate::probe::in_turn;
use crate::raw::Raw;
use crate::result::Figure;
use crate::rows::{scratch, stream};
use crate::run::Run;
use crate::target::Target;
use crate::worker::Worker;

/// With nothing else going on.
pub async fn idle(run: &Run) -> Result<Vec<Figure>, Error> {
    let (target, samples, deadline) = (run.target.clone(), run.plan.samples, run.deadline);
    let worker = Worker::start("propagation", &run.cancel, move || async move {
        let mut course = Course::begin(&target, ROW).await?;
        in_turn(samples, deadline, async |_| course.step().await).await
    })?;
    let latencies = worker.done().await?;
    scratch::remove(run, ROW, latencies.samples().min(1)).await?;
    let known = run.limits.known();
    let limit = known
        .sync_ms
        .zip(known.echo_ms)
        .map(|(sync, echo)| sync + echo);
    let label = "from sending ACTIVATE to its line at a streaming slave";
    let figure = Figure::latency("propagation", label, &latencies);
    Ok(figure
        .into_iter()
        .map(|figure| figure.beside(limit))
        .collect())
}

/// Somebody who edits one mailbox, and a synced slave.
pub struct Course {
    slave: Raw,
    writer: Raw,
    octets: Vec<u8>,
    row: &'static str,
    steps: u64,
}

impl Course {
    /// Connects both.
    pub async fn begin(target: &Target, row: &'static str) -> Result<Self, Error> {
        Ok(Self {
            slave: stream::synced(target).await?,
            writer: target.connect().await?,
            octets: Vec::new(),
            row,
            steps: 0,
        })
    }

    /// One edit, until the slave has its line.
    pub async fn step(&mut self) -> Result<(), Error> {
        if self.steps > 0 {
            self.writer.answered("A", "ACTIVATE").await?;
        }
        self.steps += 1;
        let mark = Mark::new(self.steps);
        self.octets.clear();
        let scratch = Scratch {
            row: self.row,
            number: 0,
        };
        push_activate_scratch(&mut self.octets, "A", scratch, LOCATION, &mark);
        self.writer.send(&self.octets, "ACTIVATE").await?;
        self.slave
            .seek(&Finder::new(mark.octets()), "a change to a streaming slave")
            .await
    }
}

const ROW: &str = "propagation";

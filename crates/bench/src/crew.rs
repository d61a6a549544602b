//! Several connections that do the same at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::error::Error;
use crate::number::length;
use crate::pipeline::{self, Script};
use crate::run::Run;
use crate::target::Target;
use crate::worker::Worker;

/// What a crew has done.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    /// Commands answered with OK.
    pub commands: u64,
    /// From the first one's begin to the last one's end.
    pub took: Duration,
}

/// Which commands a crew sends.
#[derive(Clone)]
pub struct Commands {
    /// Their tag.
    pub tag: &'static str,
    /// Their name, for errors.
    pub doing: &'static str,
    /// One script for each connection.
    pub scripts: Vec<Arc<Script>>,
}

impl Commands {
    /// Deals numbers out to the connections of a plan, in turn.
    pub fn deal(
        run: &Run,
        (tag, doing): (&'static str, &'static str),
        numbers: &(impl Iterator<Item = u64> + Clone),
        push: impl Fn(&mut Vec<u8>, u64),
    ) -> Self {
        let connections = length(run.plan.connections).max(1);
        let script = |first: usize| {
            let mine = numbers.clone().skip(first).step_by(connections);
            Arc::new(Script::of(mine, &push))
        };
        Self {
            tag,
            doing,
            scripts: (0..connections).map(script).collect(),
        }
    }
}

/// Sends them all, each connection with up to `window` commands in flight, until they are answered or `deadline` has
/// passed. One thread does it: on the processors of the server every other would be one too many.
pub async fn send(run: &Run, commands: Commands, deadline: Instant) -> Result<Done, Error> {
    let (target, window) = (run.target.clone(), run.plan.window);
    let worker = Worker::start("load", &run.cancel, move || async move {
        let barrier = Arc::new(Barrier::new(commands.scripts.len()));
        let mut tasks = JoinSet::new();
        for script in commands.scripts {
            let (target, barrier) = (target.clone(), barrier.clone());
            let (tag, doing) = (commands.tag, commands.doing);
            tasks.spawn(async move {
                let mut raw = connected(&target, &barrier).await?;
                let began = Instant::now();
                let done = pipeline::run(&mut raw, &script, tag, window, deadline, doing).await?;
                Ok((began, Instant::now(), done))
            });
        }
        let mut all: Vec<(Instant, Instant, u64)> = Vec::new();
        while let Some(one) = tasks.join_next().await {
            all.push(one.map_err(|_| Error::Thread { name: "load" })??);
        }
        Ok(all)
    })?;
    let all = worker.done().await?;
    let began = all.iter().map(|(began, ..)| *began).min();
    let ended = all.iter().map(|(_, ended, _)| *ended).max();
    let took = began
        .zip(ended)
        .map_or(Duration::ZERO, |(began, ended)| ended - began);
    Ok(Done {
        commands: all.iter().map(|(.., done)| done).sum(),
        took,
    })
}

/// Connects and waits for the others; one that cannot does not hold them up.
async fn connected(target: &Target, barrier: &Barrier) -> Result<crate::raw::Raw, Error> {
    let raw = target.connect().await;
    barrier.wait().await;
    raw
}

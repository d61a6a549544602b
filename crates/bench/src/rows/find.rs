//! Questions that change nothing.

use crate::background::scatter;
use crate::crew::{self, Commands};
use crate::error::Error;
use crate::names::push_about;
use crate::number::rate;
use crate::pipeline::Script;
use crate::probe::in_turn;
use crate::result::{Figure, Unit};
use crate::run::Run;
use crate::worker::Worker;

/// FIND, one after another and pipelined.
pub async fn find(run: &Run) -> Result<Vec<Figure>, Error> {
    let (target, plan, deadline) = (run.target.clone(), run.plan.clone(), run.deadline);
    let worker = Worker::start("find", &run.cancel, move || async move {
        let mut raw = target.connect().await?;
        let script = questions(plan.mailboxes);
        in_turn(plan.samples, deadline, async |number| {
            let at = number % script.len().max(1);
            raw.command(script.slice(at, at + 1), "F", "FIND").await
        })
        .await
    })?;
    let known = run.limits.known();
    let mut figures = Vec::new();
    let latencies = worker.done().await?;
    let one = Figure::latency("find", "FIND, one after another", &latencies);
    figures.extend(one.map(|figure| figure.beside(known.echo_ms)));
    let all = run.plan.mailboxes;
    let numbers = (0..PIPELINED).map(|i| scatter(i, all));
    let commands = Commands::deal(run, ("F", "FIND"), &numbers, |out, number| {
        push_about(out, "F", "FIND", number);
    });
    let mut rates = Vec::new();
    loop {
        let done = crew::send(run, commands.clone(), run.deadline).await?;
        rates.push(rate(done.commands, done.took));
        if rates.len() >= run.plan.rounds || !run.has_time_for(done.took) {
            break;
        }
    }
    let label = format!("FIND, pipelined, {} connections", run.plan.connections);
    let pipelined = Figure::rounds("find_per_s", &label, Unit::PerSecond, rates);
    figures.extend(pipelined.map(|figure| figure.beside(known.echo_per_s)));
    Ok(figures)
}

/// NOOP, one after another, on a connection that is not streaming.
pub async fn noop(run: &Run) -> Result<Vec<Figure>, Error> {
    let (target, samples, deadline) = (run.target.clone(), run.plan.samples, run.deadline);
    let worker = Worker::start("noop", &run.cancel, move || async move {
        let mut raw = target.connect().await?;
        in_turn(samples, deadline, async |_| {
            raw.command(b"N NOOP\r\n", "N", "NOOP").await
        })
        .await
    })?;
    let figure = Figure::latency("noop", "NOOP", &worker.done().await?);
    let limit = run.limits.known().echo_ms;
    Ok(figure
        .into_iter()
        .map(|figure| figure.beside(limit))
        .collect())
}

/// FINDs of mailboxes all over the list.
pub fn questions(mailboxes: u64) -> Script {
    Script::of(
        (0..mailboxes.min(QUESTIONS_MAX)).map(|i| scatter(i, mailboxes)),
        |out, number| {
            push_about(out, "F", "FIND", number);
        },
    )
}

const PIPELINED: u64 = 500_000;
const QUESTIONS_MAX: u64 = 100_000;

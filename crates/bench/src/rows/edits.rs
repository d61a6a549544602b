//! Edits one after another.

use crate::error::Error;
use crate::probe::in_turn;
use crate::result::Figure;
use crate::rows::scratch;
use crate::run::Run;
use crate::worker::Worker;

/// One connection, one ACTIVATE at a time.
pub async fn one_after_another(run: &Run) -> Result<Vec<Figure>, Error> {
    let (target, samples, deadline) = (run.target.clone(), run.plan.samples, run.deadline);
    let worker = Worker::start("activate", &run.cancel, move || async move {
        let (mut raw, mut octets) = (target.connect().await?, Vec::new());
        in_turn(samples, deadline, async |number| {
            scratch::edit(&mut raw, &mut octets, ROW, number, NAMES).await
        })
        .await
    })?;
    let latencies = worker.done().await?;
    scratch::remove(run, ROW, latencies.samples().min(NAMES)).await?;
    let known = run.limits.known();
    let limit = known
        .sync_ms
        .zip(known.echo_ms)
        .map(|(sync, echo)| sync + echo);
    let figure = Figure::latency("activate", "ACTIVATE", &latencies);
    Ok(figure
        .into_iter()
        .map(|figure| figure.beside(limit))
        .collect())
}

const ROW: &str = "activate";
const NAMES: u64 = 50;

//! Requests whose answers are timed.

use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use crate::error::Error;
use crate::stats::Latencies;

/// Times `ask`, one request after another.
pub async fn in_turn(
    samples: u64,
    deadline: Instant,
    mut ask: impl AsyncFnMut(u64) -> Result<(), Error>,
) -> Result<Latencies, Error> {
    let mut latencies = Latencies::new();
    while latencies.samples() < samples && Instant::now() < deadline {
        let began = Instant::now();
        ask(latencies.samples()).await?;
        latencies.record(began.elapsed());
    }
    Ok(latencies)
}

/// Times `ask`, of which one is due each `interval`; while one is under way, the others that are due count as late.
pub async fn at_rate(
    interval: Duration,
    samples: u64,
    deadline: Instant,
    mut ask: impl AsyncFnMut(u64) -> Result<(), Error>,
) -> Result<Latencies, Error> {
    let mut latencies = Latencies::at_rate(interval);
    let mut due = Instant::now();
    while latencies.samples() < samples && due < deadline {
        sleep_until(due.into()).await;
        let began = Instant::now();
        ask(latencies.samples()).await?;
        latencies.record(began.elapsed());
        due = (due + interval).max(Instant::now());
    }
    Ok(latencies)
}

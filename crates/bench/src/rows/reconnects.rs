//! A storm of slaves.

use std::time::Duration;

use crate::background::Background;
use crate::error::Error;
use crate::result::Figure;
use crate::rows::under_load::Probes;
use crate::run::Run;

/// Slaves that connect, break off at any point of their dump and come back at once, while others ask.
pub async fn storm(run: &Run) -> Result<Vec<Figure>, Error> {
    let probes = Probes::new(run, 2);
    let (noop, activate) = (probes.noop()?, probes.activate()?);
    let mut background = Background::new(run);
    background.broken_dumps(run, run.plan.burst)?;
    background.warm(1, Duration::from_secs(3)).await;
    probes.go.wait().await;
    let (noop, activate) = (noop.done().await?, activate.done().await?);
    let meanwhile = background.end().await?;
    probes.tidy(run, &activate, None).await?;
    let slaves = run.plan.burst;
    let mut figures = Vec::new();
    let label = format!("NOOP of a synced slave beside {slaves} that break off");
    figures.extend(Figure::latency("noop", &label, &noop));
    figures.extend(Figure::latency("activate", "ACTIVATE meanwhile", &activate));
    figures.extend(meanwhile);
    Ok(figures)
}

//! Slaves that hardly read.

use std::time::Duration;

use tokio::time::sleep;

use crate::background::DUMP;
use crate::error::Error;
use crate::number::figure;
use crate::result::{Figure, Unit};
use crate::rows::under_load::Probes;
use crate::run::Run;
use crate::worker::Worker;

/// Slaves that read 1 KB/s of their dump; NOOPs and ACTIVATEs of others, and the server's memory.
pub async fn slow_readers(run: &Run) -> Result<Vec<Figure>, Error> {
    let before = run.look();
    let probes = Probes::new(run, 2);
    let (noop, activate) = (probes.noop()?, probes.activate()?);
    let (target, slaves) = (run.target.clone(), run.plan.slaves);
    let cancel = run.cancel.child_token();
    let readers = Worker::start("slow readers", &cancel, move || async move {
        let mut connections = Vec::new();
        for _ in 0..slaves {
            let mut raw = target.connect_narrow(RECEIVE_BYTES).await?;
            raw.send(DUMP, "UPDATE").await?;
            connections.push(raw);
        }
        loop {
            for raw in &mut connections {
                raw.sip(OCTETS_EACH_SECOND, "UPDATE by a slow reader")
                    .await?;
            }
            sleep(Duration::from_secs(1)).await;
        }
        #[expect(unreachable_code, reason = "says of what type the loop without end is")]
        Ok(())
    })?;
    // Half a second into their dumps all of their sockets are full.
    sleep(Duration::from_millis(500)).await;
    probes.go.wait().await;
    let (noop, activate) = (noop.done().await?, activate.done().await?);
    let during = run.look();
    cancel.cancel();
    readers.ended().await?;
    probes.tidy(run, &activate, None).await?;
    let label = format!("ACTIVATE beside {slaves} slaves that read 1 KB/s");
    let mut figures = Vec::new();
    figures.extend(Figure::latency("activate", &label, &activate));
    figures.extend(Figure::latency(
        "noop",
        "NOOP of a synced slave beside them",
        &noop,
    ));
    if let Some((before, during)) = before.zip(during) {
        let grown = figure(
            during
                .anonymous_bytes
                .saturating_sub(before.anonymous_bytes),
        );
        figures.push(Figure::one(
            "memory",
            "RssAnon more than before",
            Unit::Bytes,
            grown,
        ));
    }
    Ok(figures)
}

const OCTETS_EACH_SECOND: usize = 1000;
/// The system doubles it; what it can hold is taken out of a slow reader's hands.
const RECEIVE_BYTES: u32 = 4096;

//! An append and fdatasync loop: what an edit that is on disk before its OK costs at least.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::names::{Lap, push_activate};
use crate::number::rate;
use crate::result::{Figure, Unit};
use crate::run::Plan;
use crate::stats::Latencies;

/// What groups of one size came to.
#[derive(Debug)]
pub struct Groups {
    /// Time of each.
    pub syncs: Latencies,
    /// Edits a second.
    pub edits_per_s: f64,
}

impl Groups {
    /// The middle one.
    pub fn p50_ms(&self) -> Option<f64> {
        self.syncs.summary().map(|summary| summary.p50_ms)
    }

    /// To be shown.
    pub fn figures(&self, group: u64) -> Vec<Figure> {
        let label = format!("append + fdatasync, groups of {group}");
        let key = format!("sync_{group}");
        let mut figures: Vec<Figure> = Figure::latency(&key, &label, &self.syncs)
            .into_iter()
            .collect();
        let (key, label) = (format!("{key}_edits_per_s"), format!("{label}: edits"));
        figures.push(Figure::one(&key, &label, Unit::PerSecond, self.edits_per_s));
        figures
    }
}

/// Groups of `group` edits, for a few seconds, into a file of its own in the plan's directory.
pub async fn measure(plan: &Plan, group: u64) -> Result<Groups, Error> {
    let path = plan
        .directory
        .join(format!("mupdate-bench.{}", std::process::id()));
    let mut octets = Vec::new();
    for number in 0..group {
        push_activate(&mut octets, "A", number, Lap::First);
    }
    let written = tokio::task::spawn_blocking(move || {
        let found = append(&path, &octets, group);
        std::fs::remove_file(&path).map_err(|cause| Error::File { path, cause })?;
        found
    });
    written.await.map_err(|_| Error::Thread { name: "disk" })?
}

fn append(path: &PathBuf, octets: &[u8], group: u64) -> Result<Groups, Error> {
    let failed = |cause| Error::File {
        path: path.clone(),
        cause,
    };
    let mut file = File::create_new(path).map_err(failed)?;
    let (mut syncs, began) = (Latencies::new(), Instant::now());
    while began.elapsed() < TIME && syncs.samples() < SYNCS_MAX {
        let before = Instant::now();
        file.write_all(octets).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        syncs.record(before.elapsed());
    }
    let edits_per_s = rate(syncs.samples() * group, began.elapsed());
    Ok(Groups { syncs, edits_per_s })
}

const TIME: Duration = Duration::from_secs(3);
/// Keeps the file small.
const SYNCS_MAX: u64 = 20_000;

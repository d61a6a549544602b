//! What the machine can do without any server: no MUPDATE server can be faster.

pub mod disk;
pub mod echo;
pub mod loopback;

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;
use crate::number::figure;
use crate::result::{Figure, Unit};
use crate::run::Plan;

pub use self::disk::Groups;
pub use self::loopback::dump_bytes;

/// Limits as far as they have been measured in this run.
#[derive(Debug, Clone, Default)]
pub struct Limits(Arc<Mutex<Known>>);

/// The limits themselves.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known {
    /// Append and fdatasync of one edit, p50, in milliseconds.
    pub sync_ms: Option<f64>,
    /// Edits a second that append and fdatasync in groups of all edits in flight.
    pub group_edits_per_s: Option<f64>,
    /// A round trip to a TCP echo, p50, in milliseconds.
    pub echo_ms: Option<f64>,
    /// Answers a second of a pipelined echo.
    pub echo_per_s: Option<f64>,
    /// Seconds for the octets of a dump, from memory, to one reader.
    pub one_reader_s: Option<f64>,
    /// The same to as many readers as slaves dump, until the last has them.
    pub readers_s: Option<f64>,
}

impl Limits {
    /// What is known now.
    pub fn known(&self) -> Known {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Measures all of them.
    pub async fn measure(&self, plan: &Plan) -> Result<Vec<Figure>, Error> {
        let mut figures = Vec::new();
        let (echo, echo_per_s) = echo::measure(plan).await?;
        let echo_ms = echo.summary().map(|summary| summary.p50_ms);
        figures.extend(Figure::latency("echo", "TCP echo, round trip", &echo));
        figures.extend(Figure::rounds(
            "echo_per_s",
            "TCP echo, pipelined",
            Unit::PerSecond,
            echo_per_s,
        ));
        let one = loopback::measure(plan, 1).await?;
        figures.extend(Figure::rounds(
            "reader_1",
            "a dump from memory, 1 reader",
            Unit::Seconds,
            one,
        ));
        let label = format!("a dump from memory, {} readers, the last", plan.slaves);
        let many = loopback::measure(plan, plan.slaves).await?;
        figures.extend(Figure::rounds("readers", &label, Unit::Seconds, many));
        let octets = figure(dump_bytes(plan.mailboxes));
        figures.push(Figure::one(
            "dump_bytes",
            "octets of a dump",
            Unit::Bytes,
            octets,
        ));
        let groups = [1, plan.window, plan.window.saturating_mul(plan.connections)];
        let mut disk = Vec::new();
        for group in groups {
            let found = disk::measure(plan, group).await?;
            figures.extend(found.figures(group));
            disk.push(found);
        }
        let known = Known {
            sync_ms: disk.first().and_then(Groups::p50_ms),
            group_edits_per_s: disk.last().map(|found| found.edits_per_s),
            echo_ms,
            echo_per_s: median(&figures, "echo_per_s"),
            one_reader_s: median(&figures, "reader_1"),
            readers_s: median(&figures, "readers"),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(figures)
    }
}

fn median(figures: &[Figure], key: &str) -> Option<f64> {
    let found = figures.iter().find(|figure| figure.key == key)?;
    match &found.value {
        crate::result::Value::Number { rounds, .. } => Some(rounds.median),
        crate::result::Value::Latency(_) | crate::result::Value::Absent(_) => None,
    }
}

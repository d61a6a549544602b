//! What a run has found, for people and for programs.

pub mod chart;
pub mod goals;
pub mod table;

use std::path::Path;

use serde::Serialize;

use crate::error::Error;
use crate::process;
use crate::result::Row;
use crate::run::Plan;

pub use self::chart::draw;
pub use self::table::table;

/// A run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of the bench.
    pub version: &'static str,
    /// Where.
    pub machine: Machine,
    /// How much.
    pub plan: Plan,
    /// What was found.
    pub rows: Vec<Row>,
}

/// The machine of a run.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// Name of its processor.
    pub processor: String,
    /// Processors that the bench, and so most likely the servers, could use.
    pub processors: usize,
    /// Name and release of its kernel.
    pub kernel: String,
}

impl Report {
    /// Of this machine.
    pub fn new(plan: Plan, rows: Vec<Row>) -> Self {
        let machine = Machine {
            processor: process::processor(),
            processors: process::processors(),
            kernel: process::kernel(),
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            machine,
            plan,
            rows,
        }
    }

    /// Writes all of it as JSON.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let failed = |cause| Error::File {
            path: path.to_owned(),
            cause,
        };
        let text = serde_json::to_string_pretty(self).map_err(|cause| failed(cause.into()))?;
        std::fs::write(path, text + "\n").map_err(failed)
    }
}

//! Bounds of a store.

use std::time::{Duration, SystemTime};

use crate::history::Bounds;

/// Bounds of a store, and where it takes the time from.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Changes kept for feeds.
    pub history_changes_max: usize,
    /// Memory for them, in octets.
    pub history_bytes_max: usize,
    /// How often the two bounds above may be exceeded while a feed needs it.
    pub hard_cap_factor: usize,
    /// Length of a log segment, in octets.
    pub segment_bytes: u64,
    /// Octets of log after which a snapshot is written; a longer snapshot waits for as much log as
    /// it is long itself.
    pub snapshot_every_bytes: u64,
    /// Octets of log that are worth a snapshot when the store is shut down, or a sixteenth of the
    /// last snapshot: replaying less than that hardly shows beside loading it.
    pub final_snapshot_bytes: u64,
    /// Batches that may wait for the writer; further callers wait for a place.
    pub queue_batches_max: usize,
    /// A group is closed when it has this many octets,
    pub group_bytes: usize,
    /// or when deciding it has taken this long.
    pub group_time: Duration,
    /// From the begin of one look through all files and the list to that of the next,
    pub scrub_interval: Duration,
    /// and how fast it goes; 0: there is none.
    pub scrub_bytes_per_second: u64,
    /// The time for log records.
    pub clock: fn() -> SystemTime,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            history_changes_max: 1_000_000,
            history_bytes_max: 256 << 20,
            hard_cap_factor: 8,
            segment_bytes: 64 << 20,
            snapshot_every_bytes: 64 << 20,
            final_snapshot_bytes: 256 << 10,
            queue_batches_max: 1024,
            group_bytes: 1 << 20,
            group_time: Duration::from_millis(2),
            scrub_interval: Duration::from_hours(24),
            scrub_bytes_per_second: 2 << 20,
            clock: SystemTime::now,
        }
    }
}

impl StoreConfig {
    pub(crate) fn history_bounds(&self) -> Bounds {
        Bounds {
            changes_max: self.history_changes_max,
            bytes_max: self.history_bytes_max,
            hard_cap_factor: self.hard_cap_factor.max(1),
        }
    }
}

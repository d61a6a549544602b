//! Options of the store.

use std::time::Duration;

use super::options::{Options, usize_of};
use super::value;

const HISTORY_CHANGES_MAX: u64 = 100_000_000;
/// Most KiB a second that `mupdate_scrub_rate` allows.
const SCRUB_KIB_MAX: u64 = 1 << 30;
/// Looking through everything without a pause would be of no use.
const SCRUB_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Bounds of the store; `None`: its own.
#[derive(Debug, Clone, Copy)]
pub struct StoreSettings {
    /// `mupdate_history_changes`: changes that a peer may have missed and still be told of one by one.
    pub history_changes_max: Option<usize>,
    /// `mupdate_scrub_interval`: from one look through everything that is stored to the next.
    pub scrub_interval: Option<Duration>,
    /// `mupdate_scrub_rate`: how fast that goes, in octets a second; 0: there is none.
    pub scrub_bytes_per_second: Option<u64>,
}

impl StoreSettings {
    pub(super) fn read(options: &Options<'_>) -> Self {
        let interval = options.parse("mupdate_scrub_interval", value::duration);
        let rate = |text: &str| value::number(text, 0, SCRUB_KIB_MAX).map(|kib| kib << 10);
        Self {
            history_changes_max: options.number(
                "mupdate_history_changes",
                1,
                usize_of(HISTORY_CHANGES_MAX),
            ),
            scrub_interval: interval.map(|interval| interval.max(SCRUB_INTERVAL_MIN)),
            scrub_bytes_per_second: options.parse("mupdate_scrub_rate", rate),
        }
    }
}

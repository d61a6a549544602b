//! What a row has at hand while it is measured with one server.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::limits::Limits;
use crate::process::{Look, look};
use crate::target::Target;

/// How much is done in each row.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Plan {
    /// Mailboxes on the list.
    pub mailboxes: u64,
    /// Connections of a load.
    pub connections: u64,
    /// Commands in flight on each of them.
    pub window: u64,
    /// Slaves that dump.
    pub slaves: usize,
    /// Samples of a distribution of latencies.
    pub samples: u64,
    /// Rounds of what is not a distribution.
    pub rounds: usize,
    /// How long a row goes on for more samples and rounds.
    pub row_time: Duration,
    /// Time between two requests of a probe.
    pub probe_interval: Duration,
    /// Edits a second, beside the dumps.
    pub edits_per_second: u32,
    /// Log-ins at once.
    pub burst: usize,
    /// Streaming sessions at once.
    pub sessions: usize,
    /// Edits a second, beside the sessions.
    pub session_edits_per_second: u32,
    /// Where the limit of the disk is measured.
    pub directory: PathBuf,
}

/// One row with one server.
#[derive(Clone)]
pub struct Run {
    /// How much.
    pub plan: Arc<Plan>,
    /// Of which server.
    pub target: Arc<Target>,
    /// What the machine can do, as far as it has been measured.
    pub limits: Limits,
    /// Ends everything that the row has begun.
    pub cancel: CancellationToken,
    /// Until when to go on for more samples and rounds.
    pub deadline: Instant,
    loaded: Arc<AtomicBool>,
}

impl Run {
    /// `loaded` says whether the server is known to have the list.
    pub fn new(
        plan: Arc<Plan>,
        target: Arc<Target>,
        limits: Limits,
        loaded: Arc<AtomicBool>,
    ) -> Self {
        let deadline = Instant::now() + plan.row_time;
        Self {
            plan,
            target,
            limits,
            cancel: CancellationToken::new(),
            deadline,
            loaded,
        }
    }

    /// Whether the server is known to have the list.
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Relaxed)
    }

    /// The server has the list, or no longer.
    pub fn set_loaded(&self, loaded: bool) {
        self.loaded.store(loaded, Ordering::Relaxed);
    }

    /// The server's process, if it was named and is there.
    pub fn look(&self) -> Option<Look> {
        self.target.server.pid.and_then(look)
    }

    /// Whether a round that may take as long as the last one still has its place.
    pub fn has_time_for(&self, last: Duration) -> bool {
        Instant::now() + last < self.deadline
    }
}

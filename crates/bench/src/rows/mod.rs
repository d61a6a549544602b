//! What can be measured.

pub mod clean;
pub mod dump;
pub mod edits;
pub mod find;
pub mod load;
pub mod log_in;
pub mod memory;
pub mod propagation;
pub mod reconnects;
pub mod scratch;
pub mod sessions;
pub mod slow_readers;
pub mod stream;
pub mod thrash;
pub mod under_load;

use clap::ValueEnum;

use crate::error::Error;
use crate::result::Figure;
use crate::run::Run;

pub use self::clean::clean;

/// Something to measure. The order is that of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// What this machine can do without a server: TCP echo, a dump from memory, append + fdatasync.
    Limits,
    /// Load in name order: ACTIVATE, pipelined over several connections; memory of the server.
    Load,
    /// One ACTIVATE after another.
    Activate,
    /// FIND: one after another, and pipelined over several connections.
    Find,
    /// NOOP, one after another.
    Noop,
    /// From an edit to the line at a streaming slave, nothing else going on.
    Propagation,
    /// Dumps: one slave, and several at once.
    Dump,
    /// LIST with a server prefix.
    List,
    /// Bursts of short sessions: log in, RESERVE, ACTIVATE, LOGOUT; by PLAIN, SCRAM and under TLS; alone and beside dumps.
    LogIn,
    /// NOOP of a synced slave, ACTIVATE, FIND and the way of a change, beside slaves that dump again and again and edits.
    UnderLoad,
    /// Slaves that read 1 KB/s of their dump: what others feel of it.
    SlowReaders,
    /// Stock slaves that start beside a synced one.
    Thrash,
    /// Slaves that connect, break off their dump, and connect again.
    Reconnects,
    /// Thousands of streaming sessions, with edits and NOOPs.
    Sessions,
    /// Load in an order that is not that of names.
    LoadRandom,
}

impl Scenario {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Limits => "limits",
            Self::Load => "load",
            Self::Activate => "activate",
            Self::Find => "find",
            Self::Noop => "noop",
            Self::Propagation => "propagation",
            Self::Dump => "dump",
            Self::List => "list",
            Self::LogIn => "log-in",
            Self::UnderLoad => "under-load",
            Self::SlowReaders => "slow-readers",
            Self::Thrash => "thrash",
            Self::Reconnects => "reconnects",
            Self::Sessions => "sessions",
            Self::LoadRandom => "load-random",
        }
    }

    /// What its rows are about.
    pub fn title(self) -> &'static str {
        match self {
            Self::Limits => "this machine without a server",
            Self::Load => "load in name order",
            Self::Activate => "one ACTIVATE after another",
            Self::Find => "FIND",
            Self::Noop => "NOOP",
            Self::Propagation => "an edit until its line is at a streaming slave",
            Self::Dump => "dumps",
            Self::List => "LIST with a server",
            Self::LogIn => "connect, log in, RESERVE, ACTIVATE, LOGOUT",
            Self::UnderLoad => "beside slaves that dump again and again, and edits",
            Self::SlowReaders => "beside slaves that read 1 KB/s of their dump",
            Self::Thrash => "stock slaves that start beside a synced one",
            Self::Reconnects => "a storm of slaves that break off and come back",
            Self::Sessions => "streaming sessions at once",
            Self::LoadRandom => "load in no order",
        }
    }

    /// Whether the row needs the list on the server.
    pub(crate) fn needs_list(self) -> bool {
        !matches!(self, Self::Limits | Self::Load | Self::LoadRandom)
    }

    /// How many times the time for samples a row may take before it is given up.
    pub(crate) fn patience(self) -> u32 {
        match self {
            Self::Load | Self::LoadRandom => 8,
            // Thousands of dumps before the first sample.
            Self::Sessions => 6,
            Self::LogIn => 4,
            _ => 2,
        }
    }

    pub(crate) async fn measure(self, run: &Run) -> Result<Vec<Figure>, Error> {
        match self {
            Self::Limits => run.limits.measure(&run.plan).await,
            Self::Load => load::in_order(run).await,
            Self::Activate => edits::one_after_another(run).await,
            Self::Find => find::find(run).await,
            Self::Noop => find::noop(run).await,
            Self::Propagation => propagation::idle(run).await,
            Self::Dump => dump::dump(run).await,
            Self::List => dump::list(run).await,
            Self::LogIn => log_in::bursts(run).await,
            Self::UnderLoad => under_load::under_load(run).await,
            Self::SlowReaders => slow_readers::slow_readers(run).await,
            Self::Thrash => thrash::thrash(run).await,
            Self::Reconnects => reconnects::storm(run).await,
            Self::Sessions => sessions::sessions(run).await,
            Self::LoadRandom => load::in_no_order(run).await,
        }
    }

    /// Puts the list there, where an earlier row has not.
    pub(crate) async fn prepare(self, run: &Run) -> Result<(), Error> {
        if self.needs_list() && !run.is_loaded() {
            load::ensure(run).await?;
        }
        Ok(())
    }
}

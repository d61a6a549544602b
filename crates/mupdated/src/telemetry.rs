//! Where log lines go: standard error, one line an event.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// Environment variable with the levels to log, in the syntax of `tracing`: `info`,
/// `warn,server=debug`.
pub const LEVELS_VARIABLE: &str = "MUPDATE_LOG";

/// Starts logging to standard error; `default_levels` count where the environment says nothing. A
/// second call changes nothing.
pub fn start(default_levels: &str) {
    let filter =
        EnvFilter::try_from_env(LEVELS_VARIABLE).unwrap_or_else(|_| EnvFilter::new(default_levels));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .try_init();
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}

//! Progress on standard error.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a terminal is told, and how often a log.
const TERMINAL_PERIOD: Duration = Duration::from_millis(100);
const LOG_PERIOD: Duration = Duration::from_secs(10);

/// Says how far something is, not too often.
#[derive(Debug)]
pub(super) struct Meter {
    quiet: bool,
    terminal: bool,
    told: Instant,
    line_open: bool,
}

impl Meter {
    /// Says nothing at all if `quiet`.
    pub(super) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            terminal: io::stderr().is_terminal(),
            told: Instant::now(),
            line_open: false,
        }
    }

    /// `what` is `done` of `of` `unit`. Progress that can't be shown is no reason to stop.
    pub(super) fn show(&mut self, what: &str, done: u64, of: u64, unit: &str) {
        let period = if self.terminal {
            TERMINAL_PERIOD
        } else {
            LOG_PERIOD
        };
        if self.quiet || self.told.elapsed() < period {
            return;
        }
        self.told = Instant::now();
        let percent = done.saturating_mul(100).checked_div(of).unwrap_or(100);
        let end = if self.terminal { "   \r" } else { "\n" };
        self.line_open = self.terminal;
        write!(
            io::stderr(),
            "{what} {done} of {of} {unit}, {percent} %{end}"
        )
        .ok();
    }

    /// Leaves the terminal at the start of a line of its own.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.line_open) {
            writeln!(io::stderr()).ok();
        }
    }
}

//! Waiting for something to become true, with an end.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The longest any test waits for something that must happen. It only says when to give up: a machine that is merely
/// slow must not fail a test.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Calls `probe` until it returns a value.
///
/// # Errors
///
/// When [`PATIENCE`] is over: `what`, and the last thing that `probe` complained about.
pub fn wait_for<T>(what: &str, probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    wait_within(PATIENCE, what, probe)
}

/// As [`wait_for`], with another limit.
pub fn wait_within<T>(
    limit: Duration,
    what: &str,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let last = match probe() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if start.elapsed() > limit {
            match last {
                Some(error) => bail!("{what}: not within {limit:?}, last: {error:#}"),
                None => bail!("{what}: not within {limit:?}"),
            }
        }
        sleep(PAUSE);
    }
}

const PAUSE: Duration = Duration::from_millis(20);

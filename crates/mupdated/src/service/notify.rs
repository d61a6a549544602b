//! What systemd is told (`Type=notify`), and what a DAEMON entry of cyrus.conf with `wait=y` waits for.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::inherited_fds::Inherited;

/// What Cyrus's master waits for from a DAEMON entry with `wait=y`.
const DAEMON_READY: &[u8] = b"ok\r\n";

/// Says that the list is there and clients are served.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says what it is doing, to whoever looks with `systemctl status`.
pub(crate) fn doing(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// Says that it ends.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells Cyrus's master, where this is a DAEMON entry: it has a status pipe and no socket.
pub(crate) fn daemon_ready(inherited: &Inherited) {
    let Some(status) = inherited
        .status
        .as_ref()
        .filter(|_| inherited.listeners.is_empty())
    else {
        return;
    };
    let told = status
        .as_fd()
        .try_clone_to_owned()
        .and_then(|status| File::from(status).write_all(DAEMON_READY));
    if let Err(cause) = told {
        debug!(%cause, "nobody waits for this daemon");
    }
}

/// Keeps the watchdog quiet until `stop`, if there is one: as long as this runtime runs tasks, it runs
/// sessions.
pub(crate) async fn watchdog(stop: CancellationToken) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut ticks = tokio::time::interval(limit / 3);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(cause) = sd_notify::notify(states) {
        warn!(%cause, "systemd can't be told");
    }
}

//! The loop that keeps a link to the master: connect, follow, wait, again.

use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use store::{Health, Store};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::connect::connect;
use crate::following::Following;
use crate::link::{Link, Thoroughly};
use crate::pace::{FoundBy, Ground, LinkEnd};
use crate::replica::{ApplyError, Replica, origin};
use crate::resyncing::Resyncing;
use crate::retry::Retry;
use crate::{Phase, SlaveConfig};

/// Attempts on behalf of kicks are no closer than this.
const DEMAND_SPACING: Duration = Duration::from_millis(500);
/// A second list within this time that is not the master's is not answered at once.
const REPAIR_SPACING: Duration = Duration::from_mins(3);
/// About how long it takes until everything is asked for again, when that did not lead to the master's
/// list.
const FULL_SPACING: Duration = Duration::from_mins(1);

#[derive(Clone)]
pub(crate) struct Follower {
    pub(crate) config: SlaveConfig,
    pub(crate) store: Store,
    pub(crate) replica: Arc<Mutex<Replica>>,
    pub(crate) link: Arc<Link>,
    pub(crate) stop: CancellationToken,
}

impl Follower {
    /// Runs until it is told to stop. A panic ends a link, not the following.
    pub(crate) async fn run_on(self) {
        while let Err(cause) = tokio::spawn(self.clone().run()).await {
            error!(%cause, "follower has panicked");
            self.link.lost(false, "follower has panicked");
            self.pause(self.config.delay()).await;
        }
    }

    async fn run(self) {
        let mut retry = Retry::new(self.config.delay());
        let mut told = String::new();
        let mut next = Next::default();
        loop {
            self.link.set_phase(Phase::Connecting);
            let (lived, end) = self.follow(&mut next).await;
            let cause = describe(&end);
            self.link.lost(lived.is_some(), &cause);
            if matches!(end, LinkEnd::Stopped) {
                return;
            }
            let now = Instant::now();
            let delay = match next.prepare(&end, lived.is_some(), now) {
                Haste::AtOnce => Duration::ZERO,
                Haste::Usual => retry.next_delay(lived, (self.config.chance)()),
                Haste::Little => FULL_SPACING.mul_f64(0.5 + (self.config.chance)()),
            };
            self.tell(&mut told, lived.is_some(), cause, delay);
            if let Some(how) = self.pause(delay).await {
                next.how = Some(how);
            }
        }
    }

    /// One link. Returns how long it was live, if it ever was, and why it ended.
    async fn follow(&self, next: &mut Next) -> (Option<Duration>, LinkEnd) {
        if self.store.health() == Health::Failed {
            return (None, ApplyError::Storage.into());
        }
        let connected = tokio::select! {
            () = self.stop.cancelled() => return (None, LinkEnd::Stopped),
            connected = connect(&self.config, next.avoid.take()) => connected,
        };
        let (client, peer) = match connected {
            Ok(connected) => connected,
            Err(cause) => return (None, cause.into()),
        };
        debug!(%peer, banner = ?client.banner(), tls = client.stream().is_tls(), "connected");
        next.peer = Some(peer);
        // The link before may have left lines that are still being carried out.
        if let Err(cause) = self.replica.lock().await.settle().await {
            return (None, cause.into());
        }
        self.link.set_phase(Phase::Dumping);
        let ground = Ground {
            config: &self.config,
            store: &self.store,
            replica: &self.replica,
            link: &self.link,
            stop: &self.stop,
        };
        let origin = origin(&self.config.upstream.to_string(), &peer.to_string());
        if self.config.resync && client.banner().offers_resync() {
            let mut resyncing = Resyncing::start(ground, client, origin, next.how);
            let end = resyncing.run().await;
            return (resyncing.lived(), end);
        }
        match Following::start(ground, client.update(&[]), origin).await {
            Ok(mut following) => {
                let end = following.run().await;
                (following.lived(), end)
            }
            Err(end) => (None, end),
        }
    }

    /// Every loss of a link is told; an attempt that fails as the one before did, is not.
    fn tell(&self, told: &mut String, was_live: bool, cause: String, delay: Duration) {
        let upstream = &self.config.upstream;
        if was_live {
            info!(%upstream, cause, ?delay, "link to the master is lost");
        } else if *told == cause {
            debug!(%upstream, cause, ?delay, "still no link to the master");
        } else {
            warn!(%upstream, cause, ?delay, "no link to the master");
        }
        *told = if was_live { String::new() } else { cause };
    }

    /// Waits; somebody who asks for the master cuts it short. Returns what an operator wishes for.
    async fn pause(&self, delay: Duration) -> Option<Thoroughly> {
        if delay.is_zero() {
            return None;
        }
        let soonest = Instant::now() + DEMAND_SPACING;
        tokio::select! {
            () = self.stop.cancelled() => None,
            how = self.link.wished() => Some(how),
            () = sleep(delay) => None,
            () = async { self.link.demanded().await; sleep_until(soonest).await } => None,
        }
    }
}

/// What one link leaves for the next.
#[derive(Debug, Default)]
struct Next {
    /// Not only what changed since is to be asked for.
    how: Option<Thoroughly>,
    /// The address that was reached.
    peer: Option<SocketAddr>,
    /// An address that had better not be taken.
    avoid: Option<SocketAddr>,
    /// When a list that was not the master's made us come back last.
    repaired: Option<Instant>,
}

/// How soon the next attempt is made.
#[derive(Debug, PartialEq, Eq)]
enum Haste {
    AtOnce,
    Usual,
    Little,
}

impl Next {
    /// A link has ended this way.
    fn prepare(&mut self, end: &LinkEnd, was_live: bool, now: Instant) -> Haste {
        if was_live {
            self.how = None;
        }
        match *end {
            LinkEnd::Wished(how) => {
                self.how = Some(how);
                Haste::AtOnce
            }
            LinkEnd::Mismatch { found_by, .. } => {
                self.how = Some(match found_by {
                    FoundBy::Stream | FoundBy::Log => Thoroughly::Compare,
                    FoundBy::Digest | FoundBy::Full => Thoroughly::Full,
                });
                let recently = |then: Instant| now.duration_since(then) < REPAIR_SPACING;
                let again = self.repaired.replace(now).is_some_and(recently);
                match (found_by, again) {
                    (FoundBy::Full, _) => Haste::Little,
                    (_, true) => Haste::Usual,
                    (_, false) => Haste::AtOnce,
                }
            }
            LinkEnd::Inconsistent => {
                self.how = Some(Thoroughly::Full);
                Haste::Usual
            }
            LinkEnd::Behind(_) => {
                self.avoid = self.peer;
                Haste::Usual
            }
            _ => Haste::Usual,
        }
    }
}

/// An error with its causes, in one line.
fn describe(end: &LinkEnd) -> String {
    let mut text = end.to_string();
    let mut cause = end.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
